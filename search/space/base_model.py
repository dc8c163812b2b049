"""The base models of a study: the first choice of a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from autoopt.objectives.models import packages
from autoopt.strategies.situation import Situation


@dataclass(frozen=True)
class BaseModel:
    """A base model that recipes may start from."""

    label: str = ""
    """Short name, unique in the study."""
    layers: int | None = None
    """Number of layers; None if it does not matter."""
    size: float | None = None
    """Estimate of the work of a forward pass, in units that the models of a study share; None if unknown."""
    situation: Situation = field(default_factory=Situation)
    """What the settings of strategies depend on."""
    withheld: Mapping[str, str] = field(default_factory=dict)
    """Reasons by the name of each strategy that is not offered for this model, but for another one."""


def labels(names: Sequence[str]) -> tuple[str, ...]:
    """Return a short label for each name of a model: its last part, or as many as tell it from the others.

    Of ``package://NAME/PATH`` it is ``NAME``. Moving the folders elsewhere does not change the labels.
    """
    tails = [_tails(name) for name in names]
    shown: list[str] = []
    for own in tails:
        others = {tail for other in tails if other is not own for tail in other}
        shown.append(next((tail for tail in own if tail not in others), own[-1]))
    return tuple(shown)


def _tails(name: str) -> list[str]:
    """Return possible labels of a model, the shortest first."""
    if name.startswith(packages.PREFIX):
        path = PurePath(name.removeprefix(packages.PREFIX))
        return [path.parts[0], path.as_posix()] if path.parts else [name]
    parts = PurePath(name).parts
    return ["/".join(parts[-length:]) for length in range(1, len(parts) + 1)]


def relative_sizes(models: Sequence[BaseModel]) -> dict[str, float]:
    """Return the work of a forward pass relative to the first model's, by the label as it stands in a recipe.

    A model of unknown size counts as large as the first one.
    """
    first, *others = models
    ratios = {model.label: model.size / first.size if model.size and first.size else 1.0 for model in others}
    return {"": 1.0, **ratios}
