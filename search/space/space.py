"""The space of recipes: base models, strategies on offer, their parameters, and which combinations are valid."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, reduce
from importlib.util import find_spec
from typing import Any, TypeAlias

from autoopt.search.space.base_model import BaseModel, relative_sizes
from autoopt.search.space.recipe import MODEL, Recipe
from autoopt.search.space.strategy_choice import SWITCHED_OFF, StrategyChoice, knob_json
from autoopt.strategies.catalog import catalog
from autoopt.strategies.knobs import Choice, Int, Knob, KnobValue
from autoopt.strategies.model_needs import MODEL_NEEDS
from autoopt.strategies.strategy import Family, Strategy

NONE = "none"
STUDENT = "student"
"""Parameter that selects what replaces the network."""
RECIPE_NEEDS = frozenset({"teacher", "cut", "layers"})
"""Needs that depend on the other strategies of a recipe; all others depend on the study."""

PROBED_NEEDS = MODEL_NEEDS.keys() - {"bidirectional", "causal"}
"""Needs that only the base model itself can tell; a model that lacks one has it in ``BaseModel.withheld``."""

NEEDS_IN_WORDS = {
    **MODEL_NEEDS,
    "classes": "one class for each example",
    "cpu": "a processor as the target",
    "head": "a task with a head of its own",
    "imbalanced": "classes of which the largest has twice as many examples as the smallest, or more",
    "labels": "labelled examples",
    "one pass": "a task that is answered in one pass",
    "several bases": "several base models of different sizes",
    "single": "single texts instead of pairs",
    "spans": "answers that are parts of a text",
    "tags": "a tag for each word",
    "text": "texts whose words may change while the answer stays the same",
    "unanswerable": "questions without an answer",
    "untied embeddings": "word embeddings that are not the output matrix too",
    "unlabeled": "texts without labels",
    "writes": "a task of writing text",
    "whole": "one answer for each text or pair of texts",
}
EFFECTS_KEPT = 20_000
"""Number of recipes whose effect is remembered."""
_WITHOUT = "_without_"
"""Separates a group's parameter from the names of unusable strategies."""

Suggest: TypeAlias = Callable[[str, Knob], KnobValue]


class InvalidRecipe(ValueError):
    """Raised for a combination of strategies that is not a valid recipe."""


@dataclass(frozen=True)
class Group:
    """Strategies of which a recipe has at most one, selected by one parameter."""

    parameter: str
    offers: tuple[StrategyChoice, ...]

    @cached_property
    def full_choice(self) -> tuple[str, Choice]:
        """The parameter and its options if all strategies of the group are usable."""
        return _group_choice(self.parameter, self.offers, self.offers)


