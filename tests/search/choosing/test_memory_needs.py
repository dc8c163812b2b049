"""What a shortage of memory and measured peaks tell about other recipes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoopt.search.choosing.memory_needs import MemoryNeeds
from autoopt.search.space.recipe import Recipe
from autoopt.search.trial.record import StageRecord, State, TrialRecord
from autoopt.strategies.catalog import find
from autoopt.strategies.errors import Shortage
from tests.search import samples

GIB = 2**30


def recipe(*steps: str | tuple[str, dict[str, Any]], model: str = "") -> Recipe:
    named = (step if isinstance(step, tuple) else (step, {}) for step in steps)
    return Recipe.of([find(name)(**values) for name, values in named], model=model)


def short_of_memory(failed: Recipe, stage: str, *, total: int = 80 * GIB) -> TrialRecord:
    shortage = Shortage("H200", used_bytes=78 * GIB, asked_bytes=4 * GIB, total_bytes=total, stage=stage)
    return TrialRecord(1, failed, State.FAILED, reason="OutOfMemory: ...", shortage=shortage)


FULL = recipe(("full_finetuning", {"learning_rate": 1e-4}))
CUT = ("layer_drop", {"keep": 0.5})


@pytest.mark.parametrize(
    ("failed", "stage", "other", "is_excluded"),
    [
        (FULL, "full_finetuning", recipe(("full_finetuning", {"learning_rate": 2e-5, "epochs": 5})), True),
        (FULL, "full_finetuning", recipe("full_finetuning", "layer_drop", "int8_dynamic"), True),
        (FULL, "full_finetuning", recipe("random_edits", "full_finetuning"), True),
        (FULL, "full_finetuning", recipe("full_finetuning", model="small"), False),
        (FULL, "full_finetuning", recipe(("full_finetuning", {"batch_size": 8})), False),
        (FULL, "full_finetuning", recipe(("full_finetuning", {"batch_size": 32})), True),
        (FULL, "full_finetuning", recipe("lora"), False),
        (recipe("mixup", "full_finetuning"), "full_finetuning", FULL, False),
        (FULL, "full_finetuning", recipe("mixup", "full_finetuning"), True),
        (recipe(("lora", {"rank": 16})), "lora", recipe(("lora", {"rank": 8})), False),
        (recipe(("lora", {"rank": 16})), "lora", recipe(("lora", {"rank": 32})), True),
        (recipe(("lora", {"targets": "all"})), "lora", recipe(("lora", {"targets": "attention"})), False),
        (recipe("lora", CUT, "distillation"), "distillation", recipe("lora"), False),
        (recipe("lora", CUT, "distillation"), "distillation", recipe("lora", "distillation"), True),
        (
            recipe("lora", CUT, "distillation"),
            "distillation",
            recipe("lora", ("layer_drop", {"keep": 0.33}), "distillation"),
            False,
        ),
        (
            recipe("lora", CUT, "distillation"),
            "distillation",
            recipe("bitfit", ("layer_drop", {"keep": 0.83}), "distillation"),
            True,
        ),
    ],
    ids=str,
)
def test_a_recipe_is_excluded_if_a_stage_needs_at_least_as_much(
    failed: Recipe, stage: str, other: Recipe, is_excluded: bool
) -> None:
    assert MemoryNeeds.of([short_of_memory(failed, stage)]).exceeds(other) is is_excluded


def test_nothing_is_excluded_before_memory_ran_out() -> None:
    assert not MemoryNeeds.of([samples.record()]).exceeds(FULL)


def test_a_shortage_on_a_smaller_gpu_does_not_count() -> None:
    records = [short_of_memory(FULL, "full_finetuning", total=16 * GIB)]
    assert MemoryNeeds.of(records, total_bytes=16 * GIB).exceeds(FULL)
    assert not MemoryNeeds.of(records, total_bytes=80 * GIB).exceeds(FULL)


def test_a_stage_takes_what_was_measured_for_one_that_needs_at_least_as_much() -> None:
    def measured(number: int, own: Recipe, **peaks: int) -> TrialRecord:
        stages = (StageRecord(name, 1.0, False, 0.0, "H200", peak * GIB) for name, peak in peaks.items())
        return replace(samples.record(number, own), stages=tuple(stages))

    needs = MemoryNeeds.of(
        [
            measured(0, recipe("full_finetuning"), full_finetuning=12, scoring=3),
            measured(1, recipe("full_finetuning"), full_finetuning=11),
            measured(2, recipe("full_finetuning", CUT, "distillation"), distillation=7),
        ]
    )
    other = recipe(("full_finetuning", {"epochs": 5}), ("layer_drop", {"keep": 0.33}), "distillation")
    assert needs.peaks(other) == {"full_finetuning": 11 * GIB, "distillation": 7 * GIB}
    wider = recipe("full_finetuning", ("layer_drop", {"keep": 0.67}), "distillation")
    assert needs.peaks(wider) == {"full_finetuning": 11 * GIB}
    assert needs.peaks(recipe("full_finetuning", model="large")) == {}
