"""Acquisition: sample candidate recipes, and select the one with the largest expected gain per second of compute."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from autoopt.search.choosing.gaussian_process import (
    Encoding,
    GaussianProcess,
    Parameters,
    Posterior,
    RidgeModel,
    expected_hypervolume_improvement,
    probability_below,
)
from autoopt.search.space.space import InvalidRecipe, Suggest
from autoopt.strategies.knobs import Choice, Float, Int, Knob, KnobValue

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"
Built = TypeVar("Built")

UNIFORM, MUTATED, CROSSED = 150, 150, 100
"""Number of candidates sampled from the whole space, by mutating a good recipe, and by crossing two good ones."""
KEEP_PROBABILITY = 0.85
"""Probability that a mutation keeps a parameter of its parent."""
MAX_MEAN_CHANGES = 2.0
"""Upper limit on the mean number of resampled parameters per mutation, however many parameters a recipe has."""
MARGIN = 0.1
"""Margin of the hypervolume reference point beyond the worst observed value, as a share of the values' range."""
GP_ALONE_BELOW = 0.65
"""A Gaussian process replaces the ridge model if its squared leave-one-out error is below this share of the other's."""


@dataclass(frozen=True)
class Constraint:
    """An upper limit on a measured value; recipes above it are infeasible."""

    values: Array
    """(observed recipes,)"""
    limit: float
    is_cost: bool = False
    """Whether the value is a cost of serving."""


def candidates_near(
    good: Sequence[Parameters],
    build: Callable[[Suggest], Built],
    rng: random.Random,
    *,
    is_cheap: Callable[[str], bool] | None = None,
) -> Iterator[tuple[Built, Parameters]]:
    """Yield candidates with their parameters: uniform samples, then mutations and crossings of the ``good`` recipes.

    ``build`` requests one parameter after another; candidates for which it raises ``InvalidRecipe`` are skipped.
    ``is_cheap`` tells which parameters leave the training unchanged: a crossing takes those from one good recipe and
    all others from a second one. Without it there are no crossings.
    """
    for number in range(UNIFORM + MUTATED + (CROSSED if is_cheap else 0)):
        if number < UNIFORM or not good:
            sampler = _Sampler({}, rng)
        elif number < UNIFORM + MUTATED or is_cheap is None:
            sampler = _Sampler(rng.choice(good), rng)
        else:
            sampler = _Sampler.crossing(rng.choice(good), rng.choice(good), is_cheap, rng)
        with suppress(InvalidRecipe):
            yield build(sampler.suggest), sampler.parameters


@dataclass
class _Sampler:
    """Samples the parameters of one recipe, keeping most of its parent's."""

    parent: Parameters
    rng: random.Random
    fixed: frozenset[str] = frozenset()
    """Parameters that are never resampled."""
    parameters: dict[str, KnobValue] = field(default_factory=dict)
    """The values suggested so far."""

    def __post_init__(self) -> None:
        self.keep_probability = max(KEEP_PROBABILITY, 1 - MAX_MEAN_CHANGES / len(self.parent)) if self.parent else 0.0

    @classmethod
    def crossing(
        cls, trunk: Parameters, leaf: Parameters, is_cheap: Callable[[str], bool], rng: random.Random
    ) -> _Sampler:
        """Return a sampler that trains as the first parent does and takes its cheap parameters from the second."""
        fixed = frozenset(name for name in trunk if not is_cheap(name))
        cheap = {name: value for name, value in leaf.items() if is_cheap(name)}
        return cls({name: trunk[name] for name in fixed} | cheap, rng, fixed)

    def suggest(self, name: str, knob: Knob) -> KnobValue:
        is_legal = name in self.parent and self.parent[name] in knob
        keeps = is_legal and (name in self.fixed or self.rng.random() < self.keep_probability)
        self.parameters[name] = self.parent[name] if keeps else _sample_uniform(knob, self.rng)
        return self.parameters[name]


def _sample_uniform(knob: Knob, rng: random.Random) -> KnobValue:
    match knob:
        case Choice(options=options):
            return rng.choice(options)
        case Float(low=low, high=high, log=log):
            return low * (high / low) ** rng.random() if log else rng.uniform(low, high)
        case Int(low=low, high=high, step=step):
            return rng.randrange(low, high + 1, step)


def most_promising(
    candidates: Sequence[Parameters],
    observed: Sequence[Parameters],
    values: Array,
    *,
    constraints: Sequence[Constraint] = (),
    running: Sequence[Parameters] = (),
    seconds: Array | None = None,
    costs: Sequence[bool] = (False, False),
    reshapes: Callable[[str], bool] = lambda _: True,
    count: int = 1,
) -> list[int]:
    """Return the indices of the best ``count`` candidates, each chosen as if those before it were running.

    ``values`` is (observed recipes, 2), both minimized; only their ranks matter. ``costs`` tells which of the two are
    costs of serving: these depend only on the parameters for which ``reshapes`` is true. ``running`` recipes count as
    observed at their predicted values, so that parallel workers try different recipes. ``seconds`` is the expected
    compute of each candidate, (candidates,); equal if None.
    """
    from threadpoolctl import threadpool_limits

    # The workers occupy the other cores: BLAS threads that wait for each other take forty times as long.
    with threadpool_limits(1, user_api="blas"):
        return _most_promising(candidates, observed, values, constraints, running, seconds, costs, reshapes, count)


