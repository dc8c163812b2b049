"""Train the linear model of a text's terms on labelled examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from autoopt.strategies.candidate import Example
from autoopt.strategies.students import svm
from autoopt.strategies.students.arrays import Arrays, packed
from autoopt.strategies.texts.terms import Pair, Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

HELD_OUT = 5
"""One in this many examples shows how sure the answers may be."""
SCALES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
"""Factors from a margin to a logit."""
REGRESSION, SEVERAL = "regression", "multi_label_classification"


def pairs_of(examples: Sequence[Example]) -> list[Pair]:
    """Return the texts of the examples."""
    return [(example.text, example.text_pair) for example in examples]


def fit_linear(
    examples: Sequence[Example],
    *,
    outputs: int,
    problem: str | None,
    characters: bool | None,
    cost: float,
    seed: int,
    trains: bool,
) -> tuple[Arrays, bool]:
    """Return the arrays of ``LinearReader``, and whether groups of characters are terms.

    ``problem`` is ``config.problem_type``. Unless it ``trains`` all weights are zero, with the same shapes.
    """
    import numpy as np

    pairs = pairs_of(examples)
    vocabulary = Vocabulary.of(pairs, characters=characters)
    count = len(vocabulary.weights)
    weights, bias = np.zeros((count, outputs), np.float32), np.zeros(outputs, np.float32)
    if trains:
        rows = [vocabulary.row(pair) for pair in pairs]
        targets = _targets(examples, outputs, problem)
        if problem == REGRESSION:
            middle = targets.mean(0)
            weights, bias = svm.fit(rows, targets - middle, columns=count, cost=cost, seed=seed, numbers=True)
            bias += middle
        else:
            scale = _scale(rows, targets, count, cost=cost, seed=seed, several=problem == SEVERAL)
            weights, bias = svm.fit(rows, targets, columns=count, cost=cost, seed=seed)
            weights, bias = scale * weights, scale * bias
    arrays = {
        "terms": packed("\n".join(vocabulary.columns)),
        "frequencies": np.array(vocabulary.weights, dtype=np.float32),
        "weights": weights.astype(np.float16),
        "bias": bias.astype(np.float32),
    }
    return arrays, vocabulary.characters


def _targets(examples: Sequence[Example], outputs: int, problem: str | None) -> NDArray[Any]:
    import numpy as np

    labels: list[Any] = [example.label for example in examples]
    if problem == REGRESSION:
        return np.array(labels, dtype=np.float32)[:, None]
    targets = -np.ones((len(labels), outputs), dtype=np.float32)
    for row, label in zip(targets, labels, strict=True):
        row[list(label) if isinstance(label, tuple) else label] = 1
    return targets


def _scale(
    rows: Sequence[svm.Row], targets: NDArray[Any], count: int, *, cost: float, seed: int, several: bool
) -> float:
    """Return the factor that makes the margins of held-out examples the likeliest logits."""
    import numpy as np

    order = np.random.default_rng(seed).permutation(len(rows)).tolist()
    held_out, others = order[::HELD_OUT], [row for place, row in enumerate(order) if place % HELD_OUT]
    if not others:
        return 1.0
    weights, bias = svm.fit([rows[row] for row in others], targets[others], columns=count, cost=cost, seed=seed)
    margins = np.stack(
        [np.array(values, np.float32) @ weights[places] + bias for places, values in (rows[row] for row in held_out)]
    )
    losses = {scale: _loss(scale * margins, targets[held_out], several=several) for scale in SCALES}
    return min(losses, key=losses.__getitem__)


def _loss(logits: NDArray[Any], targets: NDArray[Any], *, several: bool) -> float:
    """Return the mean negative log likelihood of targets that are 1 and -1."""
    import numpy as np

    if several:
        return float(np.logaddexp(0, -logits * targets).mean())
    chosen = (logits * (targets > 0)).sum(1)
    return float((np.logaddexp.reduce(logits, axis=1) - chosen).mean())
