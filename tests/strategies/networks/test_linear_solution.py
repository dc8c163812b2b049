"""The linear solution against scikit-learn's and against the normal equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from autoopt.strategies.networks import linear_solution
from autoopt.strategies.networks.linear_solution import LinearSolution, solve


def blobs(*, rows: int = 300, width: int = 8, classes: int = 3, noise: float = 1.0) -> tuple[torch.Tensor, Any]:
    """Features whose means differ by class, each feature on a scale of its own."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(rows) % classes
    centres = torch.randn(classes, width, generator=generator)
    features = centres[labels] + noise * torch.randn(rows, width, generator=generator)
    return features * torch.logspace(-0.3, 0.3, width) + torch.logspace(-0.3, 0.3, width), labels


def standardized(features: torch.Tensor) -> torch.Tensor:
    """Features of mean 0, divided by their root mean square before."""
    return (features.double() - features.double().mean(0)) / features.double().square().mean(0).sqrt()


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_are_separated_as_by_scikit_learn(classes: int) -> None:
    features, labels = blobs(classes=classes)
    solution = solve(features, labels, F.cross_entropy, outputs=classes)
    reference = LogisticRegression(C=1 / solution.strength, tol=1e-8, max_iter=1000)
    rows = standardized(features)
    if classes == 2:  # scikit-learn has one weight for two classes; with two of opposite sign the penalty is half.
        reference.C *= 2
    reference.fit(rows, labels)
    ours = (features.double() @ solution.weight.T + solution.bias).softmax(-1)
    np.testing.assert_allclose(ours.numpy(), reference.predict_proba(rows), atol=2e-3)


def test_numbers_are_the_ridge_regression() -> None:
    features, _ = blobs()
    target = features[:, 0] * 3 - features[:, -1] / 50 + torch.randn(300, generator=torch.Generator().manual_seed(2))

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(logits[:, 0], labels.double())

    solution = solve(features, target, loss, outputs=1)
    rows, centred = standardized(features), target.double() - target.double().mean()
    # The sum of squares has no factor of a half, the penalty has.
    exact = torch.linalg.solve(rows.T @ rows + solution.strength / 2 * torch.eye(8), rows.T @ centred)
    predicted = features.double() @ solution.weight[0] + solution.bias[0]
    torch.testing.assert_close(predicted, rows @ exact + target.double().mean(), atol=1e-3, rtol=1e-3)


def test_the_penalty_is_stronger_where_features_tell_less() -> None:
    clear, noisy = (solve(*blobs(noise=noise), F.cross_entropy, outputs=3) for noise in (0.3, 8.0))
    assert noisy.strength >= 10 * clear.strength
    assert clear.loss < noisy.loss


def test_the_loss_is_that_of_rows_held_out() -> None:
    """Features of pure noise, as many as rows: each class can be learned by heart and none predicted."""
    generator = torch.Generator().manual_seed(0)
    features, labels = torch.randn(60, 60, generator=generator), torch.arange(60) % 2
    solution = solve(features, labels, F.cross_entropy, outputs=2)
    assert solution.loss > 0.9 * np.log(2)


def test_the_same_rows_give_the_same_solution_whatever_was_drawn_before() -> None:
    first = solve(*blobs(), F.cross_entropy, outputs=3)
    torch.rand(5)
    again = solve(*blobs(), F.cross_entropy, outputs=3)
    assert torch.equal(first.weight, again.weight)
    assert first.strength == again.strength


def test_a_strength_chosen_on_a_part_of_the_rows_is_about_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = solve(*blobs(rows=900, noise=4), F.cross_entropy, outputs=3)
    monkeypatch.setattr(linear_solution, "SEARCH_ROWS", 300)
    part = solve(*blobs(rows=900, noise=4), F.cross_entropy, outputs=3)
    assert 0.1 <= part.strength / whole.strength <= 10
    assert F.cosine_similarity(part.weight.flatten(), whole.weight.flatten(), dim=0) > 0.95


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_handful_of_rows_has_a_solution_too(rows: int) -> None:
    features, labels = blobs(rows=rows)
    solution: LinearSolution = solve(features, labels, F.cross_entropy, outputs=3)
    assert solution.weight.isfinite().all()
    assert solution.bias.isfinite().all()


def test_a_constant_feature_gets_no_weight() -> None:
    features, labels = blobs()
    features[:, 2] = 7.0
    assert solve(features, labels, F.cross_entropy, outputs=3).weight[:, 2].abs().max() == 0


def test_a_feature_of_rounding_errors_gets_no_large_weight() -> None:
    features, labels = blobs()
    features[:, 0] = 3e-7 * (1 + 0.1 * labels)
    solution = solve(features, labels, F.cross_entropy, outputs=3)
    assert solution.weight[:, 0].abs().max() < 10


def test_a_feature_that_is_large_and_varies_little_gets_less_weight() -> None:
    """Dropout of such a feature would drown the answer."""
    features, labels = blobs()
    before = solve(features, labels, F.cross_entropy, outputs=3).weight
    features[:, 0] += 1000 * features[:, 0].std()
    after = solve(features, labels, F.cross_entropy, outputs=3).weight
    assert after[:, 0].abs().max() < 0.1 * before[:, 0].abs().max()