def _most_promising(
    candidates: Sequence[Parameters],
    observed: Sequence[Parameters],
    values: Array,
    constraints: Sequence[Constraint],
    running: Sequence[Parameters],
    seconds: Array | None,
    costs: Sequence[bool],
    reshapes: Callable[[str], bool],
    wanted: int,
) -> list[int]:
    import numpy as np

    values = np.stack([normal_scores(values[:, column]) for column in range(2)], axis=1)
    encoding = Encoding.of([*observed, *running, *candidates])
    train, queries = encoding.rows(observed), encoding.rows([*candidates, *running])
    count = len(candidates)
    every = _View(encoding, train, queries, encoding.distances(train, train), encoding.distances(queries, train))
    views = (every, every.only(reshapes))
    posteriors = [views[is_cost].posterior(values[:, column]) for column, is_cost in enumerate(costs)]
    feasible = np.ones(len(values), dtype=bool)
    probability = np.ones(count)
    for constraint in constraints:
        feasible &= constraint.values <= constraint.limit
        posterior = views[constraint.is_cost].gp_posterior(constraint.values, count)
        probability *= probability_below(constraint.limit, posterior)
    means = np.stack([posterior.mean for posterior in posteriors], axis=1)
    first, second = (Posterior(posterior.mean[:count], posterior.std[:count]) for posterior in posteriors)
    pending, chosen = means[count:], list[int]()
    while len(chosen) < min(wanted, count):
        if feasible.any():
            front = non_dominated(np.concatenate([values[feasible], pending]))
            score = expected_hypervolume_improvement(front, reference_point(values), first, second) * probability
        else:
            score = probability.copy()  # Find a feasible recipe first.
        score = score if seconds is None else score / seconds
        score[chosen] = -np.inf
        chosen.append(int(np.argmax(score)))
        pending = np.concatenate([pending, means[chosen[-1:]]])
    return chosen


def reference_point(values: Array) -> Array:
    """Return the hypervolume reference point of (rows, 2) minimized values, ``MARGIN`` beyond the worst ones."""
    import numpy as np

    worst = values.max(0)
    point: Array = worst + MARGIN * np.maximum(worst - values.min(0), 1e-12)
    return point


@dataclass(frozen=True)
class _View:
    """Training recipes and queries, encoded by some of their parameters."""

    encoding: Encoding
    train: Array
    """Rows of the observed recipes."""
    queries: Array
    """Rows of the candidates, then of the running recipes."""
    train_distances: Array
    """(parameters, observed, observed)"""
    query_distances: Array
    """(parameters, queries, observed)"""

    def only(self, selects: Callable[[str], bool]) -> _View:
        encoding, columns = self.encoding.only(selects)
        return _View(
            encoding,
            self.train[:, columns],
            self.queries[:, columns],
            self.train_distances[columns],
            self.query_distances[columns],
        )

    def posterior(self, values: Array) -> Posterior:
        """Return the posterior of all queries: a ridge model plus a Gaussian process of its residuals.

        The Gaussian process alone is used if its leave-one-out error is much smaller.
        """
        features = self.encoding.features(self.train)
        gp, ridge = GaussianProcess(self.train_distances, values), RidgeModel(features, values)
        if (gp.loo_residuals**2).sum() < GP_ALONE_BELOW * (ridge.loo_residuals**2).sum():
            return gp.predict(self.query_distances)
        residuals = GaussianProcess(self.train_distances, values - ridge.predict(features))
        rest = residuals.predict(self.query_distances)
        return Posterior(ridge.predict(self.encoding.features(self.queries)) + rest.mean, rest.std)

    def gp_posterior(self, values: Array, count: int) -> Posterior:
        """Return the posterior of the first ``count`` queries by a Gaussian process alone."""
        return GaussianProcess(self.train_distances, values).predict(self.query_distances[:, :count])


def normal_scores(values: Array) -> Array:
    """Replace values by the normal quantiles of their ranks (Salinas et al. 2020), which tames outliers.

    Without it a few recipes that fail altogether stretch the scale until the best ones look alike.
    """
    from scipy.stats import norm, rankdata

    scores: Array = norm.ppf((rankdata(values) - 0.5) / len(values))
    return scores


def non_dominated(values: Array) -> Array:
    """Return the distinct non-dominated rows of (rows, 2) minimized values, ordered by the first column."""
    import numpy as np

    ordered = values[np.lexsort((values[:, 1], values[:, 0]))]
    lowest = np.minimum.accumulate(np.concatenate([[np.inf], ordered[:-1, 1]]))
    front: Array = ordered[ordered[:, 1] < lowest]
    return front
