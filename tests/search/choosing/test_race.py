"""The race of trunks: the start design cuts the best trunks known, and nothing more is made of those far behind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.search.choosing.race import SECOND_BEST_PERIOD, Standings, is_whole, remaining, trunk_of
from autoopt.search.space.recipe import Recipe
from autoopt.search.trial.record import State, TrialRecord
from autoopt.strategies.catalog import find
from autoopt.strategies.strategy import Strategy


def step(name: str, **settings: object) -> Strategy:
    return find(name).model_validate(settings)


FULL, FROZEN, LORA = step("full_finetuning"), step("linear_probe"), step("lora")
CUTS = [[step("layer_drop", keep=keep), step("distillation")] for keep in (0.83, 0.67, 0.5, 0.33)]
INT8 = step("int8_dynamic")
DESIGN = [
    Recipe.of([FROZEN]),
    Recipe.of([step("layer_drop"), step("recovery_finetuning")]),
    Recipe.of([LORA]),
    Recipe.of([FULL, INT8]),
    *(Recipe.of([FULL, *cut]) for cut in CUTS),
    Recipe.of([LORA, *CUTS[2]]),
]
CUTS_OF_BASE = DESIGN[4:8]


def record(number: int, recipe: Recipe, quality: float | None, state: State = State.COMPLETE) -> TrialRecord:
    known = {} if quality is None else {"quality": Measurement.exact("quality", quality, "", Direction.MAXIMIZE)}
    return TrialRecord(number, recipe, state, known)


def left(*records: TrialRecord) -> list[Recipe]:
    return remaining(DESIGN, records, base=Recipe.of([FULL]))


BASELINE = record(0, Recipe.of([FULL]), 0.80)


def test_without_a_trunk_the_design_is_followed_as_it_is() -> None:
    assert left() == DESIGN
    assert left(record(0, Recipe.of([FULL]), None, State.RUNNING)) == DESIGN


def test_cuts_are_made_of_the_best_trunk_and_now_and_then_of_the_second_best() -> None:
    waiting = left(BASELINE, record(1, DESIGN[0], 0.84))
    assert waiting[:3] == DESIGN[1:4]  # What cuts no trunk, and what cuts nothing, stays as it is.
    trunks = [recipe.trunk for recipe in waiting if recipe.leaf in [cut.leaf for cut in CUTS_OF_BASE]][:4]
    assert SECOND_BEST_PERIOD == 3
    assert trunks == [(FROZEN,), (FROZEN,), (FULL,), (FROZEN,)]


def test_nothing_is_made_of_a_trunk_that_is_far_behind_or_was_stopped() -> None:
    frozen_behind = left(BASELINE, record(1, DESIGN[0], 0.73))
    assert all(recipe.trunk != (FROZEN,) for recipe in frozen_behind)
    assert [recipe for recipe in frozen_behind if recipe in CUTS_OF_BASE] == CUTS_OF_BASE
    assert DESIGN[8] in left(BASELINE, record(1, DESIGN[2], 0.78))
    assert DESIGN[8] not in left(BASELINE, record(1, DESIGN[2], 0.73))
    assert DESIGN[8] not in left(BASELINE, record(1, DESIGN[2], 0.5, State.STOPPED))
    assert DESIGN[8] in left(BASELINE, record(1, DESIGN[2], None, State.FAILED))


def test_what_was_cut_of_one_trunk_is_not_cut_again_of_another_when_the_race_turns() -> None:
    moved = Recipe.of([FROZEN, *CUTS[0]])
    trials = [record(1, DESIGN[0], 0.84), record(2, moved, None, State.RUNNING), BASELINE]
    assert left(trials[0])[3] == moved
    overtaken = left(*trials, record(3, DESIGN[3], 0.9))
    assert CUTS_OF_BASE[0] not in overtaken
    assert moved not in overtaken
    assert overtaken[2] == CUTS_OF_BASE[1]


def test_a_cut_that_the_best_trunk_cannot_have_is_made_of_the_baselines() -> None:
    waiting = remaining(
        DESIGN,
        [BASELINE, record(1, DESIGN[0], 0.84)],
        base=Recipe.of([FULL]),
        is_valid=lambda recipe: FROZEN not in recipe.steps,
    )
    assert [recipe for recipe in waiting if recipe in CUTS_OF_BASE] == CUTS_OF_BASE


@pytest.mark.parametrize(
    ("steps", "whole"),
    [
        ([FULL], True),
        ([FULL, INT8], True),
        ([FULL, CUTS[0][0]], False),
        ([CUTS[0][0], INT8], False),
        ([FULL, find("static_embeddings")()], False),
        ([find("linear_bag")()], False),
    ],
)
def test_the_quality_of_a_trunk_is_that_of_a_model_that_keeps_it_whole(steps: list[Strategy], *, whole: bool) -> None:
    recipe = Recipe.of(steps)
    assert is_whole(recipe) is whole
    assert Standings.of([record(0, recipe, 0.7)]).qualities == ({trunk_of(recipe): 0.7} if whole else {})
    both = Standings.of([record(0, recipe, 0.7), record(1, Recipe.of([FULL]), 0.6)])
    assert both.qualities[Recipe.of([FULL])] == (0.7 if whole else 0.6)


def test_trunks_of_different_base_models_are_not_compared() -> None:
    small = [replace(recipe, model="small") for recipe in (DESIGN[0], BASELINE.recipe)]
    trials = [record(2, small[0], 0.5), record(3, small[1], 0.52), record(1, DESIGN[0], 0.99)]
    standings = Standings.of([BASELINE, *trials])
    assert standings.ranked("small") == [small[1], small[0]]
    assert standings.ranked("") == [DESIGN[0]]
    assert not standings.is_behind(small[1])
    cut = replace(DESIGN[4], model="small")
    assert cut in remaining([cut], [BASELINE, *trials], base=BASELINE.recipe)


IN_INT8 = [Recipe.of([*recipe.steps, INT8]) for recipe in CUTS_OF_BASE]
ONNX = step("onnx_runtime")
IN_ONNX = [Recipe.of([*recipe.steps, ONNX]) for recipe in CUTS_OF_BASE]
WHOLE_INT8, WHOLE_ONNX = Recipe.of([FULL, INT8]), Recipe.of([FULL, ONNX])
RUNTIMES = [WHOLE_INT8, WHOLE_ONNX, *IN_INT8, Recipe.of([LORA, *CUTS[2], INT8]), Recipe.of([FULL, *CUTS[3], ONNX])]


def timed(number: int, recipe: Recipe, milliseconds: float, quality: float = 0.8, **others: float) -> TrialRecord:
    made = record(number, recipe, quality)
    latency = Measurement.exact("latency_p50", milliseconds, "ms", Direction.MINIMIZE)
    more = Measurement.exact("throughput", others.get("throughput", 1.0), "/s", Direction.MAXIMIZE)
    return replace(made, measurements={**made.measurements, "latency_p50": latency, "throughput": more})


def left_of(*records: TrialRecord, costs: tuple[str, ...] = ("latency_p50",)) -> list[Recipe]:
    return remaining(RUNTIMES, records, base=Recipe.of([FULL]), costs=costs)


BASE = timed(0, Recipe.of([FULL]), 12.0)


def test_cuts_run_in_the_runtime_in_which_the_whole_trunk_is_fastest() -> None:
    assert left_of(BASE) == RUNTIMES
    assert left_of(BASE, timed(1, WHOLE_ONNX, 3.0)) == [WHOLE_INT8, *RUNTIMES[2:]]  # The usual one is not known.
    both = timed(1, WHOLE_INT8, 4.0), timed(2, WHOLE_ONNX, 3.0)
    assert left_of(BASE, *both) == [*IN_ONNX, Recipe.of([LORA, *CUTS[2], ONNX])]
    assert left_of(BASE, timed(1, WHOLE_INT8, 3.0), timed(2, WHOLE_ONNX, 4.0)) == RUNTIMES[2:]
    assert left_of(BASE, *both, costs=()) == RUNTIMES[2:]  # Nothing is to be fast.


def test_the_usual_runtime_is_known_where_a_limit_rejected_it() -> None:
    rejected = timed(1, WHOLE_INT8, 4.0)
    costs = {name: cost for name, cost in rejected.measurements.items() if name != "quality"}
    rejected = replace(rejected, state=State.REJECTED, measurements=costs)
    assert left_of(BASE, rejected, timed(2, WHOLE_ONNX, 3.0))[: len(IN_ONNX)] == IN_ONNX
    assert left_of(BASE, rejected, timed(2, WHOLE_ONNX, 5.0))[: len(IN_INT8)] == IN_INT8
    failed = replace(rejected, state=State.FAILED)
    assert left_of(BASE, failed, timed(2, WHOLE_ONNX, 3.0))[: len(IN_INT8)] == IN_INT8


def test_a_runtime_that_loses_too_much_quality_is_not_the_best() -> None:
    assert left_of(BASE, timed(1, WHOLE_INT8, 4.0), timed(2, WHOLE_ONNX, 1.0, quality=0.7)) == RUNTIMES[2:]


def test_of_an_objective_that_is_maximized_more_is_better() -> None:
    trials = BASE, timed(1, WHOLE_INT8, 3.0, throughput=100), timed(2, WHOLE_ONNX, 3.0, throughput=200)
    assert left_of(*trials, costs=("latency_p50", "throughput"))[: len(IN_ONNX)] == IN_ONNX


def test_what_was_tried_in_one_runtime_is_not_tried_again_when_another_turns_out_to_be_faster() -> None:
    trials = BASE, timed(1, IN_INT8[0], 2.0), timed(2, Recipe.of([LORA, *CUTS[2], INT8]), 2.0)
    waiting = left_of(*trials, timed(3, WHOLE_INT8, 4.0), timed(4, WHOLE_ONNX, 3.0))
    assert waiting == IN_ONNX[1:]