@dataclass(frozen=True)
class Space:
    """The recipes that a study may try."""

    offers: tuple[StrategyChoice, ...]
    withheld: Mapping[str, str] = field(default_factory=dict)
    """Reasons by the name of each strategy that is not offered."""
    models: tuple[BaseModel, ...] = (BaseModel(),)
    """Base models, the baseline's first."""

    @cached_property
    def sizes(self) -> Mapping[str, float]:
        """Work of a forward pass of each base model, relative to the first, by ``Recipe.model``."""
        return relative_sizes(self.models)

    def offer(self, name: str) -> StrategyChoice | None:
        return next((offer for offer in self.offers if offer.strategy.name == name), None)

    def of_family(self, family: Family) -> tuple[StrategyChoice, ...]:
        return tuple(offer for offer in self.offers if offer.strategy.family is family)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Groups in the order of selection, so that the needs of a strategy are decided before it is."""
        recovering = tuple(offer for offer in self.offers if offer.strategy.recovers)
        adaptations = self.of_family(Family.ADAPTATION)
        groups = [
            Group(Family.UNSUPERVISED.value, self.of_family(Family.UNSUPERVISED)),
            Group(Family.ADAPTATION.value, tuple(offer for offer in adaptations if offer.strategy.learns)),
        ]
        groups += [Group(offer.strategy.name, (offer,)) for offer in adaptations if not offer.strategy.learns]
        groups += [Group(offer.strategy.name, (offer,)) for offer in self.of_family(Family.AUGMENTATION)]
        groups.append(Group(STUDENT, tuple(offer for offer in self.offers if offer.strategy.replaces)))
        groups += [
            Group(offer.strategy.name, (offer,))
            for offer in self.offers
            if offer.strategy.family in (Family.COMPRESSION, Family.ACCELERATION)
            and not (offer.strategy.recovers or offer.strategy.replaces)
        ]
        groups.append(Group("recovery", recovering))
        return tuple(group for group in groups if group.offers)

    def propose(self, suggest: Suggest) -> Recipe:
        """Draw a recipe by calling ``suggest(parameter, knob)`` for one value after another.

        Parameters that are inactive given the earlier choices are not requested. Raises ``InvalidRecipe`` if the
        choices do not form a valid recipe.
        """
        model = self._propose_model(suggest)
        steps: list[Strategy] = []
        excluded = set(model.withheld)
        if model is not self.models[0]:  # Without a trunk it would be the same recipe again.
            excluded |= {offer.strategy.name for offer in self.offers if _has_no_trunk(offer.strategy)}
        for group in self.groups:
            usable = [
                offer
                for offer in group.offers
                if offer.strategy.name not in excluded
                and _is_apart(offer.strategy, steps)
                and (offer.strategy.needs.isdisjoint(RECIPE_NEEDS) or _meets_needs(offer.strategy, steps, model.layers))
            ]
            if not usable:
                continue
            is_full = len(usable) == len(group.offers)
            parameter, choice = group.full_choice if is_full else _group_choice(group.parameter, group.offers, usable)
            selected = suggest(parameter, choice)
            offer = next((offer for offer in usable if selected is True or offer.strategy.name == selected), None)
            if offer:
                name = offer.strategy.name
                values = {field: suggest(parameter, knob) for field, (parameter, knob) in offer.parameters.items()}
                steps.append(offer.build(values))
                excluded |= self._exclusions[name]
        recipe = Recipe.of(steps, model="" if model is self.models[0] else model.label)
        check(recipe)
        return recipe

    def _propose_model(self, suggest: Suggest) -> BaseModel:
        if len(self.models) == 1:
            return self.models[0]
        label = suggest(MODEL, self._model_choice)
        return next(model for model in self.models if model.label == label)

    @cached_property
    def _model_choice(self) -> Choice:
        return Choice(*(model.label for model in self.models))

    def parameters(
        self, recipe: Recipe, *, visit: Callable[[str, Knob], object] = lambda *_: None
    ) -> dict[str, KnobValue]:
        """Return the parameters with which ``propose`` returns this recipe.

        ``visit`` is called with each parameter and its knob. Raises ``InvalidRecipe`` if the space does not contain it.
        """
        steps = {step.name: step for step in recipe.steps}
        parameters: dict[str, KnobValue] = {}

        def look_up(name: str, knob: Knob) -> KnobValue:
            strategy, _, field = name.rpartition(".")
            if name == MODEL:
                value: KnobValue = recipe.model or self.models[0].label
            elif field and strategy:
                value = getattr(steps[strategy], field)
            elif isinstance(knob, Choice) and NONE in knob.options:
                value = next((option for option in knob.options if option in steps), NONE)
            else:
                value = name in steps
            if value not in knob:
                raise InvalidRecipe(f"{name} = {value!r} is not in the space, which has {knob}")
            visit(name, knob)
            parameters[name] = value
            return value

        if self.propose(look_up).id != recipe.id:
            raise InvalidRecipe(f"the space does not contain the recipe {recipe}")
        return parameters

    def contains(self, recipe: Recipe) -> bool:
        """Return whether ``propose`` can return this recipe."""
        try:
            self.parameters(recipe)
        except InvalidRecipe:
            return False
        return True

    @cached_property
    def effect(self) -> Callable[[Recipe], str]:
        """Return an id of what a recipe does: two with the same one have the same result under other names."""
        return lru_cache(EFFECTS_KEPT)(self._find_effect)

    def _find_effect(self, recipe: Recipe) -> str:
        label = recipe.model or self.models[0].label
        situation = next((model.situation for model in self.models if model.label == label), self.models[0].situation)
        effects = (step.effect(situation) for step in recipe.steps)
        return replace(recipe, steps=tuple(step for step in effects if step is not None)).id

    def size(self) -> float:
        """Return an upper bound on the number of recipes; infinite if a knob is a real number."""
        total = float(len(self.models))
        for group in self.groups:
            total *= 1 + sum(math.prod(map(_options, offer.searched.values())) for offer in group.offers)
        return total

    @cached_property
    def _exclusions(self) -> Mapping[str, frozenset[str]]:
        """By strategy, those that it excludes or that exclude it."""
        strategies = [offer.strategy for offer in self.offers]
        return {
            strategy.name: strategy.excludes | {other.name for other in strategies if strategy.name in other.excludes}
            for strategy in strategies
        }

    def to_json(self) -> dict[str, Any]:
        """Return what must stay the same for a study to be resumed."""
        return {
            offer.strategy.name: {
                "knobs": {name: knob_json(knob) for name, knob in offer.searched.items()},
                "settings": dict(offer.fixed),
            }
            for offer in self.offers
        } | self._models_json()

    def _models_json(self) -> dict[str, Any]:
        """Return the base models and what is not offered for each; empty if there is one only."""
        models = {model.label: {"withheld": sorted(model.withheld)} for model in self.models}
        return {MODEL: models} if len(models) > 1 else {}

    def is_stored_as(self, stored: Mapping[str, Any]) -> bool:
        """Return whether ``to_json``, now or in versions that wrote a knob as Python does, returned ``stored``."""
        written = {
            offer.strategy.name: {
                "knobs": {name: repr(knob) for name, knob in offer.searched.items()},
                "settings": dict(offer.fixed),
            }
            for offer in self.offers
        }
        return stored in (self.to_json(), written | self._models_json())


def check(recipe: Recipe) -> None:
    """Raise ``InvalidRecipe`` if no step learns the task, or if two strategies exclude each other."""
    names = {step.name for step in recipe.steps}
    for step in recipe.steps:
        if excluded := type(step).excludes & names:
            raise InvalidRecipe(f"{step.name} excludes {', '.join(sorted(excluded))}")
        if step.replaces and not _is_apart(type(step), [other for other in recipe.steps if other is not step]):
            raise InvalidRecipe(f"{step.name} is no network, which another step of the recipe needs or trains")
    if not any(step.learns or step.recovers for step in recipe.steps):
        raise InvalidRecipe("no step learns the task: add an adaptation or a recovery training")


def _has_no_trunk(strategy: type[Strategy]) -> bool:
    return strategy.replaces and strategy.learns


def _is_apart(strategy: type[Strategy], others: Sequence[Strategy]) -> bool:
    """Whether the strategy and the other steps of a recipe are not about a network and a student in its place."""
    if strategy.replaces:
        families = {Family.COMPRESSION, Family.ACCELERATION}
        if strategy.learns:
            families |= {Family.UNSUPERVISED, Family.ADAPTATION}
        return not any(other.family in families for other in others)
    if strategy.family not in (Family.COMPRESSION, Family.ACCELERATION):
        return True
    return not any(other.replaces for other in others)


def _meets_needs(strategy: type[Strategy], steps: list[Strategy], layers: int | None) -> bool:
    """Whether the steps selected so far meet the strategy's needs, on a base model of this many layers."""
    if "cut" in strategy.needs and not any(step.cuts for step in steps):
        return False
    if "layers" in strategy.needs and layers is not None:
        layers_left = reduce(lambda left, step: step.layers_left(left), steps, layers)
        if layers_left < 2:
            return False
    return "teacher" not in strategy.needs or any(step.learns for step in steps)


