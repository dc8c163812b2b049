"""The Pareto front: non-dominated models, their hypervolume, and the aliases of the models to recommend."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from autoopt.objectives.cost import Role
from autoopt.objectives.costs import names_of
from autoopt.objectives.measurement import QUALITY, Direction, Measurement


class Measured(Protocol):
    """Anything with measurements by name."""

    @property
    def measurements(self) -> Mapping[str, Measurement]: ...


Item = TypeVar("Item", bound=Measured)


def dominates(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    """Whether ``first`` is no worse than ``second`` in every loss and better in at least one."""
    return first != second and all(a <= b for a, b in zip(first, second, strict=True))


def pareto(items: Sequence[Item], objectives: Mapping[str, Direction]) -> list[Item]:
    """Return the non-dominated items in their original order."""
    points = [losses(item, objectives) for item in items]
    front: list[int] = []
    # Sorted, a point comes after those that dominate it, and one of them is on the front already.
    for index in sorted(range(len(points)), key=points.__getitem__):
        if not any(dominates(points[member], points[index]) for member in front):
            front.append(index)
    return [items[index] for index in sorted(front)]


def hypervolume(points: Iterable[Sequence[float]], reference: Sequence[float]) -> float:
    """Return the hypervolume that the points dominate up to the reference point, all values minimized.

    Points that are not below the reference in every value contribute nothing.
    """
    inside = sorted({tuple(point) for point in points if all(a < b for a, b in zip(point, reference, strict=True))})
    if len(reference) == 1:
        return reference[0] - inside[0][0] if inside else 0.0
    total, lowest = 0.0, reference[1]
    for index, point in enumerate(inside):  # Slice by slice along the first axis.
        width = (inside[index + 1][0] if index + 1 < len(inside) else reference[0]) - point[0]
        if len(reference) == 2:
            lowest = min(lowest, point[1])
            total += width * (reference[1] - lowest)
        elif width > 0:
            total += width * hypervolume([other[1:] for other in inside[: index + 1]], reference[1:])
    return total


def champion(items: Sequence[Item], objectives: Mapping[str, Direction]) -> Item:
    """Return the item of best quality; ties are broken by the other objectives in their order."""
    others = {name: direction for name, direction in objectives.items() if name != QUALITY}
    return min(items, key=lambda item: (-item.measurements[QUALITY].value, *losses(item, others)))


def knee_point(items: Sequence[Item], objectives: Mapping[str, Direction]) -> Item:
    """Return the item nearest to the ideal point, with each objective scaled to [0, 1] over the items."""
    points = [losses(item, objectives) for item in items]
    lows = [min(axis) for axis in zip(*points, strict=True)]
    ranges = [max(axis) - low or 1.0 for axis, low in zip(zip(*points, strict=True), lows, strict=True)]

    def distance(point: Sequence[float]) -> float:
        return math.hypot(*((value - low) / width for value, low, width in zip(point, lows, ranges, strict=True)))

    return items[min(range(len(items)), key=lambda index: distance(points[index]))]


def aliases(items: Sequence[Item], objectives: Mapping[str, Direction]) -> dict[str, Item]:
    """Return the recommended items by alias: ``champion``, ``fastest``, ``smallest``, ``balanced``; empty if no items.

    "Fast" and "small" refer to the first objective of that kind, else to ``latency_p50`` and ``size``; an alias whose
    metric was not measured is left out.
    """
    if not items:
        return {}
    metrics = {
        "fastest": _first(names_of(Role.SPEED), objectives),
        "smallest": _first(names_of(Role.SPACE), objectives),
    }
    return {
        "champion": champion(items, objectives),
        **{alias: best(items, metric) for alias, metric in metrics.items() if _all_have(items, metric)},
        "balanced": knee_point(items, objectives),
    }


def by_worth(items: Sequence[Item], objectives: Mapping[str, Direction]) -> list[Item]:
    """Return the items in the order in which they are missed least: those with an alias, then by quality."""
    named = list(aliases(items, objectives).values())
    others = sorted(items, key=lambda item: losses(item, objectives))
    return list({id(item): item for item in (*named, *others)}.values())


def best(items: Sequence[Item], metric: str) -> Item:
    """Return the best item in one metric, the first of several."""
    direction = items[0].measurements[metric].direction
    return min(items, key=lambda item: losses(item, {metric: direction}))


def _all_have(items: Sequence[Item], metric: str) -> bool:
    return all(metric in item.measurements for item in items)


def _first(metrics: Sequence[str], objectives: Mapping[str, Direction]) -> str:
    return next((name for name in objectives if name in metrics), metrics[0])


def speed_loss(item: Measured, objectives: Mapping[str, Direction]) -> float:
    """Return the loss that stands for speed, lower is faster: the first speed objective, else the first cost."""
    speeds = [name for name in objectives if name in names_of(Role.SPEED)]
    costs = speeds or [name for name in objectives if name != QUALITY]
    return losses(item, {name: objectives[name] for name in costs[:1]})[0] if costs else 0.0


def losses(item: Measured, objectives: Mapping[str, Direction]) -> tuple[float, ...]:
    """Return the objectives' values, negated where more is better."""
    return tuple(
        item.measurements[name].value * (1 if direction is Direction.MINIMIZE else -1)
        for name, direction in objectives.items()
    )
