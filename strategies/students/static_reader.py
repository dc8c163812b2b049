"""Serve static embeddings: the mean of a text's token vectors and a small head, in NumPy."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autoopt.strategies.students.arrays import Arrays, unpacked
from autoopt.strategies.texts.beginnings import beginning, reads_word_by_word

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

BIGRAM_FACTOR = 1_000_003
"""Multiplies the first token of a pair before the second is added; the sum modulo the table's size is its row."""


class StaticReader:
    """Answers texts by the vectors of their tokens.

    The arrays are ``tokenizer`` (the content of tokenizer.json), ``vectors`` (tokens, dimension), ``bigrams`` (rows,
    dimension) if pairs of neighbours have vectors, and weight and bias of each layer of the head: ``weight0`` (inputs,
    outputs), ``bias0``, and so on, with a ReLU between two.
    """

    def __init__(self, arrays: Arrays, settings: Mapping[str, Any]) -> None:
        self.tokenizer = open_tokenizer(unpacked(arrays["tokenizer"]), settings["max_length"])
        self._max_length: int = settings["max_length"]
        self._reads_word_by_word = reads_word_by_word(self.tokenizer)
        self.reads_pairs: bool = settings["pairs"]
        self._unknown: int | None = settings["unknown"]
        self._vectors, self._bigrams = arrays["vectors"], arrays.get("bigrams")
        layers = sum(name.startswith("weight") for name in arrays)
        self._head = [(arrays[f"weight{layer}"], arrays[f"bias{layer}"]) for layer in range(layers)]

    def text_logits(self, texts: Sequence[str], seconds: Sequence[str] | None = None) -> NDArray[Any]:
        """Return logits, (texts, classes); ``seconds`` are the second texts of pairs."""
        import numpy as np

        states = self.text_vectors(texts)
        if seconds is not None:
            states = compared(states, self.text_vectors(seconds), np.abs, np.concatenate)
        for layer, (weight, bias) in enumerate(self._head):
            states = (np.maximum(states, 0) if layer else states) @ weight + bias
        return states

    def text_vectors(self, texts: Sequence[str]) -> NDArray[Any]:
        """Return the mean vector of each text, (texts, dimension) in float32; zeros for a text without tokens."""
        import numpy as np

        vectors = np.zeros((len(texts), self._vectors.shape[1]), dtype=np.float32)
        for row, tokens in enumerate(self._tokenized(texts)):
            ids = np.array(tokens)
            if not len(ids):
                continue
            total = self._vectors[ids].sum(0, dtype=np.float32)
            if self._bigrams is not None and len(ids) > 1:
                total += self._bigrams[bigrams(ids, len(self._bigrams))].sum(0, dtype=np.float32)
            vectors[row] = total / len(ids)
        return vectors

    def sample_text(self, tokens: int, chance: random.Random) -> str:
        """Return a random text of about ``tokens`` tokens, those that a network adds included."""
        ids = [chance.randrange(self.tokenizer.get_vocab_size()) for _ in range(max(1, tokens - 2))]
        return str(self.tokenizer.decode(ids))

    def _tokenized(self, texts: Sequence[str]) -> list[list[int]]:
        if len(texts) == 1:  # No batch: it would wake a pool of threads.
            start = beginning(texts[0], self._max_length) if self._reads_word_by_word else texts[0]
            encodings = [self.tokenizer.encode(start, add_special_tokens=False)]
            if start is not texts[0] and len(encodings[0]) < self._max_length:
                encodings = [self.tokenizer.encode(texts[0], add_special_tokens=False)]
        else:
            encodings = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [[token for token in one.ids if token != self._unknown] for one in encodings]


def compared(first: Any, second: Any, absolute: Any, concatenate: Any) -> Any:
    """Return what the head reads of two texts' vectors: both, their difference and their product."""
    return concatenate([first, second, absolute(first - second), first * second], -1)


def bigrams(ids: NDArray[Any], rows: int) -> NDArray[Any]:
    """Return the row of each pair of neighbours in a table of ``rows`` rows."""
    return (ids[:-1] * BIGRAM_FACTOR + ids[1:]) % rows  # type: ignore[no-any-return]


def tokenizer_content(backend: Tokenizer) -> str:
    """Return the content of a tokenizer.json, without the padding and truncation of the texts that it read last."""
    from tokenizers import Tokenizer

    tokenizer: Tokenizer = Tokenizer.from_str(backend.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return str(tokenizer.to_str())


def open_tokenizer(content: str, max_length: int) -> Tokenizer:
    """Return the tokenizer of a tokenizer.json, without padding and truncated to ``max_length`` tokens."""
    from tokenizers import Tokenizer

    tokenizer: Tokenizer = Tokenizer.from_str(content)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer
