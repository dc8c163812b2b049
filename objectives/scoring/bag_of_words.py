"""A bag of words: TF-IDF features and a ridge classifier, the least that a language model should beat."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from autoopt.strategies.texts.words import script_of

MAX_TRAINING_TEXTS = 4000
"""Number of training texts that are learned from; the time grows with its third power."""
MAX_CHARACTERS = 1000
"""Length to which texts are cut."""
RIDGE = 1.0
"""Weight of the squared norm of the solution, for features of length 1."""

Vocabulary: TypeAlias = Mapping[str, tuple[int, float]]
"""Column and inverse document frequency of each term."""

_WORD = re.compile(r"\w+")


def predict(texts: Sequence[str], classes: Sequence[int], new_texts: Sequence[str]) -> list[int]:
    """Return the class of each new text, after learning the classes of ``texts``.

    Words, pairs of neighbouring words and groups of three to five characters of a word are weighted by TF-IDF; a ridge
    regression on one number for each class, in its dual form, then answers (as scikit-learn's ``RidgeClassifier``).
    """
    import numpy as np

    chosen = range(len(texts))
    if len(texts) > MAX_TRAINING_TEXTS:
        chosen = sorted(random.Random(0).sample(chosen, MAX_TRAINING_TEXTS))  # type: ignore[assignment]
    features, vocabulary = _fitted([_terms(texts[row]) for row in chosen])
    targets = np.eye(max(classes) + 1)[[classes[row] for row in chosen]]
    means = targets.mean(axis=0)
    similarities = (features @ features.T).toarray()
    solution = np.linalg.solve(similarities + RIDGE * np.eye(len(chosen)), targets - means)
    new = _features(map(_terms, new_texts), vocabulary)
    return (means + (new @ features.T) @ solution).argmax(axis=1).tolist()  # type: ignore[no-any-return]


def _terms(text: str) -> Counter[str]:
    words: list[str] = []
    for word in _WORD.findall(text[:MAX_CHARACTERS].lower()):
        words += list(word) if any(map(script_of, word)) else [word]
    terms = Counter(words)
    terms.update(f"{first} {second}" for first, second in pairwise(words))
    for word in words:
        padded = f"<{word}>"
        terms.update(padded[i : i + size] for size in (3, 4, 5) for i in range(len(padded) - size + 1))
    return terms


def _fitted(counts: Sequence[Counter[str]]) -> tuple[Any, Vocabulary]:
    """Return the features of the training texts and the terms that occur in two of them or more."""
    frequencies = Counter(term for terms in counts for term in terms)
    common = [(term, frequency) for term, frequency in frequencies.items() if frequency > 1]
    vocabulary = {
        term: (column, 1 + math.log((1 + len(counts)) / (1 + frequency)))
        for column, (term, frequency) in enumerate(common)
    }
    return _features(counts, vocabulary), vocabulary


def _features(counts: Iterable[Counter[str]], vocabulary: Vocabulary) -> Any:
    """Return a sparse matrix, (texts, terms), of rows of length 1; 0 for a text without a known term."""
    from scipy.sparse import csr_array

    starts, columns, values = [0], list[int](), list[float]()
    for terms in counts:
        known = [(*vocabulary[term], count) for term, count in terms.items() if term in vocabulary]
        row = [(1 + math.log(count)) * weight for _, weight, count in known]
        length = math.hypot(*row)
        values += [value / length for value in row]
        columns += [column for column, _, _ in known]
        starts.append(len(columns))
    return csr_array((values, columns, starts), shape=(len(starts) - 1, len(vocabulary)))
