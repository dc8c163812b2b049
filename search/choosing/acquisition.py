"""Which recipe to try next: the one that is expected to add most to the front for what it costs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from autoopt.search.choosing.gaussian_process import (
    Encoding,
    Parameters,
    Posterior,
    Process,
    RidgeModel,
    chance_below,
    expected_improvement,
)
from autoopt.search.space.space import InvalidRecipe, Suggest
from autoopt.strategies.knobs import Choice, Float, Int, Knob, KnobValue

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"
Drawn = TypeVar("Drawn")

DRAWN, CHANGED, CROSSED = 150, 150, 100
"""Candidates that are drawn from the whole space, changed from what is good already, and made of two that are good."""
KEPT = 0.85
"""How likely a parameter stays as it is where a recipe is changed."""
CHANGES = 2.0
"""So many parameters at most are drawn anew in the mean, however many a recipe has."""
MARGIN = 0.1
"""How far behind the worst value the corner lies that closes the front, as a share of the values' range."""
FAR_LESS = 0.65
"""A process alone is believed where its squared errors, each value left out in turn, are below so much of a sum's."""


@dataclass(frozen=True)
class Constraint:
    """A value that has to stay below a limit, as it was observed; what is over it is not feasible."""

    values: Array
    """(observed recipes,)"""
    limit: float
    is_cost: bool = False
    """Whether it is what serving costs."""


def candidates_near(
    good: Sequence[Parameters],
    build: Callable[[Suggest], Drawn],
    chance: random.Random,
    *,
    is_cheap: Callable[[str], bool] | None = None,
) -> Iterator[tuple[Drawn, Parameters]]:
    """What may be tried next, with its parameters: some of the whole space, some like what is ``good``.

    ``is_cheap`` says which parameters cost little to change, since what is trained stays as it is: some candidates are
    then trained as one good recipe is and go on as another one does, or nearly so. ``build`` asks for one parameter
    after another; what it raises ``InvalidRecipe`` for is left out.
    """
    for number in range(DRAWN + CHANGED + (CROSSED if is_cheap else 0)):
        if number < DRAWN or not good:
            draw = _Draw({}, chance)
        elif number < DRAWN + CHANGED or is_cheap is None:
            draw = _Draw(chance.choice(good), chance)
        else:
            draw = _Draw.crossed(chance.choice(good), chance.choice(good), is_cheap, chance)
        with suppress(InvalidRecipe):
            yield build(draw.suggest), draw.chosen


