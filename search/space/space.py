"""The space of recipes: which strategies are offered, which parameters they bring, which recipes make sense."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from importlib.util import find_spec
from typing import Any, TypeAlias

from autoopt.search.space.recipe import Recipe
from autoopt.search.space.strategy_choice import StrategyChoice
from autoopt.strategies.catalog import catalog
from autoopt.strategies.knobs import Choice, Int, Knob, KnobValue
from autoopt.strategies.strategy import Family, Strategy

NONE = "none"
RECIPE_NEEDS = frozenset({"teacher", "cut", "layers"})
"""Needs that depend on the rest of the recipe; all others depend on the study."""

_WITHOUT = "_without_"
"""Separates a group's parameter from the names of unusable strategies."""

Suggest: TypeAlias = Callable[[str, Knob], KnobValue]


class InvalidRecipe(ValueError):
    """A combination of strategies that is no recipe, with the reason."""


@dataclass(frozen=True)
class Group:
    """Strategies of which a recipe has one or none, chosen by one parameter."""

    parameter: str
    offers: tuple[StrategyChoice, ...]

    @cached_property
    def question(self) -> tuple[str, Choice]:
        """What is asked where all of them are usable."""
        return _question(self.parameter, self.offers, self.offers)


@dataclass(frozen=True)
class Space:
    """All recipes that a study may try."""

    offers: tuple[StrategyChoice, ...]
    withheld: Mapping[str, str] = field(default_factory=dict)
    """Strategies that are not offered, each with the reason."""
    layers: int | None = None
    """How many the base model has; None where that does not matter."""

    def offer(self, name: str) -> StrategyChoice | None:
        return next((offer for offer in self.offers if offer.strategy.name == name), None)

    def of_family(self, family: Family) -> tuple[StrategyChoice, ...]:
        return tuple(offer for offer in self.offers if offer.strategy.family is family)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """In the order in which they are chosen: what a later one needs is known by then."""
        recovering = tuple(offer for offer in self.offers if offer.strategy.recovers)
        found = [Group(family.value, self.of_family(family)) for family in (Family.UNSUPERVISED, Family.ADAPTATION)]
        found += [
            Group(offer.strategy.name, (offer,))
            for offer in self.offers
            if offer.strategy.family in (Family.AUGMENTATION, Family.COMPRESSION, Family.ACCELERATION)
            and not offer.strategy.recovers
        ]
        found.append(Group("recovery", recovering))
        return tuple(group for group in found if group.offers)

    def propose(self, suggest: Suggest) -> Recipe:
        """Draw a recipe by calling ``suggest(parameter, knob)`` for one value after another.

        Parameters that are inactive given the earlier choices are not requested. Raises ``InvalidRecipe`` if the
        choices do not form a valid recipe.
        """
        chosen: list[Strategy] = []
        excluded: set[str] = set()
        for group in self.groups:
            usable = [
                offer
                for offer in group.offers
                if offer.strategy.name not in excluded
                and (offer.strategy.needs.isdisjoint(RECIPE_NEEDS) or self._has_its_needs(offer.strategy, chosen))
            ]
            if not usable:
                continue
            whole = len(usable) == len(group.offers)
            parameter, options = group.question if whole else _question(group.parameter, group.offers, usable)
            answer = suggest(parameter, options)
            picked = next((offer for offer in usable if answer is True or offer.strategy.name == answer), None)
            if picked:
                name = picked.strategy.name
                values = {knob: suggest(f"{name}.{knob}", where) for knob, where in picked.searched.items()}
                chosen.append(picked.build(values))
                excluded |= self._clashes[name]
        recipe = Recipe.of(chosen)
        check(recipe)
        return recipe

    def parameters(
        self, recipe: Recipe, *, seen: Callable[[str, Knob], object] = lambda *_: None
    ) -> dict[str, KnobValue]:
        """The parameters that make ``propose`` return this recipe; raises ``InvalidRecipe`` where the space lacks it.

        ``seen`` is called with each of them and where it is searched.
        """
        steps = {step.name: step for step in recipe.steps}
        found: dict[str, KnobValue] = {}

        def answer(name: str, knob: Knob) -> KnobValue:
            strategy, _, attribute = name.rpartition(".")
            if attribute and strategy:
                value: KnobValue = getattr(steps[strategy], attribute)
            elif isinstance(knob, Choice) and NONE in knob.options:
                value = next((option for option in knob.options if option in steps), NONE)
            else:
                value = name in steps
            if value not in knob:
                raise InvalidRecipe(f"{name} = {value!r} is not in the space, which has {knob}")
            seen(name, knob)
            found[name] = value
            return value

        if self.propose(answer).id != recipe.id:
            raise InvalidRecipe(f"the space does not hold the recipe {recipe}")
        return found

    def size(self) -> float:
        """How many recipes there are at most; infinite where a knob is a real number."""
        total = 1.0
        for group in self.groups:
            total *= 1 + sum(math.prod(map(_options, offer.searched.values())) for offer in group.offers)
        return total

    @cached_property
    def _clashes(self) -> Mapping[str, frozenset[str]]:
        """For each strategy those that it excludes or that exclude it."""
        offered = [offer.strategy for offer in self.offers]
        return {
            one.name: one.excludes | {other.name for other in offered if one.name in other.excludes} for one in offered
        }

    def _has_its_needs(self, strategy: type[Strategy], chosen: list[Strategy]) -> bool:
        """True where it has what it needs of the strategies chosen so far."""
        if "cut" in strategy.needs and not any(step.cuts for step in chosen):
            return False
        if "layers" in strategy.needs and self.layers is not None:
            left = reduce(lambda layers, step: step.layers_left(layers), chosen, self.layers)
            if left < 2:
                return False
        return "teacher" not in strategy.needs or any(step.learns for step in chosen)

    def to_json(self) -> dict[str, Any]:
        """What must stay the same for a study to be resumed."""
        return {
            offer.strategy.name: {
                "knobs": {name: repr(knob) for name, knob in offer.searched.items()},
                "settings": dict(offer.fixed),
            }
            for offer in self.offers
        }


