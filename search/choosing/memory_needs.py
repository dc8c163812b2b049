"""Memory that trainings need on a GPU: what was measured, and which recipes need more than a GPU has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autoopt.search.space.recipe import Recipe
from autoopt.search.trial.record import TrialRecord
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.embedded_batches import CHANGING_EMBEDDINGS

NEUTRAL = frozenset({"learning_rate", "epochs"})
"""Settings that do not change the memory of a training, nor do those that are no whole numbers or words."""
KEPT = "keep"
"""Setting of a cut: the share that it keeps."""


@dataclass(frozen=True)
class Workload:
    """A stage of a recipe, as far as its memory depends on the recipe."""

    model: str
    step: Strategy
    cuts: Mapping[str, Strategy]
    """What changes the shape of the model before it, by name."""
    variants: frozenset[str]
    """Augmentations that evaluate the loss on further batches."""

    def needs_at_least(self, other: Workload) -> bool:
        """Whether it certainly needs as much memory as ``other``: no smaller setting, and nothing more is cut."""
        return (
            (self.model, self.step.name) == (other.model, other.step.name)
            and _is_at_least(_settings(self.step), _settings(other.step))
            and all(name in other.cuts and _keeps_as_much(cut, other.cuts[name]) for name, cut in self.cuts.items())
            and self.variants >= other.variants
        )


def workloads(recipe: Recipe) -> Iterator[Workload]:
    """Yield the stages of a recipe in order."""
    cuts: dict[str, Strategy] = {}
    variants: set[str] = set()
    for step in recipe.steps:
        yield Workload(recipe.model, step, dict(cuts), frozenset(variants))
        if step.name in CHANGING_EMBEDDINGS:
            variants.add(step.name)
        if type(step).reshapes():
            cuts[step.name] = step


@dataclass(frozen=True)
class MemoryNeeds:
    """What the trials of a study tell about memory."""

    too_large: tuple[Workload, ...]
    """Stages that ran out of memory with a whole GPU for themselves."""
    measured: Mapping[tuple[str, str], tuple[tuple[Workload, int], ...]]
    """Stages with their peak in bytes, by base model and strategy."""

    @classmethod
    def of(cls, records: Iterable[TrialRecord], *, total_bytes: int | None = None) -> MemoryNeeds:
        """Learn from trials; shortages on GPUs smaller than ``total_bytes``, if known, do not count."""
        too_large: list[Workload] = []
        measured: dict[tuple[str, str], list[tuple[Workload, int]]] = defaultdict(list)
        for record in records:
            if not record.shortage and not any(stage.peak_bytes for stage in record.stages):
                continue
            by_name = {workload.step.name: workload for workload in workloads(record.recipe)}
            shortage = record.shortage
            if shortage and shortage.stage in by_name and (shortage.total_bytes or 0) >= (total_bytes or 0):
                too_large.append(by_name[shortage.stage])
            for stage in record.stages:
                if stage.peak_bytes and stage.name in by_name:
                    measured[record.recipe.model, stage.name].append((by_name[stage.name], stage.peak_bytes))
        return cls(tuple(too_large), {key: tuple(peaks) for key, peaks in measured.items()})

    def exceeds(self, recipe: Recipe) -> bool:
        """Whether a stage of the recipe needs at least as much memory as one that ran out of it."""
        return bool(self.too_large) and any(
            workload.needs_at_least(failed) for workload in workloads(recipe) for failed in self.too_large
        )

    def peaks(self, recipe: Recipe) -> dict[str, int]:
        """Return the memory of each stage in bytes, as measured for one that needs at least as much, where known."""
        peaks = {}
        for workload in workloads(recipe) if self.measured else ():
            bounds = self.measured.get((recipe.model, workload.step.name), ())
            sufficient = [peak for other, peak in bounds if other.needs_at_least(workload)]
            if sufficient:
                peaks[workload.step.name] = min(sufficient)
        return peaks


def _settings(step: Strategy) -> dict[str, Any]:
    """Return the settings that may change the memory of a training."""
    values = step.model_dump(mode="json")
    return {name: value for name, value in values.items() if name not in NEUTRAL and not isinstance(value, float)}


def _is_at_least(own: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    def is_number(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    return own.keys() == other.keys() and all(
        own[name] >= value if is_number(own[name]) and is_number(value) else own[name] == value
        for name, value in other.items()
    )


def _keeps_as_much(own: Strategy, other: Strategy) -> bool:
    """Whether a cut leaves at least as much of a model as another one by the same strategy."""
    own_values, other_values = own.model_dump(mode="json"), other.model_dump(mode="json")
    own_kept, other_kept = own_values.pop(KEPT, 1.0), other_values.pop(KEPT, 1.0)
    return own_values == other_values and bool(own_kept >= other_kept)
