"""Data of a task, read, checked and split into training, validation and test examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from autoopt.objectives.checking.classes import (
    check_class_count,
    check_same_classes,
    drop_rare,
    keep_warning,
    rare_classes,
)
from autoopt.objectives.checking.overlaps import HELD_OUT
from autoopt.objectives.data.gc_pause import gc_paused
from autoopt.objectives.data.rows import Row
from autoopt.objectives.data.samples import sampled
from autoopt.objectives.data.settings import DataSettings, SplitSettings
from autoopt.objectives.data.splits import (
    REST,
    consecutive_split,
    example_count,
    group_split,
    shuffle_key,
    stratified_split,
)
from autoopt.objectives.data.text_data import TextData, fingerprint_of
from autoopt.objectives.data.unlabeled import read_unlabeled, sample_texts
from autoopt.objectives.pools import PARTS, read_pools
from autoopt.objectives.task import Task
from autoopt.strategies.candidate import Example, Label
from autoopt.strategies.errors import DataError

DEFAULT_SHARES: Mapping[str, float] = {"validation": 0.15, "test": 0.15}
_Splitter: TypeAlias = Callable[..., dict[str, tuple[Example, ...]]]
"""Called as ``splitter(examples, sizes, source=...)``."""


@gc_paused()
def load_text_data(settings: DataSettings, task_type: type[Task], *, metric: str | None = None) -> TextData:
    """Read, check and split the data of a task. Raises ``DataError``, which names the place and the remedy.

    Blank texts are left out, and so are exact duplicates within a single source and training texts that occur in
    validation or test; ``notes`` and ``warnings`` count them. Running text is split into consecutive parts with nothing
    left out, and is not checked for repetitions.
    """
    pools = read_pools(settings, task_type, metric)
    rows, notes = pools.rows, pools.notes
    source = settings.source or settings.train or ""
    is_running_text = task_type.is_running_text(rows["train"])
    rare = rare_classes(rows["train"], splits=1 + sum(name not in rows for name in HELD_OUT))
    if rare and settings.rare == "drop":
        dropped, warnings = drop_rare(rows, rare)
        pools.left_out += dropped
        pools.warnings += warnings
    labels = task_type.label_names(rows["train"], source=f"{source} ({notes[0]})")
    check_class_count(labels, len(rows["train"]), limit=settings.max_classes, source=source)
    pools.warnings += check_same_classes(rows, labels, source=source) if labels else []
    notes += _case_notes(labels)
    examples = {name: _examples(part, task_type, labels) for name, part in rows.items()}
    groups = [row.group for row in rows["train"]]
    splitter: _Splitter = (
        consecutive_split if is_running_text else partial(stratified_split, seed=settings.split.seed, labels=labels)
    )
    kept = frozenset(labels.index(name) for name in rare) if rare and settings.rare == "keep" else frozenset[int]()
    pools.warnings += [keep_warning(rare)] if kept else []
    parts = _split(examples, groups, settings.split, len(labels) - len(kept), source, splitter, kept)
    unlabeled, unlabeled_notes = _unlabeled(settings, parts)
    notes += unlabeled_notes
    notes.append(", ".join(f"{len(parts[name]):,} {name}" for name in PARTS) + f", {len(unlabeled):,} unlabeled texts")
    data = TextData(
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        unlabeled=unlabeled,
        labels=labels,
        fingerprint="",
        notes=tuple(notes),
        warnings=tuple(pools.warnings),
        sources=pools.sources,
        left_out=tuple(item for item in pools.left_out if item.rows),
        is_running_text=is_running_text,
    )
    return sampled(replace(data, fingerprint=fingerprint_of(data)), settings)


def load_labelled(address: str, task_type: type[Task]) -> tuple[tuple[Example, ...], tuple[str, ...]]:
    """Return all examples of a data set and the names of its classes. Raises ``DataError``."""
    data = load_text_data(DataSettings(source=address), task_type)
    return (*data.train, *data.validation, *data.test), data.labels


def _examples(rows: Sequence[Row], task_type: type[Task], labels: Sequence[str]) -> list[Example]:
    """Number the classes."""
    numbers = {name: number for number, name in enumerate(labels)}
    return [
        Example(text=row.text, label=task_type.encode_label(row.label, numbers), text_pair=row.text_pair)
        for row in rows
    ]


def _split(
    examples: Mapping[str, list[Example]],
    groups: Sequence[str],
    settings: SplitSettings,
    classes: int,
    source: str,
    splitter: _Splitter,
    kept: Set[Label],
) -> dict[str, tuple[Example, ...]]:
    """Draw the splits that were not given from the training pool, and samples of those that were if a size is set.

    Examples of the classes ``kept`` are all training examples.
    """
    sizes = _sizes(examples, settings, classes)
    if any(groups) and len(sizes) > 1:
        by_group: dict[str, list[Example]] = defaultdict(list)
        for index, (example, group) in enumerate(zip(examples["train"], groups, strict=True)):
            by_group[group or f"\0{index}"].append(example)
        parts = group_split(by_group, sizes, seed=settings.seed, source=source)
        if settings.train is None:  # Training has all the rest, also where whole groups missed the sizes.
            parts["train"], parts[REST] = (*parts["train"], *parts[REST]), ()
    else:
        trained = [example for example in examples["train"] if example.label in kept] if kept else []
        common = [example for example in examples["train"] if example.label not in kept] if kept else examples["train"]
        parts = splitter(common, {**sizes, "train": sizes["train"] - len(trained)}, source=source)
        if trained:
            key = partial(shuffle_key, seed=settings.seed)
            parts["train"] = tuple(sorted((*parts["train"], *trained), key=key))
    for name in HELD_OUT:
        if name in examples:
            parts[name] = _sample(examples[name], name, getattr(settings, name), splitter)
    return parts


def _sizes(examples: Mapping[str, list[Example]], settings: SplitSettings, classes: int) -> dict[str, int]:
    """Return the sizes of the splits to be drawn from the training pool."""
    total = len(examples["train"])
    sizes = {
        name: example_count(getattr(settings, name) or DEFAULT_SHARES[name], total)
        for name in HELD_OUT
        if name not in examples
    }
    if settings.train is not None:
        return {**sizes, "train": example_count(settings.train, total)}
    return {**sizes, "train": max(classes, total - sum(sizes.values())) if sizes else total}


def _sample(examples: list[Example], name: str, size: int | float | None, splitter: _Splitter) -> tuple[Example, ...]:
    if not examples:
        raise DataError(f"the {name} data has no usable rows; give another file, or remove 'data.{name}'")
    if size is None:
        return tuple(examples)
    return splitter(examples, {name: example_count(size, len(examples))}, source=f"the {name} data")[name]


def _unlabeled(settings: DataSettings, parts: Mapping[str, Sequence[Example]]) -> tuple[tuple[str, ...], list[str]]:
    """Return unlabeled texts without those held out, by default the texts of all other examples, and notes."""
    notes: list[str] = []
    if settings.unlabeled:
        texts, notes = read_unlabeled(settings.unlabeled, settings)
    else:
        texts = [text for name in ("train", REST) for example in parts[name] for text in _texts(example)]
    held_out = {text for name in HELD_OUT for example in parts[name] for text in _texts(example)}
    free = (text for text in texts if text not in held_out)
    return sample_texts(free, settings.split.unlabeled, seed=settings.split.seed), notes


def _texts(example: Example) -> list[str]:
    return [example.text] if example.text_pair is None else [example.text, example.text_pair]


def _case_notes(labels: Sequence[str]) -> list[str]:
    """Return a note for each pair of classes that differ in case only."""
    folded: dict[str, str] = {}
    return [
        f"the classes '{folded[name.casefold()]}' and '{name}' differ only in upper and lower case"
        for name in labels
        if folded.setdefault(name.casefold(), name) != name
    ]