def check(recipe: Recipe) -> None:
    """Raise ``InvalidRecipe`` if no step learns the task, or if two strategies exclude each other."""
    names = {step.name for step in recipe.steps}
    for step in recipe.steps:
        if clash := type(step).excludes & names:
            raise InvalidRecipe(f"{step.name} excludes {', '.join(sorted(clash))}")
    if not any(step.learns or step.recovers for step in recipe.steps):
        raise InvalidRecipe("nothing in it learns the task: it has no adaptation and no recovery training")


def build_space(choices: Mapping[str, StrategyChoice], facts: frozenset[str], layers: int | None = None) -> Space:
    """Make the space: the chosen strategies whose needs of the study are among ``facts``.

    ``layers`` of the base model decide where a strategy would find too few to do anything.
    """
    offers, withheld = [], {}
    for name, strategy in catalog().items():
        missing = strategy.needs - RECIPE_NEEDS - facts
        unset = sorted(
            setting for setting in strategy.requires if name in choices and not choices[name].fixed.get(setting)
        )
        absent = sorted(package for package in strategy.packages if find_spec(package) is None)
        if name not in choices:
            withheld[name] = "switched off in the experiment file"
        elif missing:
            withheld[name] = f"it needs {' and '.join(sorted(missing))}"
        elif unset:
            given = ", ".join(f"{setting}: ..." for setting in unset)
            withheld[name] = f"it needs to be told {' and '.join(unset)}: {name}: {{{given}}} under strategies"
        elif absent:
            withheld[name] = f"it needs the packages {', '.join(absent)}: pip install {' '.join(absent)}"
        else:
            offers.append(choices[name])
    if not any(offer.strategy.cuts for offer in offers):
        useless = [offer.strategy.name for offer in offers if "cut" in offer.strategy.needs]
        withheld |= dict.fromkeys(useless, "it trains after a cut, and no strategy that cuts is offered")
        offers = [offer for offer in offers if offer.strategy.name not in useless]
    return Space(tuple(offers), withheld, layers)


def strategy_of(parameter: str) -> str:
    """Return the strategy, or the group of strategies, that a parameter of ``Space.parameters`` belongs to."""
    return parameter.partition(".")[0].partition(_WITHOUT)[0]


def _question(parameter: str, offers: Sequence[StrategyChoice], usable: Sequence[StrategyChoice]) -> tuple[str, Choice]:
    """What is asked to choose among the usable ones of those offered: the parameter's name and its options."""
    names = [offer.strategy.name for offer in usable]
    # The set of options is part of the name: in Optuna the options of a categorical parameter can never change.
    name = _WITHOUT.join([parameter, *(offer.strategy.name for offer in offers if offer not in usable)])
    return name, Choice(False, True) if names == [name] else Choice(NONE, *names)


def _options(knob: Knob) -> float:
    match knob:
        case Choice(options=options):
            return len(options)
        case Int():
            return (knob.high - knob.low) // (1 if knob.log else knob.step) + 1
        case _:
            return math.inf
