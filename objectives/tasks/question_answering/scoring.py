"""How near a text is to the right answers, by the rules of SQuAD's own scripts, and from when on none is the better."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from autoopt.objectives.judging import scores
from autoopt.strategies.candidate import Span

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXACT, F1, HAS_ANSWER = range(3)
"""The columns of a question's outcome."""

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized(text: str) -> str:
    """The text in lower case without ASCII punctuation, English articles and surplus blanks."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def outcome(answer: str, right: Sequence[Span]) -> tuple[float, float, float]:
    """Exact match, F1 of the words, each that of the nearest right answer, and 1 where there is a right answer.

    As the script of SQuAD 2.0 has it: right answers of which nothing is left are passed over, and where none remains
    an answer is right if nothing is left of it either.
    """
    golds = [gold for span in right if (gold := normalized(span.text))] or [""]
    given = normalized(answer)
    return float(given in golds), max(_f1(given.split(), gold.split()) for gold in golds), float(bool(right))


def _f1(given: Sequence[str], gold: Sequence[str]) -> float:
    if not given or not gold:
        return float(given == gold)
    common = (Counter(given) & Counter(gold)).total()
    return 2 * common / (len(given) + len(gold))


def has_answer_f1(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Mean F1 of the questions that have an answer; 0 where none has."""
    return _mean_where(distinct[:, F1], distinct[:, HAS_ANSWER], counts)


def no_answer_accuracy(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Share of the questions without an answer that are answered so; 0 where there is none."""
    return _mean_where(distinct[:, EXACT], 1 - distinct[:, HAS_ANSWER], counts)


f1 = scores.mean_of(F1)
exact_match = scores.mean_of(EXACT)


def best_threshold(doubts: Sequence[float], kept: Sequence[float], dropped: Sequence[float]) -> float:
    """The threshold above which a doubt is to mean "no answer", so that the mean F1 is the highest.

    ``kept`` is the F1 of each answer, ``dropped`` that of no answer in its place. Of several it is 0, or the one
    nearest to 0. It lies in the middle between two doubts, where a small difference in either changes nothing.
    """
    import numpy as np

    known = np.isfinite(doubts)
    levels, level = np.unique(np.asarray(doubts)[known], return_inverse=True)
    if levels.size == 0:
        return 0.0
    gain = np.bincount(level, weights=(np.asarray(kept) - np.asarray(dropped))[known])
    totals = np.concatenate([[0.0], np.cumsum(gain)])  # Of keeping the lowest levels: none, one, two and so on.
    edges = [float("-inf"), *levels.tolist(), float("inf")]
    best = np.flatnonzero(totals >= totals.max() - 1e-9)
    return min((_between(edges[place], edges[place + 1]) for place in best), key=abs)


def _between(low: float, high: float) -> float:
    """A threshold that keeps a doubt of ``low`` and drops one of ``high``: 0 if it does, else the middle."""
    if low <= 0 < high:
        return 0.0
    if math.isinf(low) or math.isinf(high):
        return high - 1 if math.isinf(low) else low + 1
    return (low + high) / 2


def _mean_where(values: NDArray[Any], flags: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    total, number = counts @ (values * flags), counts @ flags
    return np.divide(total, number, out=np.zeros(len(counts)), where=number > 0)  # type: ignore[no-any-return]
