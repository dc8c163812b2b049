"""The training loop: it learns, effort is steps, a seed is a result, and a broken loss stops it."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from autoopt.strategies.candidate import Candidate, Features
from autoopt.strategies.errors import Diverged
from autoopt.strategies.training import loop
from autoopt.strategies.training.loop import TASK_LOSS, Schedule, linear_schedule, train
from tests import tiny

SCHEDULE = Schedule(learning_rate=2e-3, epochs=4, batch_size=8)
"""With 24 examples: 3 steps an epoch, 12 in all."""


@pytest.fixture
def given() -> Candidate:
    return tiny.candidate(layers=2)


def run(given: Candidate, *, effort: float = 1, seed: int = 0, **changes: Any) -> list[float]:
    settings = {"pad_token_id": 0, "effort": effort, "seed": seed, **changes}
    return train(given.model, given.features(), SCHEDULE, **settings)


def test_it_learns_what_can_be_learned(given: Candidate) -> None:
    schedule = Schedule(learning_rate=2e-3, epochs=15, batch_size=8)
    losses = train(given.model, given.features(), schedule, pad_token_id=0, effort=1, seed=0)
    assert sum(losses[-5:]) < sum(losses[:5]) / 2
    assert tiny.accuracy(given) > 0.9


@pytest.mark.parametrize(("effort", "steps"), [(1, 12), (0.5, 6), (0.25, 3), (0.3, 4), (0.01, 1)])
def test_effort_scales_the_steps(given: Candidate, effort: float, steps: int) -> None:
    assert len(run(given, effort=effort)) == steps


@pytest.mark.parametrize(
    ("examples", "longest", "effort", "steps"),
    [(24, None, 1, 12), (24, 2, 1, 8), (24, 2, 0.5, 4), (24, 3, 1, 12), (24, 100, 1, 12), (25, 3, 0.1, 2)],
)
def test_a_long_epoch_is_a_part_of_a_pass(examples: int, longest: int | None, effort: float, steps: int) -> None:
    assert replace(SCHEDULE, longest_epoch=longest).steps(examples, effort) == steps


def test_with_many_examples_each_is_seen_before_any_is_seen_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LONGEST_EPOCH", 2)
    seen: list[int] = []

    def watch(model: Any, batch: dict[str, torch.Tensor]) -> Any:
        seen.extend(batch.pop("row").tolist())
        return model(**batch)

    given = tiny.candidate(layers=1)
    rows: list[Features] = [{**item, "row": row} for row, item in enumerate(given.features())]
    losses = loop.fit(given, given.model, SCHEDULE, effort=1, seed=0, features=rows, forward=watch)
    assert len(losses) == 8
    assert sorted(seen[:24]) == sorted(seen[24:48]) == list(range(24))


def learning_rates(given: Candidate, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> list[list[float]]:
    """The learning rate of each group of parameters at each step."""
    rates = []
    step = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, closure: Any = None) -> Any:
        rates.append([group["lr"] for group in self.param_groups])
        return step(self, closure)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    run(given, **settings)
    return rates


@pytest.mark.parametrize("effort", [1, 0.5, 0.25])
def test_the_learning_rate_rises_over_the_warm_up_and_falls_to_nearly_nothing_in_a_straight_line(
    given: Candidate, monkeypatch: pytest.MonkeyPatch, effort: float
) -> None:
    total = round(12 * effort)
    rates = [rate for (rate,) in learning_rates(given, monkeypatch, effort=effort)]
    assert rates == pytest.approx([2e-3 * min(1, (total - step) / (total - 1)) for step in range(total)])


def test_the_warm_up_takes_its_share_of_the_steps(given: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = Schedule(learning_rate=1.0, epochs=4, batch_size=8, warmup=0.25)
    monkeypatch.setattr(f"{__name__}.SCHEDULE", replace(schedule, learning_rate=1e-3))
    rates = [rate * 1e3 for (rate,) in learning_rates(given, monkeypatch)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1, *(left / 9 for left in range(9, 0, -1))])


def test_groups_keep_the_ratio_of_their_learning_rates(given: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = given.model
    groups = [{"params": model.bert.parameters()}, {"params": model.classifier.parameters(), "lr": 2e-2}]
    rates = learning_rates(given, monkeypatch, parameters=groups)
    assert [head / body for body, head in rates] == pytest.approx([10.0] * 12)


def test_a_resumed_schedule_has_the_same_rates_to_the_last_bit() -> None:
    def rates(steps_done: int) -> list[float]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
        scheduler = linear_schedule(optimizer, 20, warmup=0.3, steps_done=steps_done)
        found = []
        for _ in range(steps_done, 20):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return found

    assert all(rates(done) == rates(0)[done:] for done in range(20))


@pytest.mark.parametrize(("scale", "clipped"), [(1e4, True), (1e-4, False)])
def test_gradients_are_clipped_to_the_norm_of_the_schedule_and_not_enlarged(
    given: Candidate, monkeypatch: pytest.MonkeyPatch, scale: float, clipped: bool
) -> None:
    norms = []
    step = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, closure: Any = None) -> Any:
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norms.append(float(torch.nn.utils.get_total_norm(gradients)))
        return step(self, closure)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    run(given, effort=0.25, loss=lambda model, batch: TASK_LOSS(model, batch) * scale)
    if clipped:
        assert norms == pytest.approx([SCHEDULE.max_grad_norm] * 3, rel=1e-3)
    else:
        assert all(0 < norm < 0.1 for norm in norms)


def test_half_the_effort_ends_its_own_decay(given: Candidate) -> None:
    """The last step is small whatever the effort: the schedule shrinks with the steps and is not cut off."""
    moves = []

    def watch(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        moves.append(model.classifier.weight.detach().clone())
        return TASK_LOSS(model, batch)

    run(given, effort=0.5, loss=watch)
    lengths = [float((after - before).norm()) for before, after in itertools.pairwise(moves)]
    assert lengths[-1] < max(lengths) / 2


@pytest.mark.parametrize(
    ("capabilities", "numbers"),
    [
        ({}, torch.float32),
        ({"avx512_f": True, "avx512_bf16": False}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
    ],
)
def test_it_computes_in_bfloat16_where_the_processor_has_units_for_it_and_keeps_weights_in_float32(
    given: Candidate, monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], numbers: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    seen = []

    def watch(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        features = {name: value for name, value in batch.items() if name != "labels"}
        seen.append(model(**features).logits.dtype)
        return TASK_LOSS(model, batch)

    run(given, loss=watch, effort=0.25)
    assert set(seen) == {numbers}
    assert {weight.dtype for weight in given.model.parameters()} == {torch.float32}
    assert given.model(**tiny_batch(given)).logits.dtype is torch.float32


def tiny_batch(given: Candidate) -> dict[str, torch.Tensor]:
    return {"input_ids": torch.tensor([given.features()[0]["input_ids"]])}


def test_no_effort_does_nothing(given: Candidate) -> None:
    before = tiny.digest(given.model)
    assert run(given, effort=0) == []
    assert tiny.digest(given.model) == before


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    digests = []
    for seed in (1, 1, 2):
        given = tiny.candidate(layers=2)
        torch.rand(5)  # What else has drawn random numbers must not matter.
        run(given, seed=seed)
        digests.append(tiny.digest(given.model))
    assert digests[0] == digests[1] != digests[2]


def test_only_the_given_parameters_learn(given: Candidate) -> None:
    model: Any = given.model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run(given, parameters=model.classifier.parameters())
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"classifier.weight", "classifier.bias"}


def test_each_epoch_sees_every_example_once(given: Candidate) -> None:
    seen: list[int] = []

    def watch(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        seen.extend(batch.pop("row").tolist())
        return TASK_LOSS(model, batch)

    rows: list[Features] = [{**item, "row": row} for row, item in enumerate(given.features())]
    train(given.model, rows, SCHEDULE, pad_token_id=0, effort=0.5, seed=0, loss=watch)
    assert sorted(seen[:24]) == sorted(seen[24:]) == list(range(24))
    assert seen[:24] != seen[24:]


def test_it_trains_with_dropout_and_ends_without(given: Candidate) -> None:
    modes = []

    def watch(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        modes.append(model.training)
        return TASK_LOSS(model, batch)

    run(given, effort=0.1, loss=watch)
    assert modes == [True, True]
    assert not any(module.training for module in given.model.modules())


@pytest.mark.parametrize(("value", "shown"), [(math.nan, "nan"), (math.inf, "inf")])
def test_a_loss_that_is_not_finite_stops_it_and_names_the_step(given: Candidate, value: float, shown: str) -> None:
    calls = []

    def breaks_at_the_third(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        calls.append(1)
        return TASK_LOSS(model, batch) * (value if len(calls) == 3 else 1.0)

    with pytest.raises(Diverged, match=f"the loss is {shown} at training step 2; a lower learning rate"):
        run(given, loss=breaks_at_the_third)
    assert len(calls) == 3


def test_a_loss_that_diverges_leaves_the_weights_finite(given: Candidate) -> None:
    with pytest.raises(Diverged, match="training step 0"):
        run(given, loss=lambda model, batch: TASK_LOSS(model, batch) * math.nan)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in given.model.parameters())


def test_a_loss_that_rises_far_above_its_start_stops_it_early(given: Candidate) -> None:
    calls = []

    def rises(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        calls.append(1)
        return TASK_LOSS(model, batch) + max(0, len(calls) - 10)

    schedule = Schedule(learning_rate=1e-5, epochs=20, batch_size=8)
    with pytest.raises(Diverged, match=r"the loss rose from 1\.\d+ to 7\.\d+ by training step 20; a lower"):
        train(given.model, given.features(), schedule, pad_token_id=0, effort=1, seed=0, loss=rises)
    assert len(calls) == 21
