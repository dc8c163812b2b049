"""In which order the recipes of a search are best tried: recorded trials, replayed in other orders.

    python -m tests.benchmarks.start_design STUDY_FOLDER_ROOT:STUDY ... [--workers N] [--seeds N]

Every complete trial of a finished study, such as those that ``rivals.py --root`` keeps, is looked up in the place of
being run: what each stage took is paid by the first trial that needs it, and others wait for it or load it, as in a
search. The orders of the same recipes:

- ``shipped``: the start design as it is, then what the search proposed;
- ``as run``: the trials by number;
- ``cheapest first``: by the seconds that a trial takes alone;
- ``trunks first``: all that trains a whole model, then all that is derived from it;
- ``random``: the mean over the seeds;
- ``hindsight``: at each step the recipe that gains most per second, which no search can know.

The table: the share of the hypervolume of all trials after 1, 3 and 10 minutes, from 0.9 times the baseline's quality
and its latency on, by the logarithm of the latency: twice as fast is worth as much from 50 to 100 times as from 1 to 2.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autoopt.search.api import open_study
from autoopt.search.choosing.front import hypervolume
from autoopt.search.experiment.opening import open_data, space_of
from autoopt.search.space.recipe import Recipe
from autoopt.search.space.start_design import start_design
from autoopt.search.trial.record import State
from tests.benchmarks.recorded_runs import Recorded

MINUTES = (1.0, 3.0, 10.0)
FLOOR = 0.9
"""Share of the baseline's quality from which a model counts."""
SLOWEST, FASTEST = 1.0, 1e-3
ROW = "{:<12} {:<16} " + "{:>8} " * len(MINUTES)


@dataclass
class Replay:
    """Trials on workers that share what they have computed."""

    table: Recorded
    ready: dict[str, float] = field(default_factory=dict)
    """By recipe that ends with a stored stage, when it is stored."""

    def seconds(self, recipe: Recipe, now: float) -> float:
        """Return how long the trial takes from ``now`` on, its waiting included; its stages are stored then."""
        moment = now
        steps = recipe.steps
        for end in range(1, len(steps) + 1):
            prefix = Recipe(steps[:end], recipe.model)
            kept = steps[end - 1].is_stored()
            if kept and prefix.id in self.ready:
                moment = max(moment, self.ready[prefix.id])
                continue
            moment += self.table.stages.get(prefix.id, 0.0)
            if kept:
                self.ready[prefix.id] = moment
        return moment + sum(self.table.beside[recipe.id].values()) - now


def ended(table: Recorded, order: Sequence[Recipe], workers: int) -> list[tuple[float, Recipe]]:
    """Return when each recipe is done."""
    replay, free, ends = Replay(table), [0.0] * workers, []
    heapq.heapify(free)
    for recipe in order:
        start = heapq.heappop(free)
        moment = start + replay.seconds(recipe, start)
        heapq.heappush(free, moment)
        ends.append((moment, recipe))
    return sorted(ends, key=lambda pair: pair[0])


class Volume:
    """The share of all trials' hypervolume that some of them have."""

    def __init__(self, table: Recorded, base: Recipe) -> None:
        self._table = table
        self._corner = (-FLOOR * table.measurements[base.id]["quality"][0], math.log(SLOWEST))
        self._whole = hypervolume([self._point(each) for each in table.measurements], self._corner)

    def of(self, recipes: Sequence[Recipe]) -> float:
        return hypervolume([self._point(recipe.id) for recipe in recipes], self._corner) / self._whole

    def _point(self, recipe: str) -> tuple[float, float]:
        known = self._table.measurements[recipe]
        return -known["quality"][0], math.log(max(FASTEST, known["latency_ratio"][0]))


def by_hindsight(table: Recorded, volume: Volume, recipes: Sequence[Recipe], base: Recipe) -> list[Recipe]:
    """Return the recipes in the order of what they gain per second that they still cost."""
    chosen, left, replay = [base], [recipe for recipe in recipes if recipe.id != base.id], Replay(table)
    replay.seconds(base, 0.0)
    while left:
        before = volume.of(chosen)

        def worth(recipe: Recipe, before: float = before) -> tuple[float, float]:
            cost = Replay(table, dict.fromkeys(replay.ready, 0.0)).seconds(recipe, 0.0)
            return (volume.of([*chosen, recipe]) - before) / max(cost, 0.1), -cost

        best = max(left, key=worth)
        replay.seconds(best, 0.0)
        left.remove(best)
        chosen.append(best)
    return chosen


def shares(volume: Volume, done: Sequence[tuple[float, Recipe]]) -> list[float]:
    return [volume.of([recipe for moment, recipe in done if moment <= 60 * minutes]) for minutes in MINUTES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", metavar="ROOT:STUDY")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    print(ROW.format("study", "order", *(f"{minutes:g} min" for minutes in MINUTES)))
    for address in options.studies:
        root, _, name = address.rpartition(":")
        study = open_study(name, root=Path(root))
        table, recipes = Recorded(), []
        for record in study.trials:
            if record.state is State.COMPLETE:
                table.add(record)
                recipes.append(record.recipe)
        given = study.view.experiment
        base = recipes[0]
        volume = Volume(table, base)
        designed = [recipe.id for recipe in start_design(space_of(given, open_data(given)))]

        def alone(recipe: Recipe, table: Recorded = table) -> float:
            return Replay(table).seconds(recipe, 0.0)

        def place(recipe: Recipe, designed: Sequence[str] = designed) -> int:
            return designed.index(recipe.id) if recipe.id in designed else len(designed)

        orders: dict[str, Callable[[Recipe], float]] = {
            "shipped": place,
            "as run": lambda _: 0,
            "cheapest first": alone,
            "trunks first": lambda recipe: bool(recipe.leaf),
        }

        def line(order: str, reached: Sequence[float], name: str = name) -> None:
            print(ROW.format(name, order, *(f"{share:.1%}" for share in reached)), flush=True)

        for order, key in orders.items():
            ordered = [base, *sorted(recipes[1:], key=key)]
            line(order, shares(volume, ended(table, ordered, options.workers)))
        drawn = []
        for seed in range(options.seeds):
            ordered = [base, *random.Random(seed).sample(recipes[1:], len(recipes) - 1)]
            drawn.append(shares(volume, ended(table, ordered, options.workers)))
        line("random", [statistics.mean(each) for each in zip(*drawn, strict=True)])
        ordered = by_hindsight(table, volume, recipes, base)
        line("hindsight", shares(volume, ended(table, ordered, options.workers)))


if __name__ == "__main__":
    main()
