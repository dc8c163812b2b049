"""Linear support vector machines with squared hinge loss, one for each class (Hsieh et al. 2008, "dual coordinate")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray

PASSES = 20
"""Most passes over the examples."""
TOLERANCE = 0.02
"""A pass in which no dual variable changes by more than this, on average over its classes, is the last."""

Row: TypeAlias = tuple[Sequence[int], Sequence[float]]
"""Columns and values of an example's features."""


def fit(
    rows: Sequence[Row], targets: NDArray[Any], *, columns: int, cost: float, seed: int, numbers: bool = False
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the weights, (columns, classes), and the biases, (classes,), in float32.

    ``targets``, (rows, classes), is 1 for an example's classes and -1 for the others; with ``numbers`` it is what to
    predict, and the loss is the squared error. ``cost`` weighs the loss against the squared norm of the weights. All
    classes of an example are updated together, so that a pass takes some 30 microseconds for each.
    """
    import numpy as np

    classes = targets.shape[1]
    weights = np.zeros((columns, classes), dtype=np.float32)
    bias = np.zeros(classes, dtype=np.float32)
    dual = np.zeros((len(rows), classes), dtype=np.float32)
    features = [(np.array(places, dtype=np.int64), np.array(values, dtype=np.float32)) for places, values in rows]
    norms = [1.0 + float(values @ values) + 0.5 / cost for _, values in features]
    wanted = targets.astype(np.float32)
    generator = np.random.default_rng(seed)
    for _ in range(PASSES):
        largest = 0.0
        for row in generator.permutation(len(rows)).tolist():
            places, values = features[row]
            chosen = weights[places]
            away = wanted[row] - values @ chosen - bias
            new = dual[row] + (away - dual[row] * (0.5 / cost)) / norms[row]
            if not numbers:
                new = np.maximum(new * wanted[row], 0) * wanted[row]
            step = new - dual[row]
            change = float(np.abs(step).mean())
            if change > TOLERANCE * 1e-3:
                weights[places] = chosen + np.outer(values, step)
                bias += step
                dual[row] = new
                largest = max(largest, change)
        if largest < TOLERANCE:
            break
    return weights, bias
