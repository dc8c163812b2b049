"""Serve a linear model of a text's TF-IDF terms, in NumPy."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autoopt.strategies.students.arrays import Arrays, unpacked
from autoopt.strategies.texts.terms import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LinearReader:
    """Answers texts by the weights of their terms.

    The arrays are ``terms`` (one a line), ``frequencies`` (terms,), the inverse document frequencies, ``weights``
    (terms, classes) and ``bias`` (classes,).
    """

    def __init__(self, arrays: Arrays, settings: Mapping[str, Any]) -> None:
        terms = unpacked(arrays["terms"]).split("\n") if len(arrays["frequencies"]) else []
        columns = {term: column for column, term in enumerate(terms)}
        self.vocabulary = Vocabulary(columns, arrays["frequencies"].tolist(), settings["characters"])
        self.reads_pairs: bool = settings["pairs"]
        self._weights, self._bias = arrays["weights"], arrays["bias"]

    def text_logits(self, texts: Sequence[str], seconds: Sequence[str] | None = None) -> NDArray[Any]:
        """Return logits, (texts, classes); ``seconds`` are the second texts of pairs."""
        import numpy as np

        logits = np.empty((len(texts), len(self._bias)), dtype=np.float32)
        others = [None] * len(texts) if seconds is None else seconds
        for row, pair in enumerate(zip(texts, others, strict=True)):
            columns, values = self.vocabulary.row(pair)
            logits[row] = self._bias
            if columns:
                logits[row] += np.array(values, dtype=np.float32) @ self._weights[columns].astype(np.float32)
        return logits

    def sample_text(self, tokens: int, chance: random.Random) -> str:
        """Return a random text of ``tokens`` words less the two tokens that a network adds."""
        words = self._words or ["text"]
        return " ".join(chance.choice(words) for _ in range(max(1, tokens - 2)))

    @property
    def _words(self) -> list[str]:
        return [word for term in self.vocabulary.columns if (word := term.lstrip("=<>")).isalnum()]