@dataclass
class _Draw:
    """Draws the parameters of one recipe, most of them as another one has them."""

    like: Parameters
    chance: random.Random
    fixed: frozenset[str] = frozenset()
    """Of these none is drawn anew."""
    chosen: dict[str, KnobValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kept = max(KEPT, 1 - CHANGES / len(self.like)) if self.like else 0.0

    @classmethod
    def crossed(
        cls, trained: Parameters, other: Parameters, is_cheap: Callable[[str], bool], chance: random.Random
    ) -> _Draw:
        """What is trained as the one is, and goes on as the other does."""
        fixed = frozenset(name for name in trained if not is_cheap(name))
        after = {name: value for name, value in other.items() if is_cheap(name)}
        return cls({name: trained[name] for name in fixed} | after, chance, fixed)

    def suggest(self, name: str, knob: Knob) -> KnobValue:
        fits = name in self.like and self.like[name] in knob
        stays = fits and (name in self.fixed or self.chance.random() < self.kept)
        self.chosen[name] = self.like[name] if stays else _anywhere(knob, self.chance)
        return self.chosen[name]


def _anywhere(knob: Knob, chance: random.Random) -> KnobValue:
    match knob:
        case Choice(options=options):
            return chance.choice(options)
        case Float(low=low, high=high, log=log):
            return low * (high / low) ** chance.random() if log else chance.uniform(low, high)
        case Int(low=low, high=high, step=step):
            return chance.randrange(low, high + 1, step)


def most_promising(
    candidates: Sequence[Parameters],
    observed: Sequence[Parameters],
    values: Array,
    *,
    limited: Sequence[Constraint] = (),
    running: Sequence[Parameters] = (),
    seconds: Array | None = None,
    costs: Sequence[bool] = (False, False),
    reshapes: Callable[[str], bool] = lambda _: True,
) -> int:
    """The place of the best candidate.

    ``values`` is (observed recipes, 2), both minimized; only their order counts. ``costs`` says which of the two are
    what serving costs: that depends on nothing but the parameters which ``reshapes`` is true for. What is ``running``
    counts as if it had come out as expected, so that several workers do not try the same. ``seconds`` is what each
    candidate is expected to take; all the same where it is not given.
    """
    from threadpoolctl import threadpool_limits

    # Workers have the other processors: threads that wait for each other would take forty times as long.
    with threadpool_limits(1, user_api="blas"):
        return _most_promising(candidates, observed, values, limited, running, seconds, costs, reshapes)


def _most_promising(
    candidates: Sequence[Parameters],
    observed: Sequence[Parameters],
    values: Array,
    limited: Sequence[Constraint],
    running: Sequence[Parameters],
    seconds: Array | None,
    costs: Sequence[bool],
    reshapes: Callable[[str], bool],
) -> int:
    import numpy as np

    values = np.stack([normal_scores(values[:, column]) for column in range(2)], axis=1)
    encoding = Encoding.of([*observed, *running, *candidates])
    seen = encoding.rows(observed)
    count = len(candidates)
    asked = encoding.rows([*candidates, *running])
    whole = _View(encoding, seen, asked, encoding.apart(seen, seen), encoding.apart(asked, seen))
    views = (whole, whole.only(reshapes))
    beliefs = [views[is_cost].believed(values[:, column]) for column, is_cost in enumerate(costs)]
    feasible = np.ones(len(values), dtype=bool)
    chance = np.ones(count)
    for one in limited:
        feasible &= one.values <= one.limit
        chance *= chance_below(one.limit, views[one.is_cost].alone(one.values, count))
    expected = np.stack([belief.mean[count:] for belief in beliefs], axis=1)
    reached = np.concatenate([values[feasible], expected]) if feasible.any() else expected
    low, high = values.min(0), values.max(0)
    corner = high + MARGIN * np.maximum(high - low, 1e-12)
    front = non_dominated(reached) if len(reached) else reached
    first, second = (_part(belief, slice(0, count)) for belief in beliefs)
    worth = expected_improvement(front, corner, first, second) * chance
    if not feasible.any():
        worth = chance  # First of all something that may be used.
    return int(np.argmax(worth if seconds is None else worth / seconds))


@dataclass(frozen=True)
class _View:
    """The recipes by some of their parameters."""

    encoding: Encoding
    seen: Array
    """The rows of those observed."""
    asked: Array
    """The rows of the candidates, then of what runs."""
    among: Array
    """How far those observed are apart."""
    apart: Array
    """How far what is asked for is apart from them."""

    def only(self, kept: Callable[[str], bool]) -> _View:
        encoding, columns = self.encoding.only(kept)
        return _View(encoding, self.seen[:, columns], self.asked[:, columns], self.among[columns], self.apart[columns])

    def believed(self, told: Array) -> Posterior:
        """By a process for what a sum of the choices' worth leaves, or by one alone where a sum misses far more."""
        features = self.encoding.features(self.seen)
        alone, parts = Process(self.among, told), RidgeModel(features, told)
        if (alone.loo_residuals**2).sum() < FAR_LESS * (parts.loo_residuals**2).sum():
            return alone.at(self.apart)
        rest = Process(self.among, told - parts.at(features)).at(self.apart)
        return Posterior(parts.at(self.encoding.features(self.asked)) + rest.mean, rest.deviation)

    def alone(self, told: Array, count: int) -> Posterior:
        """By a process alone, of so many candidates."""
        return Process(self.among, told).at(self.apart[:, :count])


def normal_scores(values: Array) -> Array:
    """What a normal distribution has in the places of the ranks (Salinas et al. 2020): outliers lose their weight.

    A few recipes that fail altogether would otherwise stretch the scale until the best ones look alike.
    """
    from scipy.stats import norm, rankdata

    found: Array = norm.ppf((rankdata(values) - 0.5) / len(values))
    return found


def _part(belief: Posterior, places: slice) -> Posterior:
    return Posterior(belief.mean[places], belief.deviation[places])


def non_dominated(values: Array) -> Array:
    """The rows that no other one beats in both, without repetitions, by the first value; (rows, 2), minimized."""
    import numpy as np

    ordered = values[np.lexsort((values[:, 1], values[:, 0]))]
    lowest = np.minimum.accumulate(np.concatenate([[np.inf], ordered[:-1, 1]]))
    found: Array = ordered[ordered[:, 1] < lowest]
    return found
