from __future__ import annotations

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.search.space.recipe import Recipe
from autoopt.search.study.front import without_twins
from autoopt.search.trial.record import State, TrialRecord
from autoopt.strategies.catalog import find

OBJECTIVES = {"quality": Direction.MAXIMIZE, "latency_p50": Direction.MINIMIZE}


def trial(number: int, names: list[str], *, quality: float = 0.9, size: float = 4_000_000) -> TrialRecord:
    measured = {
        "quality": Measurement.exact("quality", quality, "", Direction.MAXIMIZE),
        "latency_p50": Measurement.exact("latency_p50", 2.0, "ms", Direction.MINIMIZE),
        "size": Measurement.exact("size", size, "bytes", Direction.MINIMIZE),
    }
    return TrialRecord(number, Recipe.of(find(name)() for name in names), State.COMPLETE, measured)


def test_of_models_with_the_same_answers_and_costs_the_one_of_fewest_steps_stays() -> None:
    plain = trial(7, ["full_finetuning", "int8_dynamic"])
    longer = trial(3, ["full_finetuning", "int8_dynamic", "sequence_length"], size=4_000_100)
    again = trial(9, ["full_finetuning", "int8_dynamic"])
    smaller = trial(4, ["full_finetuning", "int8_dynamic", "layer_drop"], size=3_000_000)
    other = trial(5, ["full_finetuning", "int8_dynamic", "head_pruning"], quality=0.91)
    assert without_twins([longer, plain, again, smaller, other], OBJECTIVES) == [plain, smaller, other]
