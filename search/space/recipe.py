"""Recipes: the base model and the strategies of one trial in the order they are applied, with all knob values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, TypeAlias

from autoopt.strategies.catalog import find
from autoopt.strategies.strategy import Family, Strategy

Steps: TypeAlias = tuple[Strategy, ...]

MODEL = "model"
"""Parameter and JSON key of a recipe's base model."""
_FAMILIES = list(Family)
TRUNK = frozenset({Family.UNSUPERVISED, Family.AUGMENTATION, Family.ADAPTATION})
"""The families that train the full model; the others derive leaves from it."""


@dataclass(frozen=True)
class Recipe:
    """Strategies in order. Equal recipes have the same ``id`` on every machine."""

    steps: Steps
    model: str = ""
    """Label of the base model (``BaseModel.label``); empty for the study's first one."""

    @classmethod
    def of(cls, steps: Iterable[Strategy], *, model: str = "") -> Recipe:
        """Order the strategies: by family, cuts before recovery, what only changes the head before what learns.

        Each comes after those that it names in ``after``.
        """
        return cls(tuple(_ordered(list(steps))), model)

    @classmethod
    def from_json(cls, steps: Sequence[Mapping[str, Any]]) -> Recipe:
        """Inverse of ``to_json``; raises ``UnknownStrategy`` or pydantic's ``ValidationError``."""
        model = next((str(step[MODEL]) for step in steps if "strategy" not in step and MODEL in step), "")
        strategies = (
            find(step["strategy"]).model_validate({key: value for key, value in step.items() if key != "strategy"})
            for step in steps
            if "strategy" in step or MODEL not in step
        )
        return cls.of(strategies, model=model)

    def to_json(self) -> list[dict[str, Any]]:
        """Return one object for each step, after one for the base model unless it is the study's first."""
        return [*self._model_json, *map(_as_json, self.steps)]

    @property
    def _model_json(self) -> list[dict[str, str]]:
        return [{MODEL: self.model}] if self.model else []

    @cached_property
    def id(self) -> str:
        """First twelve hexadecimal digits of the SHA-256 of the canonical form."""
        model = (json.dumps(item, separators=(",", ":")) for item in self._model_json)
        canonical = "[" + ",".join([*model, *map(_canonical, self.steps)]) + "]"
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @cached_property
    def trunk(self) -> Steps:
        return tuple(step for step in self.steps if step.family in TRUNK)

    @property
    def leaf(self) -> Steps:
        return tuple(step for step in self.steps if step.family not in TRUNK)

    def prefix(self, length: int) -> Recipe:
        """Return the recipe of the first ``length`` steps."""
        return replace(self, steps=self.steps[:length])

    @cached_property
    def stored_prefixes(self) -> tuple[Recipe, ...]:
        """The prefixes that end with a stored stage, the shortest first."""
        return tuple(self.prefix(index + 1) for index, step in enumerate(self.steps) if step.is_stored())

    def describe_steps(self) -> str:
        """Return the steps with their knobs as text, without the base model."""
        return " + ".join(map(_describe, self.steps))

    def __str__(self) -> str:
        return f"{self.model}: {self.describe_steps()}" if self.model else self.describe_steps()


def _as_json(step: Strategy) -> dict[str, Any]:
    return {"strategy": step.name, **step.model_dump(mode="json")}


@lru_cache(10_000)
def _canonical(step: Strategy) -> str:
    return json.dumps(_as_json(step), sort_keys=True, separators=(",", ":"))


def _describe(step: Strategy) -> str:
    knobs = ", ".join(f"{name}={getattr(step, name)}" for name in type(step).knobs())
    return f"{step.name}({knobs})" if knobs else step.name


def _adapts(step: Strategy) -> bool:
    """Return whether it is an adaptation that learns; those that only change the head precede it."""
    return step.family is Family.ADAPTATION and step.learns


def _ordered(steps: list[Strategy]) -> list[Strategy]:
    steps = sorted(steps, key=lambda step: (_FAMILIES.index(step.family), step.recovers, _adapts(step), step.name))
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
