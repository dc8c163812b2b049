"""Optuna's samplers, and our knobs as its distributions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from autoopt.strategies.knobs import Choice, Float, Int, Knob, KnobValue

if TYPE_CHECKING:
    import optuna

STARTUP_TRIALS = 10
"""Number of random trials before a sampler uses their results."""
POPULATION = 20
"""Number of trials in a generation of NSGA-II."""


def sampler_of(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """Return Optuna's sampler of this name; TPE for ``auto``, for when our own proposer has no proposal."""
    from optuna import exceptions, samplers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.ExperimentalWarning)
        match name:
            case "random":
                return samplers.RandomSampler(seed=seed)
            case "nsga2":
                return samplers.NSGAIISampler(seed=seed, population_size=POPULATION)
            case "gp":
                return samplers.GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS, warn_independent_sampling=False)
            case _:
                return samplers.TPESampler(multivariate=True, group=True, seed=seed, n_startup_trials=STARTUP_TRIALS)


def suggester(trial: optuna.Trial) -> Callable[[str, Knob], KnobValue]:
    """Return a function that asks the trial for the value of a parameter."""

    def suggest(name: str, knob: Knob) -> KnobValue:
        match knob:
            case Choice(options=options):
                return trial.suggest_categorical(name, options)  # type: ignore[return-value]
            case Int(low=low, high=high, step=step, log=log):
                return trial.suggest_int(name, low, high, step=step, log=log)
            case Float(low=low, high=high, log=log):
                return trial.suggest_float(name, low, high, log=log)

    return suggest


@lru_cache(10_000)
def distribution(knob: Knob) -> optuna.distributions.BaseDistribution:
    """Convert a knob to Optuna's distribution; the same object for equal knobs, which thousands of trials share."""
    from optuna import distributions

    match knob:
        case Choice(options=options):
            return distributions.CategoricalDistribution(options)
        case Int(low=low, high=high, step=step, log=log):
            return distributions.IntDistribution(low, high, log=log, step=step)
        case Float(low=low, high=high, log=log):
            return distributions.FloatDistribution(low, high, log=log)