def build_space(
    choices: Mapping[str, StrategyChoice], facts: frozenset[str], models: Sequence[BaseModel] = (BaseModel(),)
) -> Space:
    """Build the space of the chosen strategies whose needs of the study are among ``facts``.

    ``models`` are the base models, the baseline's first. Strategies that need more layers than a recipe leaves of its
    model are not used in it.
    """
    offers, withheld = [], {}
    for name, strategy in catalog().items():
        missing = strategy.needs - RECIPE_NEEDS - PROBED_NEEDS - facts
        unset = sorted(
            setting for setting in strategy.requires if name in choices and not choices[name].fixed.get(setting)
        )
        absent = sorted(package for package in strategy.packages if find_spec(package) is None)
        if name not in choices:
            withheld[name] = SWITCHED_OFF
        elif missing:
            withheld[name] = f"it needs {' and '.join(NEEDS_IN_WORDS.get(need, need) for need in sorted(missing))}"
        elif unset:
            example = ", ".join(f"{setting}: ..." for setting in unset)
            withheld[name] = f"it needs the setting {' and '.join(unset)}: {name}: {{{example}}} under strategies"
        elif absent:
            withheld[name] = f"it needs the packages {', '.join(absent)}: pip install {' '.join(absent)}"
        else:
            offers.append(choices[name])
    for name in set.intersection(*(set(model.withheld) for model in models)):  # Those that fail on all models.
        if any(offer.strategy.name == name for offer in offers):
            withheld[name] = models[0].withheld[name]
    offers = [offer for offer in offers if offer.strategy.name not in withheld]
    models = [
        replace(model, withheld={name: why for name, why in model.withheld.items() if name not in withheld})
        for model in models
    ]
    if not any(offer.strategy.cuts for offer in offers):
        unusable = [offer.strategy.name for offer in offers if "cut" in offer.strategy.needs]
        withheld |= dict.fromkeys(unusable, "it trains after a cut, and no strategy that cuts is offered")
        offers = [offer for offer in offers if offer.strategy.name not in unusable]
    return Space(tuple(offers), withheld, tuple(models))


def strategy_of(parameter: str) -> str:
    """Return the strategy, or the group of strategies, that a parameter of ``Space.parameters`` belongs to."""
    return parameter.partition(".")[0].partition(_WITHOUT)[0]


def _group_choice(
    parameter: str, offers: Sequence[StrategyChoice], usable: Sequence[StrategyChoice]
) -> tuple[str, Choice]:
    """Return the name and the options of the parameter that selects one of the usable strategies."""
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
