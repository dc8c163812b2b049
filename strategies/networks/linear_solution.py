"""The linear solution of a task on frozen features: logistic or ridge regression, its strength by cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from autoopt.strategies.system import measurement_gate

if TYPE_CHECKING:
    import torch

STRENGTHS = (3000.0, 1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
"""Strengths of the L2 penalty, strongest first. The penalty is added to the *sum* of the losses and refers to features
of root mean square 1, so that a strength chosen on a part of the rows also holds for all of them."""
FOLDS, FEW_FOLDS, MANY_ROWS = 5, 3, 1000
"""Number of folds up to so many rows, and above."""
SEARCH_ROWS = 3000
"""Largest number of rows on which the strength is chosen."""
SEARCH_TOLERANCE, TOLERANCE = 4e-3, 2e-5
"""Largest element of the gradient of the mean loss, times the number of outputs, at which the search for a strength,
or the solution, ends."""
SEARCH_STEPS, STEPS = 10, 100
"""Largest number of L-BFGS steps of either. The search goes on from the layer of the strength before, so few do."""
RISE = 1.05
"""Loss over the lowest one at which no weaker strength is tried."""

SMALLEST = 0.1
"""Least root mean square by which a feature is divided, as a share of that of all features. MiniLM has features of 1e-7
and less, whose rounding errors had weights of 160,000: a training from there diverges."""

RowLoss: TypeAlias = "Callable[[torch.Tensor, torch.Tensor], torch.Tensor]"
"""Returns the mean loss of logits, (rows, outputs), with their labels, (rows,) or (rows, outputs); convex."""


@dataclass(frozen=True)
class LinearSolution:
    """Weights of a linear layer in double precision."""

    weight: torch.Tensor
    """(outputs, features)"""
    bias: torch.Tensor
    """(outputs,)"""
    strength: float
    loss: float
    """Mean loss of held-out rows at this strength, infinite if there were too few rows to hold any out."""


def solve(
    features: torch.Tensor, labels: torch.Tensor, loss: RowLoss, *, outputs: int, least_strength: float = 0.0
) -> LinearSolution:
    """Minimize the mean loss of a linear layer over the rows of ``features``, plus an L2 penalty on its weight.

    The strength of the penalty, at least ``least_strength``, has the lowest loss in a stratified cross-validation. The
    same rows give the same solution. Shapes: features (rows, width), labels (rows,) or (rows, outputs).
    """
    mean, scale = _standardization(features)
    rows = (features.double() - mean) / scale
    order = _stratified_order(labels)
    # The search needs no more than single precision, which takes half the time.
    start, strength, held_out_loss = _search(rows[order].float(), labels[order], loss, outputs, least_strength)
    layer = _minimize(rows, labels, loss, strength, start.double(), tolerance=TOLERANCE, steps=STEPS)
    weight = layer[:, :-1] / scale
    return LinearSolution(weight, layer[:, -1] - weight @ mean, strength, held_out_loss)


def _standardization(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean of each feature and its root mean square, by which it is divided; at least ``SMALLEST``.

    Not its deviation: a weight on a feature that is large and varies little, as many of a pooler's are, would be large
    too, and the dropout of a training from this solution would drown the answer (Wager et al. 2013). Nor is a feature
    divided by much less than the others: MiniLM has one that is zero but for rounding, and a training moves it.
    """
    rows = features.double()
    scale = rows.square().mean(dim=0).sqrt()
    scale = scale.clamp_min(SMALLEST * float(rows.square().mean().sqrt()))
    scale[scale == 0] = 1.0
    return rows.mean(dim=0), scale


def _stratified_order(labels: torch.Tensor) -> torch.Tensor:
    """Return an order of the rows of which every n-th row has about the same share of each class, or of numbers."""
    import torch

    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    return order[labels[order].argsort(stable=True)] if labels.dim() == 1 else order


def _search(
    rows: torch.Tensor, labels: torch.Tensor, loss: RowLoss, outputs: int, least_strength: float
) -> tuple[torch.Tensor, float, float]:
    """Return the strength with the lowest loss on held-out folds, that loss, and before them the mean solution there.

    ``rows`` are standardized and in the order of ``_stratified_order``. The path over the strengths ends where the loss
    has clearly risen.
    """
    import torch

    every = -(-len(rows) // SEARCH_ROWS)
    rows, labels = rows[::every], labels[::every]
    folds = min(FOLDS if len(rows) <= MANY_ROWS else FEW_FOLDS, len(rows))
    layers = [torch.zeros(outputs, rows.shape[1] + 1)] * folds
    best = (layers[0], STRENGTHS[0], float("inf"))
    if folds < 2:
        return best
    fold_of = torch.arange(len(rows)) % folds
    for strength in (each for each in STRENGTHS if each >= least_strength):
        total = 0.0
        for fold in range(folds):
            kept, held = fold_of != fold, fold_of == fold
            layers[fold] = _minimize(
                rows[kept], labels[kept], loss, strength, layers[fold], tolerance=SEARCH_TOLERANCE, steps=SEARCH_STEPS
            )
            total += float(loss(_logits(rows[held], layers[fold]), labels[held])) * int(held.sum())
        if total / len(rows) < best[2]:
            best = (torch.stack(layers).mean(dim=0), strength, total / len(rows))
        elif total / len(rows) > RISE * best[2]:
            break
    return best


def _logits(rows: torch.Tensor, layer: torch.Tensor) -> torch.Tensor:
    return rows @ layer[:, :-1].T + layer[:, -1]


def _minimize(
    rows: torch.Tensor,
    labels: torch.Tensor,
    loss: RowLoss,
    strength: float,
    start: torch.Tensor,
    *,
    tolerance: float,
    steps: int,
) -> torch.Tensor:
    """Return weight and bias, side by side, that minimize the mean loss plus the penalty; L-BFGS from ``start``."""
    import torch

    layer = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [layer],
        max_iter=steps,
        tolerance_grad=tolerance / len(start),
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def evaluate() -> torch.Tensor:
        optimizer.zero_grad()
        with measurement_gate.compute_step():
            penalty = strength / (2 * len(rows)) * layer[:, :-1].square().sum()
            value = loss(_logits(rows, layer), labels) + penalty
            value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(evaluate)  # type: ignore[no-untyped-call]
    return layer.detach()
