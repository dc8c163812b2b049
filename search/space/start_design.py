"""The recipes that a study begins with: the baseline, then strong defaults, in the order in which they pay."""

from __future__ import annotations

from collections.abc import Iterator

from autoopt.search.space.recipe import Recipe
from autoopt.search.space.space import InvalidRecipe, Space
from autoopt.search.space.strategy_choice import StrategyChoice
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Family, Strategy

KEEP = "keep"
"""By convention the knob of a strategy that cuts: the share of the parts that stays."""

TRAINING = ("epochs", "learning_rate", "texts")
"""By convention the knobs of a strategy that recovers: how long it trains, with how large steps, on what more."""


def baseline(space: Space) -> Recipe:
    """Trial 0: the base model, plainly fine-tuned in full, and nothing else."""
    offer = space.offer(FullFinetuning.name)
    return Recipe.of([offer.nearest() if offer else FullFinetuning()])


def start_design(space: Space) -> list[Recipe]:
    """The baseline first, then recipes of strong defaults, no two the same.

    The first ones after the baseline need no trunk that it is just training, so that workers do not wait for each
    other: they cut the base model and train what is left. Then the gentlest cut of the baseline's trunk as it is, and
    the second of the cut models with each other acceleration, since machines differ in which is the fastest: both are
    trained by then. Then what is cut out of the trunk and distilled, the deepest first and the longest: it has the
    least to train and adds the most. What is left of cuts without recovery comes after that, since the cut is stored
    then. All trunks are tried with the same leaf, cut, recovered and accelerated: alone they are no faster.
    """
    found: dict[str, Recipe] = {}
    for steps in _designs(space):
        recipe = Recipe.of(steps)
        try:
            space.parameters(recipe)
        except InvalidRecipe:
            continue
        found.setdefault(recipe.id, recipe)
    first = baseline(space)
    return [first, *(recipe for recipe in found.values() if recipe.id != first.id)]


def _designs(space: Space) -> Iterator[list[Strategy]]:
    full = list(baseline(space).steps)
    cuts = _standard(tuple(offer for offer in space.of_family(Family.COMPRESSION) if offer.strategy.cuts))
    finetuned = _recovery(space, teacher=False)
    distilled = _recovery(space, teacher=True) or finetuned
    longest = _recovery(space, teacher=True, longest=True) or _recovery(space, teacher=False, longest=True)
    accelerations = _standard(space.of_family(Family.ACCELERATION))
    fast = _compatible(accelerations)
    simple = tuple(offer for offer in cuts if not offer.strategy.adaptive)
    plain, deeper, deepest = (_compatible(simple, steps=steps) for steps in range(3))
    # What divides a cut among layers, heads and columns by what they are worth is better than any that does one thing.
    whole = [offer for offer in cuts if offer.strategy.adaptive][:1]
    middle = [offer.nearest() for offer in whole] or plain
    leading = [offer for offer in cuts if offer.nearest() in middle]
    deep = [_at_depth(offer, 1) for offer in leading]
    others = [
        offer.nearest()
        for offer in _standard(space.of_family(Family.ADAPTATION))
        if type(full[0]) is not offer.strategy
    ]

    yield [*plain, *finetuned, *fast]
    yield [*deeper, *finetuned, *fast]
    yield [*full, *fast]
    for offer in leading:
        yield [*full, _at_depth(offer, -1), *fast]
    for offer in accelerations:
        if offer.nearest() not in fast:
            yield [*deeper, *finetuned, offer.nearest()]
    yield [*full, *deepest, *longest, *fast]
    yield [*full, *deep, *distilled, *fast]
    yield [*full, *middle, *distilled, *fast]
    for offer in leading:
        for steps in (0, 1):
            yield [*full, _at_depth(offer, steps), *fast]
    for offer in cuts:
        yield [*full, offer.nearest(), *distilled, *fast]
    for other in others:
        yield [other, *middle, *distilled, *fast]
    for offer in space.offers:
        yield _among(offer, full, middle, distilled, fast)


def _among(
    offer: StrategyChoice, full: list[Strategy], middle: list[Strategy], distilled: list[Strategy], fast: list[Strategy]
) -> list[Strategy]:
    """A recipe that shows what one strategy is worth among strong ones."""
    strategy, made = offer.strategy, offer.nearest()
    middle, fast = ([step for step in steps if _go_together(made, step)] for steps in (middle, fast))
    match strategy.family:
        case Family.UNSUPERVISED if strategy.learns:
            return [made, *middle, *distilled, *fast]
        case Family.UNSUPERVISED | Family.AUGMENTATION:
            return [*full, made, *middle, *distilled, *fast]
        case Family.ADAPTATION:
            return [made, *middle, *distilled, *fast]
        case Family.COMPRESSION if strategy.recovers:
            return [*(full if "teacher" in strategy.needs else []), *middle, made, *fast]
        case Family.COMPRESSION:
            return [*full, made, *(distilled if strategy.cuts else []), *fast]
        case Family.ACCELERATION:
            return [*full, *middle, *distilled, made]


def _go_together(one: Strategy, other: Strategy) -> bool:
    return one.name not in type(other).excludes and other.name not in type(one).excludes


def _standard(offers: tuple[StrategyChoice, ...]) -> tuple[StrategyChoice, ...]:
    """Those that work nearly everywhere; all where the study leaves none of them."""
    return tuple(offer for offer in offers if offer.strategy.standard) or offers


def _recovery(space: Space, *, teacher: bool, longest: bool = False) -> list[Strategy]:
    offers = tuple(offer for offer in space.of_family(Family.COMPRESSION) if offer.strategy.recovers)
    fitting = _standard(tuple(offer for offer in offers if ("teacher" in offer.strategy.needs) is teacher))
    return [_longest(offer) if longest else offer.nearest() for offer in fitting[:1]]


def _longest(offer: StrategyChoice) -> Strategy:
    """Trained as long, with as large steps and on as much as it may be: little is left to start from."""
    knobs = {name: offer.searched[name] for name in TRAINING if name in offer.searched}
    return offer.nearest({name: max(knob.options) for name, knob in knobs.items() if isinstance(knob, Choice)})


def _compatible(offers: tuple[StrategyChoice, ...], *, steps: int = 0) -> list[Strategy]:
    chosen: list[Strategy] = []
    for made in (_at_depth(offer, steps) for offer in offers):
        if all(_go_together(made, step) for step in chosen):
            chosen.append(made)
    return chosen


def _at_depth(offer: StrategyChoice, steps: int) -> Strategy:
    """The cut so many steps deeper than by default, less deep where it is negative, as far as there are steps."""
    knob = offer.searched.get(KEEP)
    if not isinstance(knob, Choice):
        return offer.nearest()
    options = sorted(knob.options, reverse=True)
    place = options.index(getattr(offer.nearest(), KEEP)) + steps
    return offer.nearest({KEEP: options[max(0, min(place, len(options) - 1))]})
