"""Record what every recipe of a small space gives and takes, for the simulator to look up.

    python -m tests.benchmarks.recorded_runs --root FOLDER [--json FILE]

Three ways to train MiniLM on BBC News, or none, with all ways to cut it, to recover it and to quantize it: each recipe
of that space is run once as a search runs it, two at a time, none stopped at its rungs. Half an hour on 2 cores; with
the same root it goes on where it was cut off. The file has, by recipe, what was measured, and by stage what it took to
compute and what its rungs showed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.search.backends.ray_tune import runner as ray_runner
from autoopt.search.experiment.experiment import Experiment, load_experiment
from autoopt.search.experiment.opening import open_data, space_of
from autoopt.search.paths import Root, StudyFolder
from autoopt.search.space.recipe import Recipe
from autoopt.search.space.space import InvalidRecipe, Space
from autoopt.search.study import lifecycle as studies
from autoopt.search.study.driver import Driver
from autoopt.search.study.lifecycle import Search
from autoopt.search.trial.record import State, TrialRecord
from autoopt.strategies.catalog import catalog
from autoopt.strategies.knobs import Choice, Knob, KnobValue
from autoopt.strategies.strategy import Family
from tests.benchmarks.end_to_end import Done, Watching

FILE = Path(__file__).with_suffix(".json")
OFFERED = {
    "full_finetuning": "{learning_rate: [0.0001, 0.0002], epochs: 3, layer_decay: 1.0, head_first: false}",
    "linear_probe": "{learning_rate: 0.001, epochs: 20}",
    "joint_pruning": "{keep: [0.75, 0.5, 0.33]}",
    "layer_drop": "{keep: [0.5, 0.33]}",
    "ffn_pruning": "{keep: 0.5}",
    "distillation": "{temperature: 2.0, weight: 0.7, learning_rate: 0.0002, epochs: 5, texts: 0}",
    "recovery_finetuning": "{learning_rate: 0.0002, epochs: 5}",
    "int8_dynamic": "true",
}
KEPT = ("quality", "latency_p50", "latency_ratio", "size")
DIGITS = 5
VALIDATION = 400
"""Number of validation examples."""


@dataclass
class Recorded:
    """What is known of every recipe of the space. Stages go by the id of the recipe that ends with them."""

    measurements: dict[str, dict[str, tuple[float, float, float]]] = field(default_factory=dict)
    """By recipe and name: value, low and high."""
    beside: dict[str, dict[str, float]] = field(default_factory=dict)
    """By recipe: seconds of what is no stage, screening and scoring."""
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds to compute a stage."""
    restoring: dict[str, float] = field(default_factory=dict)
    """Seconds to load all that is stored of a recipe."""
    rungs: dict[str, dict[str, float]] = field(default_factory=dict)
    """By stage that recovers: the quality at its rungs."""

    def add(self, record: TrialRecord) -> None:
        recipe = record.recipe
        self.measurements[recipe.id] = {
            name: (found.value, found.low, found.high) for name in KEPT if (found := record.measurements[name])
        }
        steps = {step.name for step in recipe.steps}
        self.beside[recipe.id] = {stage.name: stage.seconds for stage in record.stages if stage.name not in steps}
        of_steps = [stage for stage in record.stages if stage.name in steps]
        for end, stage in enumerate(of_steps, start=1):
            prefix = Recipe(recipe.steps[:end])
            if not stage.reused or prefix.id not in self.stages:
                self.stages[prefix.id] = stage.saved if stage.reused else stage.seconds
            if record.rungs and recipe.steps[end - 1].recovers:
                self.rungs[prefix.id] = dict(record.rungs)
        if any(stage.reused for stage in of_steps):
            self.restoring[recipe.id] = sum(stage.seconds for stage in of_steps if stage.reused)

    def measured(self, recipe: Recipe) -> dict[str, Measurement]:
        def one(name: str, value: float, low: float, high: float) -> Measurement:
            direction = Direction.MAXIMIZE if name == "quality" else Direction.MINIMIZE
            return Measurement(
                name=name, value=value, low=low, high=high, unit="", direction=direction, samples=VALIDATION
            )

        return {name: one(name, *values) for name, values in self.measurements[recipe.id].items()}

    def write(self, file: Path) -> None:
        text = json.dumps(vars(self), default=str, indent=None, separators=(",", ":"), sort_keys=True)
        file.write_text(json.dumps(_rounded(json.loads(text)), separators=(",", ":"), sort_keys=True) + "\n", "utf-8")

    @classmethod
    def read(cls, file: Path = FILE) -> Recorded:
        return cls(**json.loads(file.read_text(encoding="utf-8")))


