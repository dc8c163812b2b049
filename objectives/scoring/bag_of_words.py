"""A bag of words: TF-IDF terms and a linear classifier, the least that a language model should beat."""

from __future__ import annotations

import random
from collections.abc import Sequence

MAX_TRAINING_TEXTS = 3000
"""Number of training texts that are learned from, so that it takes seconds."""
COST = 0.3


def predict(texts: Sequence[str], classes: Sequence[int], new_texts: Sequence[str]) -> list[int]:
    """Return the class of each new text, after learning the classes of ``texts`` as ``linear_bag`` does."""
    import numpy as np

    from autoopt.strategies.students import svm
    from autoopt.strategies.texts.terms import Vocabulary

    rows = range(len(texts))
    chosen = sorted(random.Random(0).sample(rows, min(MAX_TRAINING_TEXTS, len(rows))))
    pairs = [(texts[row], None) for row in chosen]
    vocabulary = Vocabulary.of(pairs)
    targets = -np.ones((len(chosen), max(classes) + 1), dtype=np.float32)
    targets[range(len(chosen)), [classes[row] for row in chosen]] = 1
    features = [vocabulary.row(pair) for pair in pairs]
    weights, bias = svm.fit(features, targets, columns=len(vocabulary.weights), cost=COST, seed=0)
    answers = []
    for text in new_texts:
        columns, values = vocabulary.row((text, None))
        answers.append(int((np.array(values, dtype=np.float32) @ weights[columns] + bias).argmax()))
    return answers
