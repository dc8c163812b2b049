"""Progress: reports at intervals, and visits once their share of the steps is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from autoopt.strategies.training import checkpoints, progress
from autoopt.strategies.training.loop import Schedule, train
from tests import tiny


def fit(model: Any) -> None:
    """Train for 12 steps."""
    schedule = Schedule(learning_rate=2e-3, epochs=4, batch_size=8)
    train(model, tiny.candidate(layers=1).features(), schedule, pad_token_id=0, effort=1, seed=0)


def visits_at(shares: list[float], *, interrupt_after: int = 0) -> list[tuple[float, int, bool]]:
    """Share, number of steps done and mode of the model at each visit."""
    seen, steps = list[tuple[float, int, bool]](), 0

    def count(done: int, total: int) -> None:
        nonlocal steps
        steps = done
        if done == interrupt_after:
            raise KeyboardInterrupt

    def visit(share: float, model: Any) -> None:
        seen.append((share, steps, model.training))

    visits = {share: lambda model, share=share: visit(share, model) for share in shares}
    with progress.visiting(visits), progress.reporting(count, interval_s=0):
        try:
            fit(tiny.model(layers=1))
        except KeyboardInterrupt:
            return seen
    return seen


@pytest.mark.parametrize(
    ("share", "step"), [(0.01, 1), (1 / 12, 1), (0.25, 3), (0.26, 4), (0.5, 6), (0.9, 11), (11 / 12, 11)]
)
def test_a_visit_comes_as_soon_as_its_share_is_done(share: float, step: int) -> None:
    assert visits_at([share]) == [(share, step, False)]


def test_each_of_several_shares_is_visited_once() -> None:
    assert visits_at([0.75, 0.25, 0.5]) == [(0.25, 3, False), (0.5, 6, False), (0.75, 9, False)]


def test_shares_of_the_same_step_are_all_visited() -> None:
    assert visits_at([0.45, 0.5]) == [(0.45, 6, False), (0.5, 6, False)]


def test_a_share_that_ends_with_the_training_is_not_visited() -> None:
    assert visits_at([0.99, 1.0]) == []


def test_a_training_that_resumes_beyond_a_share_skips_its_visit(tmp_path: Path) -> None:
    for interrupt_after, expected in ((4, [(0.25, 3, False)]), (0, [(0.5, 6, False)])):
        with checkpoints.checkpointing(tmp_path / "stage", interval_s=0):
            seen = visits_at([0.25, 0.5], interrupt_after=interrupt_after)
            if interrupt_after:
                saved = next((tmp_path / "stage").glob("*.safetensors")).read_bytes()
        assert seen == expected
        if interrupt_after:
            (tmp_path / "stage").mkdir()
            (tmp_path / "stage" / "1.safetensors").write_bytes(saved)


def test_a_visit_changes_nothing_of_the_training() -> None:
    alone, watched = tiny.model(layers=1), tiny.model(layers=1)
    fit(alone)

    def visit(model: Any) -> None:
        torch.rand(3)

    with progress.visiting({0.3: visit, 0.6: visit}):
        fit(watched)
    assert tiny.digest(alone) == tiny.digest(watched)


def test_an_error_of_a_visit_ends_the_training() -> None:
    def stop(model: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), progress.visiting({0.5: stop}):
        fit(tiny.model(layers=1))


def test_reports_come_at_most_so_often_and_only_within_the_block() -> None:
    seen: list[tuple[int, int]] = []
    for interval_s in (0, 3600):
        with progress.reporting(lambda done, total: seen.append((done, total)), interval_s=interval_s):
            fit(tiny.model(layers=1))
    fit(tiny.model(layers=1))
    assert seen == [(done, 12) for done in range(1, 13)]