def _rounded(value: Any) -> Any:
    match value:
        case dict():
            return {name: _rounded(each) for name, each in value.items()}
        case list():
            return [_rounded(each) for each in value]
    return float(f"{value:.{DIGITS}g}")


def experiment(*settings: str) -> Experiment:
    """BBC News with the strategies that are recorded and no other."""
    strategies = [f"strategies.{name}={OFFERED.get(name, 'false')}" for name in catalog()]
    return load_experiment("bbc-news", ["study=recorded", *strategies, *settings])


def recipes_of(space: Space) -> list[Recipe]:
    """Every recipe of a space whose knobs are all choices."""
    found: dict[str, Recipe] = {}
    waiting: list[tuple[KnobValue, ...]] = [()]

    class Unanswered(Exception):
        pass

    while waiting:
        answers = waiting.pop()
        coming: Iterator[KnobValue] = iter(answers)

        def suggest(_: str, knob: Knob, answers: Any = answers, coming: Any = coming) -> KnobValue:
            for answer in coming:
                return answer  # type: ignore[no-any-return]
            assert isinstance(knob, Choice), knob
            waiting.extend((*answers, option) for option in reversed(knob.options))
            raise Unanswered

        try:
            recipe = space.propose(suggest)
        except (Unanswered, InvalidRecipe):
            continue
        found[recipe.id] = recipe
    return list(found.values())


def in_order(recipes: Sequence[Recipe]) -> list[Recipe]:
    """Trunk by trunk, and those with the same stages far apart, so that no worker waits for the other."""
    trunks = list(dict.fromkeys(recipe.trunk for recipe in recipes))
    return sorted(
        recipes,
        key=lambda recipe: (
            trunks.index(recipe.trunk),
            any(step.family is Family.ACCELERATION for step in recipe.steps),
            any(step.recovers for step in recipe.steps),
        ),
    )


class Counting(Watching):
    """Prints how many trials have ended."""

    def __init__(self, of: int) -> None:
        super().__init__()
        self.of = of

    def observe(self, record: TrialRecord) -> None:
        super().observe(record)
        if record.state is not State.RUNNING:
            print(
                f"{len(self.ended)} of {self.of}: {record.state}, {record.seconds:.0f} s, {record.recipe}", flush=True
            )

    def say(self, message: str) -> None:
        print(message, flush=True)


def recorded(root: Path) -> Recorded:
    """Run what the root has not seen yet."""
    given = experiment("search.sampler=tpe", "search.trials=100000", "search.timeout=100h", "budget=[]")
    space = space_of(given, open_data(given))
    recipes = in_order(recipes_of(space))
    given = experiment(f"search.trials={len(recipes)}", "search.sampler=tpe", "search.timeout=100h", "budget=[]")
    audience = Counting(len(recipes))
    ended: list[TrialRecord] = []

    def run(driver: Driver, folder: StudyFolder) -> None:
        ray_runner.run(driver, folder, resources=given.resources, watcher=audience)
        ended.extend(driver.records)
        raise Done

    # The whole space in the place of a start design, and nobody stopped at a rung.
    whole = mock.patch.object(studies, "start_design", return_value=recipes)
    to_the_end = mock.patch.object(Driver, "should_continue", return_value=True)
    with whole, to_the_end, contextlib.suppress(Done):
        Search(given, Root(root), space, run, lambda *_: {}, audience, audience).complete()
    found = Recorded()
    for record in sorted(ended, key=lambda record: any(stage.reused for stage in record.stages)):
        if record.state is State.COMPLETE:
            found.add(record)
    missing = [str(recipe) for recipe in recipes if recipe.id not in found.measurements]
    if missing:
        raise SystemExit(f"{len(missing)} recipes have no result, the first is {missing[0]}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, metavar="FOLDER", help="where the trials are kept")
    parser.add_argument("--json", type=Path, default=FILE, metavar="FILE")
    chosen = parser.parse_args()
    found = recorded(chosen.root)
    found.write(chosen.json)
    print(f"{len(found.measurements)} recipes in {chosen.json}, {chosen.json.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
