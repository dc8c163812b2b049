"""The start design: the baseline, then recipes of strong defaults, the most useful first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest

from autoopt.search.space.recipe import Recipe
from autoopt.search.space.space import Space
from autoopt.search.space.strategy_choice import StrategyChoice
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.adaptation.linear_probe import LinearProbe
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Family, Strategy

KEEP = "keep"
"""By convention the knob of strategies that cut: the share of the parts that is kept."""

RECIPES_BEFORE_OTHERS = 5
"""Number of recipes after the baseline before those of further base models."""

TRAINING = ("epochs", "learning_rate", "texts")
"""By convention the knobs of recovery strategies: duration, step size, and number of additional texts."""


def baseline(space: Space) -> Recipe:
    """Return trial 0: plain full fine-tuning of the base model."""
    offer = space.offer(FullFinetuning.name)
    return Recipe.of([offer.nearest() if offer else FullFinetuning()])


def start_design(space: Space) -> list[Recipe]:
    """Return the baseline and then distinct recipes of strong defaults.

    1. What takes seconds, the frozen trunk and the classical rival without one, and a cut of the base model with
       recovery: they do not wait for the trunk that the baseline is training. Then what takes seconds once it is
       trained: its students, and the whole trunk in each runtime, since machines differ in which is the fastest.
    2. The other trunks alone, so that the best two are known before trunks are cut.
    3. The gentlest cut of the baseline's trunk without recovery.
    4. Cuts of the trunk with distillation, the deepest and longest first: they train the least and add the most.
    5. The other cuts without recovery, whose cut models are stored by then.
    6. All other trunks with the same cut, recovery and acceleration.
    7. Every remaining strategy in a strong recipe.

    What is cut of the baseline's trunk here is cut of the best trunks in a study, in the best runtime:
    ``choosing/race.py``. The strongest
    recipes of each further base model follow the first ``RECIPES_BEFORE_OTHERS`` of the baseline's.
    """
    first = baseline(space)
    own = [recipe for recipe in _valid(space, _designs(space)) if recipe.id != first.id]
    others = [_valid(space, _strongest(space), model=model.label) for model in space.models[1:]]
    # Each model's best recipe comes before any model's second.
    by_rank = [recipe for same_rank in zip_longest(*others) for recipe in same_rank if recipe is not None]
    return [first, *own[:RECIPES_BEFORE_OTHERS], *by_rank, *own[RECIPES_BEFORE_OTHERS:]]


def _valid(space: Space, designs: Iterable[list[Strategy]], *, model: str = "") -> list[Recipe]:
    """Return the distinct recipes of a base model that the space contains."""
    recipes: dict[str, Recipe] = {}
    for steps in designs:
        recipe = Recipe.of(steps, model=model)
        if space.contains(recipe):
            recipes.setdefault(recipe.id, recipe)
    return list(recipes.values())


def _strongest(space: Space) -> Iterator[list[Strategy]]:
    """Yield the recipes by which a further base model is judged: its frozen and trained trunks, and cuts."""
    full = list(baseline(space).steps)
    cuts = _standard(tuple(offer for offer in space.of_family(Family.COMPRESSION) if offer.strategy.cuts))
    adaptive = [offer.nearest() for offer in cuts if offer.strategy.adaptive][:1]
    plain = _compatible(tuple(offer for offer in cuts if not offer.strategy.adaptive))
    recovery = _recovery(space, teacher=True) or _recovery(space, teacher=False)
    fast = _compatible(_standard(space.of_family(Family.ACCELERATION)))
    adaptations = _standard(space.of_family(Family.ADAPTATION))
    yield from _alone(offer.nearest() for offer in adaptations if offer.strategy is LinearProbe)
    yield [*full, *fast]
    yield [*full, *(adaptive or plain), *recovery, *fast]
    yield [*full, *plain, *recovery, *fast]
    yield from ([*full, offer.nearest(), *fast] for offer in space.offers if offer.strategy.other_base)


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
    # A cut that weighs layers, heads and columns against each other is better than any cut of one kind.
    adaptive = [offer for offer in cuts if offer.strategy.adaptive][:1]
    middle = [offer.nearest() for offer in adaptive] or plain
    leading = [offer for offer in cuts if offer.nearest() in middle]
    deep = [_at_depth(offer, 1) for offer in leading]
    others = [
        offer.nearest()
        for offer in _standard(space.of_family(Family.ADAPTATION))
        if type(full[0]) is not offer.strategy and offer.strategy.learns
    ]

    students = [offer.nearest() for offer in space.of_family(Family.COMPRESSION) if offer.strategy.replaces]
    classical = [student for student in students if student.learns]
    yield from _alone(other for other in others if isinstance(other, LinearProbe))
    yield from _alone(classical)
    yield [*plain, *finetuned, *fast]
    for student in students:
        yield [*full, student]
    yield [*full, *fast]
    for offer in accelerations:
        if offer.nearest() not in fast:
            yield [*full, offer.nearest()]
    yield [*deeper, *finetuned, *fast]
    yield from _alone(others)
    for offer in leading:
        yield [*full, _at_depth(offer, -1), *fast]
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
        yield _showcase(offer, full, middle, distilled, fast)


def _alone(trunks: Iterable[Strategy]) -> Iterator[list[Strategy]]:
    return ([trunk] for trunk in trunks)


def _showcase(
    offer: StrategyChoice, full: list[Strategy], middle: list[Strategy], distilled: list[Strategy], fast: list[Strategy]
) -> list[Strategy]:
    """Return a recipe that shows what one strategy adds to strong ones."""
    strategy, step = offer.strategy, offer.nearest()
    middle, fast = ([other for other in steps if _are_compatible(step, other)] for steps in (middle, fast))
    match strategy.family:
        case Family.UNSUPERVISED if strategy.learns:
            return [step, *middle, *distilled, *fast]
        case Family.ADAPTATION if strategy.learns:
            return [step, *middle, *distilled, *fast]
        case Family.UNSUPERVISED | Family.AUGMENTATION | Family.ADAPTATION:
            return [*full, step, *middle, *distilled, *fast]
        case Family.COMPRESSION if strategy.replaces:
            return [step] if strategy.learns else [*full, step]
        case Family.COMPRESSION if strategy.recovers:
            return [*(full if "teacher" in strategy.needs else []), *middle, step, *fast]
        case Family.COMPRESSION:
            return [*full, step, *(distilled if strategy.cuts else []), *fast]
        case Family.ACCELERATION:
            return [*full, *middle, *distilled, step]


def _are_compatible(first: Strategy, second: Strategy) -> bool:
    return first.name not in type(second).excludes and second.name not in type(first).excludes


def _standard(offers: tuple[StrategyChoice, ...]) -> tuple[StrategyChoice, ...]:
    """Return the strategies that work nearly everywhere; all of them if there is none."""
    return tuple(offer for offer in offers if offer.strategy.standard) or offers


def _recovery(space: Space, *, teacher: bool, longest: bool = False) -> list[Strategy]:
    offers = tuple(offer for offer in space.of_family(Family.COMPRESSION) if offer.strategy.recovers)
    matching = _standard(tuple(offer for offer in offers if ("teacher" in offer.strategy.needs) is teacher))
    return [_longest(offer) if longest else offer.nearest() for offer in matching[:1]]


def _longest(offer: StrategyChoice) -> Strategy:
    """Return the strategy with its longest training, since a deep cut leaves little to start from."""
    knobs = {name: offer.searched[name] for name in TRAINING if name in offer.searched}
    return offer.nearest({name: max(knob.options) for name, knob in knobs.items() if isinstance(knob, Choice)})


def _compatible(offers: tuple[StrategyChoice, ...], *, steps: int = 0) -> list[Strategy]:
    """Return as many of the strategies as are compatible, in order, each ``steps`` deeper than its default."""
    compatible: list[Strategy] = []
    for candidate in (_at_depth(offer, steps) for offer in offers):
        if all(_are_compatible(candidate, other) for other in compatible):
            compatible.append(candidate)
    return compatible


def _at_depth(offer: StrategyChoice, steps: int) -> Strategy:
    """Return the cut this many options deeper than its default, clipped to the options; negative is less deep."""
    knob = offer.searched.get(KEEP)
    if not isinstance(knob, Choice):
        return offer.nearest()
    options = sorted(knob.options, reverse=True)
    index = options.index(getattr(offer.nearest(), KEEP)) + steps
    return offer.nearest({KEEP: options[max(0, min(index, len(options) - 1))]})
