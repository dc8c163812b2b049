"""Samples of the splits, for a search that has not the time for all examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.splits import consecutive_split, stratified_split
from autoopt.objectives.data.text_data import TextData, fingerprint_of
from autoopt.strategies.candidate import Example

SPLITS = ("train", "validation", "test")


def sample_sizes(settings: DataSettings) -> dict[str, int]:
    """Return the most examples of each split that is limited to a number."""
    sizes = {name: getattr(settings, f"max_{name}_samples") for name in SPLITS}
    return {name: size for name, size in sizes.items() if isinstance(size, int)}


def sampled(data: TextData, settings: DataSettings) -> TextData:
    """Return the data with at most ``max_train_samples`` training examples, and so on.

    A sample has each class in its proportion; of running text it is the beginning. The same settings draw the same
    sample. Training examples left out are the ``reserve``; unlabeled texts stay as they are, and include theirs.
    """
    splits: dict[str, tuple[Example, ...]] = {name: getattr(data, name) for name in SPLITS}
    sizes = {name: size for name, size in sample_sizes(settings).items() if size < len(splits[name])}
    if not sizes:
        return data
    draw: Callable[..., dict[str, tuple[Example, ...]]] = (
        consecutive_split
        if data.is_running_text
        else partial(stratified_split, seed=settings.split.seed, labels=data.labels)
    )
    notes = [f"a sample of {size:,} of {len(splits[name]):,} {name} examples is used" for name, size in sizes.items()]
    splits |= {name: _draw(draw, splits[name], name, size) for name, size in sizes.items()}
    drawn = set(map(id, splits["train"]))
    sample = replace(
        data,
        train=splits["train"],
        reserve=tuple(example for example in data.train if id(example) not in drawn),
        validation=splits["validation"],
        test=splits["test"],
        notes=(*data.notes, *notes),
    )
    return replace(sample, fingerprint=fingerprint_of(sample))


def _draw(
    draw: Callable[..., dict[str, tuple[Example, ...]]], examples: Sequence[Example], name: str, size: int
) -> tuple[Example, ...]:
    classes = {example.label for example in examples if isinstance(example.label, int)}
    return draw(examples, {name: max(size, len(classes))}, source=f"the {name} split")[name]
