"""Recipes: the strategies of one trial in the order they are applied, with all knob values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeAlias

from autoopt.strategies.catalog import find
from autoopt.strategies.strategy import Family, Strategy

Steps: TypeAlias = tuple[Strategy, ...]

_FAMILIES = list(Family)
TRUNK = frozenset({Family.UNSUPERVISED, Family.AUGMENTATION, Family.ADAPTATION})
"""The families that train the full model; the others derive leaves from it."""


@dataclass(frozen=True)
class Recipe:
    """Strategies in order. Equal recipes have the same ``id`` on every machine."""

    steps: Steps

    @classmethod
    def of(cls, steps: Iterable[Strategy]) -> Recipe:
        """Order the strategies: by family, cuts before recovery, and each after those that it names in ``after``."""
        return cls(tuple(_ordered(list(steps))))

    @classmethod
    def from_json(cls, steps: Sequence[Mapping[str, Any]]) -> Recipe:
        """Inverse of ``to_json``; raises ``UnknownStrategy`` or pydantic's ``ValidationError``."""
        return cls.of(
            find(step["strategy"]).model_validate({key: value for key, value in step.items() if key != "strategy"})
            for step in steps
        )

    def to_json(self) -> list[dict[str, Any]]:
        return list(map(_as_json, self.steps))

    @cached_property
    def id(self) -> str:
        """First twelve hexadecimal digits of the SHA-256 of the canonical form."""
        canonical = "[" + ",".join(map(_canonical, self.steps)) + "]"
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def trunk(self) -> Steps:
        return tuple(step for step in self.steps if step.family in TRUNK)

    @property
    def leaf(self) -> Steps:
        return tuple(step for step in self.steps if step.family not in TRUNK)

    @cached_property
    def stored_prefixes(self) -> tuple[Steps, ...]:
        """The prefixes of the steps that end with a stored stage, the shortest first."""
        return tuple(self.steps[: index + 1] for index, step in enumerate(self.steps) if step.is_stored())

    def __str__(self) -> str:
        return " + ".join(map(_describe, self.steps))


def _as_json(step: Strategy) -> dict[str, Any]:
    return {"strategy": step.name, **step.model_dump(mode="json")}


@lru_cache(10_000)
def _canonical(step: Strategy) -> str:
    return json.dumps(_as_json(step), sort_keys=True, separators=(",", ":"))


def _describe(step: Strategy) -> str:
    knobs = ", ".join(f"{name}={getattr(step, name)}" for name in type(step).knobs())
    return f"{step.name}({knobs})" if knobs else step.name


def _ordered(steps: list[Strategy]) -> list[Strategy]:
    steps = sorted(steps, key=lambda step: (_FAMILIES.index(step.family), step.recovers, step.name))
    ordered: list[Strategy] = []
    remaining = {step.name for step in steps}
    while steps:
        first = next((step for step in steps if remaining.isdisjoint(step.after)), None)
        if first is None:
            raise ValueError(f"{', '.join(sorted(remaining))} each require another one of them to come first")
        ordered.append(first)
        remaining.remove(first.name)
        steps.remove(first)
    return ordered
