"""Labelled text, read, checked and split into training, validation and test examples."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from autoopt.objectives.data.gc_pause import uncollected
from autoopt.objectives.data.overlaps import conflicts, remove_leaks, shared_contexts, without_duplicates
from autoopt.objectives.data.rows import Row
from autoopt.objectives.data.settings import DataSettings, SplitSettings
from autoopt.objectives.data.sources import tables
from autoopt.objectives.data.splits import REST, count_of, split, split_groups, stretches
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.data.unlabeled import drawn, read_unlabeled
from autoopt.objectives.task import Task
from autoopt.strategies.candidate import Example, Span
from autoopt.strategies.errors import DataError, did_you_mean

DEFAULT_SHARES: Mapping[str, float] = {"validation": 0.15, "test": 0.15}
PARTS = ("train", "validation", "test")
_Draw: TypeAlias = Callable[..., dict[str, tuple[Example, ...]]]
"""What draws splits from examples; called as ``draw(examples, sizes, source=...)``."""


@uncollected()
def load_text_data(settings: DataSettings, kind: type[Task], *, metric: str | None = None) -> TextData:
    """Read, check and split the data of a kind of task. Raises ``DataError``, which names the place and the remedy.

    Texts that are blank are left out, and so are exact duplicates in a single source and training texts that occur in
    validation or test; ``notes`` and ``warnings`` count them. Of running text nothing is left out, and its splits are
    stretches of it: it is not looked at whether one says what another says.
    """
    pools, notes, warnings = _read(settings, kind, metric)
    source = settings.source or settings.train or ""
    labels = kind.label_names(pools["train"], source=f"{source} ({notes[0]})")
    notes += _look_alikes(labels)
    examples = {
        name: _examples(rows, kind, labels, part=name, trained_on=f"of {source}") for name, rows in pools.items()
    }
    groups = [row.group for row in pools["train"]]
    in_order = kind.in_order(pools["train"])
    parts = _split(examples, groups, settings.split, labels, source, in_order=in_order)
    kept_out = {text for name in ("validation", "test") for example in parts[name] for text in _texts(example)}
    own = [text for name in ("train", REST) for example in parts[name] for text in _texts(example)]
    if settings.unlabeled:
        own, more_notes = read_unlabeled(settings.unlabeled, settings)
        notes += more_notes
    left = (text for text in own if text not in kept_out)
    unlabeled = drawn(left, settings.split.unlabeled, seed=settings.split.seed)
    notes.append(", ".join(f"{len(parts[name]):,} {name}" for name in PARTS) + f", {len(unlabeled):,} unlabeled texts")
    return TextData(
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        unlabeled=unlabeled,
        labels=labels,
        fingerprint=_fingerprint(labels, parts, unlabeled),
        notes=tuple(notes),
        warnings=tuple(warnings),
    )


def load_labelled(address: str, kind: type[Task]) -> tuple[tuple[Example, ...], tuple[str, ...]]:
    """All examples of a data set of a kind of task, and the names of its classes. Raises as ``load_text_data``."""
    data = load_text_data(DataSettings(source=address), kind)
    return (*data.train, *data.validation, *data.test), data.labels


def _read(
    settings: DataSettings, kind: type[Task], metric: str | None
) -> tuple[dict[str, list[Row]], list[str], list[str]]:
    """Return the rows that were given as training, validation and test data, notes and warnings.

    A single source is training data.
    """
    given = {"train": settings.source or settings.train, "validation": settings.validation, "test": settings.test}
    found = {
        part: table
        for name, address in given.items()
        if address
        for part, table in tables(address, part=name, whole=bool(settings.source)).items()
    }
    pools: dict[str, list[Row]] = {}
    notes: list[str] = []
    for name in (name for name in PARTS if name in found):
        reading = kind.read(found[name], settings, metric=metric, like=pools.get("train", ()))
        pools[name] = list(reading.rows)
        notes += [*([reading.columns] if not notes else []), *found[name].notes, *reading.notes]
    if "train" not in pools:
        raise DataError("there is no training data")
    if kind.in_order(pools["train"]):
        return pools, notes, []
    warnings = conflicts(pools)
    if settings.source:
        pools["train"], dropped = without_duplicates(pools["train"])
        notes += dropped
    warnings += remove_leaks(pools)
    return pools, notes, warnings + shared_contexts(pools)


def _examples(
    rows: Sequence[Row], kind: type[Task], labels: Sequence[str], *, part: str, trained_on: str
) -> list[Example]:
    """Number the classes; raises ``DataError`` for a class that the training data does not have."""
    numbers = {name: number for number, name in enumerate(labels)}
    made, strange = [], []
    for row in rows:
        try:
            made.append(Example(text=row.text, label=kind.number(row.label, numbers), text_pair=row.text_pair))
        except KeyError as error:
            strange.append((row, error.args[0]))
    if strange:
        row, name = strange[0]
        raise DataError(
            f"{row.place}: the class '{name}' ({len(strange)} rows of {part}) does not occur in the "
            f"training data {trained_on}{did_you_mean(name, labels)}; add training examples of it, or remove "
            "these rows"
        )
    return made


def _split(
    examples: Mapping[str, list[Example]],
    groups: Sequence[str],
    settings: SplitSettings,
    labels: Sequence[str],
    source: str,
    *,
    in_order: bool,
) -> dict[str, tuple[Example, ...]]:
    """Draw from the training pool what was not given, and a sample of what was where a size is set."""
    draw: _Draw = stretches if in_order else partial(split, seed=settings.seed, labels=labels)
    total = len(examples["train"])
    sizes = {
        name: count_of(getattr(settings, name) or DEFAULT_SHARES[name], total)
        for name in ("validation", "test")
        if name not in examples
    }
    if settings.train is not None or not sizes:
        sizes["train"] = count_of(settings.train, total) if settings.train is not None else total
    else:
        sizes["train"] = max(len(labels), total - sum(sizes.values()))
    if any(groups) and len(sizes) > 1:
        together: dict[str, list[Example]] = defaultdict(list)
        for place, (example, group) in enumerate(zip(examples["train"], groups, strict=True)):
            together[group or f"\0{place}"].append(example)
        parts = split_groups(together, sizes, seed=settings.seed, source=source)
        if settings.train is None:  # All the rest, whatever whole groups make of the sizes.
            parts["train"], parts[REST] = (*parts["train"], *parts[REST]), ()
    else:
        parts = draw(examples["train"], sizes, source=source)
    for name in ("validation", "test"):
        if name in examples:
            parts[name] = _sample(examples[name], name, getattr(settings, name), draw)
    return parts


def _sample(examples: list[Example], name: str, amount: int | float | None, draw: _Draw) -> tuple[Example, ...]:
    if not examples:
        raise DataError(f"the {name} data has no usable rows; give another file, or remove 'data.{name}'")
    if amount is None:
        return tuple(examples)
    size = count_of(amount, len(examples))
    return draw(examples, {name: size}, source=f"the {name} data")[name]


def _texts(example: Example) -> list[str]:
    return [example.text] if example.text_pair is None else [example.text, example.text_pair]


def _look_alikes(labels: Sequence[str]) -> list[str]:
    folded: dict[str, str] = {}
    return [
        f"the classes '{folded[name.casefold()]}' and '{name}' differ only in upper and lower case"
        for name in labels
        if folded.setdefault(name.casefold(), name) != name
    ]


def _fingerprint(labels: Sequence[str], parts: Mapping[str, Sequence[Example]], unlabeled: Sequence[str]) -> str:
    examples = ([(item.text, item.label, item.text_pair) for item in parts[name]] for name in PARTS)
    content = json.dumps([labels, *examples, unlabeled], default=_plain)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _plain(span: Span) -> tuple[str, int]:
    return span.text, span.start
