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

MAX_TRAINING_TEXTS = 3000
"""Number of training texts that are learned from; the time grows with its third power."""
MAX_CHARACTERS = 1000
"""Length to which texts are cut."""
RIDGE = 1.0
"""Weight of the squared norm of the solution, for features of length 1."""

Vocabulary: TypeAlias = Mapping[str, tuple[int, float]]
"""Column and inverse document frequency of each term."""

SHORT = 200
"""Mean number of characters up to which groups of characters count too; longer texts have words enough."""
_WORD = re.compile(r"\w+")


def predict(texts: Sequence[str], classes: Sequence[int], new_texts: Sequence[str]) -> list[int]:
    """Return the class of each new text, after learning the classes of ``texts``.

    Words with pairs of neighbours, and in short texts groups of three to five characters of a word, are weighted by
    TF-IDF, each kind to length 1. A ridge regression on one number for each class, in its dual form, answers. On
    CLINC150 (3,000 texts) 84.5 % are right, 86.7 of scikit-learn's linear SVM, on SST-2 (1,000) 70.1 and 70.9.
    """
    import numpy as np

    rows = range(len(texts))
    chosen = sorted(random.Random(0).sample(rows, min(MAX_TRAINING_TEXTS, len(rows))))
    targets = np.eye(max(classes) + 1)[[classes[row] for row in chosen]]
    means = targets.mean(axis=0)
    similarities = np.zeros((len(chosen), len(chosen)))
    new_similarities = np.zeros((len(new_texts), len(chosen)))
    is_short = sum(len(texts[row]) for row in chosen) <= SHORT * len(chosen)
    for terms_of in (_word_terms, _character_terms) if is_short else (_word_terms,):
        features, vocabulary = _fitted([terms_of(texts[row]) for row in chosen])
        similarities += (features @ features.T).toarray()
        new_similarities += (_features(map(terms_of, new_texts), vocabulary) @ features.T).toarray()
    solution = np.linalg.solve(similarities + RIDGE * np.eye(len(chosen)), targets - means)
    return (means + new_similarities @ solution).argmax(axis=1).tolist()  # type: ignore[no-any-return]


def _word_terms(text: str) -> Counter[str]:
    words = _words(text)
    return Counter([*words, *map(" ".join, pairwise(words))])


def _character_terms(text: str) -> Counter[str]:
    padded = [f" {word} " for word in _words(text)]
    return Counter(word[i : i + size] for word in padded for size in (3, 4, 5) for i in range(len(word) - size + 1))


def _words(text: str) -> list[str]:
    """Return the words in lower case; of scripts without blanks each character is one."""
    words: list[str] = []
    for word in _WORD.findall(text[:MAX_CHARACTERS].lower()):
        words += list(word) if any(map(script_of, word)) else [word]
    return words


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
        length = math.hypot(*row)  # At least 1 if there is any.
        values += [value / length for value in row]
        columns += [column for column, _, _ in known]
        starts.append(len(columns))
    return csr_array((values, columns, starts), shape=(len(starts) - 1, len(vocabulary)))
