"""Scores of answers by the rules of SQuAD's evaluation scripts, and the threshold for "no answer"."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from autoopt.objectives.scoring import scores
from autoopt.strategies.candidate import Span

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXACT, F1, HAS_ANSWER = range(3)
"""Columns of a question's outcome."""

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(text: str) -> str:
    """Return the text in lower case without ASCII punctuation, English articles and redundant blanks."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def outcome(answer: str, references: Sequence[Span]) -> tuple[float, float, float]:
    """Return exact match and F1 of the words, each against the best reference, and 1 if there is a reference.

    As in the script of SQuAD 2.0, references that normalize to nothing are ignored; without any other, an answer is
    correct if it normalizes to nothing too.
    """
    targets = [target for span in references if (target := normalize(span.text))] or [""]
    predicted = normalize(answer)
    best_f1 = max(_word_f1(predicted.split(), target.split()) for target in targets)
    return float(predicted in targets), best_f1, float(bool(references))


def _word_f1(predicted: Sequence[str], target: Sequence[str]) -> float:
    if not predicted or not target:
        return float(predicted == target)
    common = (Counter(predicted) & Counter(target)).total()
    return 2 * common / (len(predicted) + len(target))


def has_answer_f1(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return the mean F1 of the questions that have an answer; 0 if none has."""
    return _masked_mean(distinct[:, F1], distinct[:, HAS_ANSWER], counts)


def no_answer_accuracy(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return the share of the questions without an answer for which none is given; 0 if there is none."""
    return _masked_mean(distinct[:, EXACT], 1 - distinct[:, HAS_ANSWER], counts)


f1 = scores.mean_of(F1)
exact_match = scores.mean_of(EXACT)


def best_threshold(null_margins: Sequence[float], answer_f1s: Sequence[float], no_answer_f1s: Sequence[float]) -> float:
    """Return the null margin above which "no answer" is given, for the highest mean F1.

    ``answer_f1s`` are the F1 of the answers, ``no_answer_f1s`` those of no answer in their place. Of equally good
    thresholds it is the nearest to 0, midway between two margins, so that a small change in either has no effect.
    """
    import numpy as np

    finite = np.isfinite(null_margins)
    levels, level = np.unique(np.asarray(null_margins)[finite], return_inverse=True)
    if levels.size == 0:
        return 0.0
    gain = np.bincount(level, weights=(np.asarray(answer_f1s) - np.asarray(no_answer_f1s))[finite])
    totals = np.concatenate([[0.0], np.cumsum(gain)])  # Gains of answering below the first 0, 1, 2, … levels.
    edges = [float("-inf"), *levels.tolist(), float("inf")]
    best = np.flatnonzero(totals >= totals.max() - 1e-9)
    return min((_between(edges[index], edges[index + 1]) for index in best), key=abs)


def _between(low: float, high: float) -> float:
    """Return a threshold t with low <= t < high: 0 if possible, else the midpoint."""
    if low <= 0 < high:
        return 0.0
    if math.isinf(low) or math.isinf(high):
        return high - 1 if math.isinf(low) else low + 1
    return (low + high) / 2


def _masked_mean(values: NDArray[Any], mask: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    total, number = counts @ (values * mask), counts @ mask
    return np.divide(total, number, out=np.zeros(len(counts)), where=number > 0)  # type: ignore[no-any-return]
