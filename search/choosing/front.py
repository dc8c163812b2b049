"""The front: which models no other one beats, and which of them are the ones to name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from autoopt.objectives.cost import Role
from autoopt.objectives.costs import names_of
from autoopt.objectives.measurement import QUALITY, Direction, Measurement


class Measured(Protocol):
    """Whatever has measurements."""

    @property
    def measurements(self) -> Mapping[str, Measurement]: ...


Item = TypeVar("Item", bound=Measured)


def dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """True where no value is more and some value is less: for losses of one and the other."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def pareto(items: Sequence[Item], objectives: Mapping[str, Direction]) -> list[Item]:
    """The items that no other one dominates, in the order in which they came."""
    points = [losses(item, objectives) for item in items]
    front: list[int] = []
    # In this order what dominates a point comes before it, and is on the front itself or dominated by what is.
    for place in sorted(range(len(points)), key=points.__getitem__):
        if not any(dominates(points[other], points[place]) for other in front):
            front.append(place)
    return [items[place] for place in sorted(front)]


def hypervolume(points: Iterable[Sequence[float]], corner: Sequence[float]) -> float:
    """What the points dominate up to the corner, all values minimized; slice by slice along the first axis."""
    inside = sorted({tuple(point) for point in points if all(a < b for a, b in zip(point, corner, strict=True))})
    if len(corner) == 1:
        return corner[0] - inside[0][0] if inside else 0.0
    total, lowest = 0.0, corner[1]
    for place, point in enumerate(inside):
        width = (inside[place + 1][0] if place + 1 < len(inside) else corner[0]) - point[0]
        if len(corner) == 2:
            lowest = min(lowest, point[1])
            total += width * (corner[1] - lowest)
        elif width > 0:
            total += width * hypervolume([other[1:] for other in inside[: place + 1]], corner[1:])
    return total


def champion(items: Sequence[Item], objectives: Mapping[str, Direction]) -> Item:
    """The item of best quality; of several, the one that is best in the other objectives in their order."""
    others = {name: direction for name, direction in objectives.items() if name != QUALITY}
    return min(items, key=lambda item: (-item.measurements[QUALITY].value, *losses(item, others)))


def knee(items: Sequence[Item], objectives: Mapping[str, Direction]) -> Item:
    """The balanced item: nearest to the ideal point when each objective is scaled to [0, 1] over the items."""
    points = [losses(item, objectives) for item in items]
    low = [min(axis) for axis in zip(*points, strict=True)]
    width = [max(axis) - least or 1.0 for axis, least in zip(zip(*points, strict=True), low, strict=True)]

    def distance(point: Sequence[float]) -> float:
        return math.hypot(*((value - least) / wide for value, least, wide in zip(point, low, width, strict=True)))

    return items[min(range(len(items)), key=lambda index: distance(points[index]))]


def aliases(items: Sequence[Item], objectives: Mapping[str, Direction]) -> dict[str, Item]:
    """Name the items to take: ``champion``, ``fastest``, ``smallest``, ``balanced``; none where there are no items.

    What is fast and what is small is said by the first such objective; by ``latency_p50`` and ``size`` where none is.
    """
    if not items:
        return {}
    return {
        "champion": champion(items, objectives),
        "fastest": best(items, _first(names_of(Role.SPEED), objectives)),
        "smallest": best(items, _first(names_of(Role.SPACE), objectives)),
        "balanced": knee(items, objectives),
    }


def best(items: Sequence[Item], metric: str) -> Item:
    """The first item that no other one beats in this metric."""
    direction = items[0].measurements[metric].direction
    return min(items, key=lambda item: losses(item, {metric: direction}))


def _first(metrics: Sequence[str], objectives: Mapping[str, Direction]) -> str:
    return next((name for name in objectives if name in metrics), metrics[0])


def fastness(item: Measured, objectives: Mapping[str, Direction]) -> float:
    """What says how fast an item is, less being faster: the first such objective, else the first cost."""
    costs = [name for name in objectives if name in names_of(Role.SPEED)] or [
        name for name in objectives if name != QUALITY
    ]
    return losses(item, {name: objectives[name] for name in costs[:1]})[0] if costs else 0.0


def losses(item: Measured, objectives: Mapping[str, Direction]) -> tuple[float, ...]:
    """The objectives' values, signed so that less is better."""
    return tuple(
        item.measurements[name].value * (1 if direction is Direction.MINIMIZE else -1)
        for name, direction in objectives.items()
    )
