"""Labelled text, read, checked and split into training, validation and test examples."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

from autoopt.objectives.columns import choose
from autoopt.objectives.data_settings import DataSettings, SplitSettings
from autoopt.objectives.labelled import plain_texts
from autoopt.objectives.rows import Row
from autoopt.objectives.sources import tables
from autoopt.objectives.splits import REST, count_of, split, split_groups
from autoopt.objectives.task import Task
from autoopt.strategies.candidate import Example
from autoopt.strategies.errors import DataError, did_you_mean

DEFAULT_SHARES: Mapping[str, float] = {"validation": 0.15, "test": 0.15}
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class TextData:
    """The examples of a study. No text of validation or test is in another split or in ``unlabeled``."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    unlabeled: tuple[str, ...]
    labels: tuple[str, ...]
    """The names of the classes; a class in an example's ``label`` is a place in it."""
    fingerprint: str
    """Sixteen hexadecimal digits of the sha256 of all of it."""
    notes: tuple[str, ...]
    """What was chosen and what was left out, for people to read."""


def load_text_data(settings: DataSettings, kind: type[Task], *, metric: str | None = None) -> TextData:
    """Read, check and split the data of a kind of task. Raises ``DataError``, which names the place and the remedy.

    Texts that are blank are left out, and so are exact duplicates in a single source and training texts that occur in
    validation or test; ``notes`` counts them.
    """
    pools, notes = _read(settings, kind, metric)
    source = settings.source or settings.train or ""
    labels = kind.label_names(pools["train"], source=f"{source} ({notes[0]})")
    notes += _look_alikes(labels)
    examples = {
        name: _examples(rows, kind, labels, part=name, trained_on=f"of {source}") for name, rows in pools.items()
    }
    groups = [row.group for row in pools["train"]]
    parts = _split(examples, groups, settings.split, labels, source)
    kept_out = {text for name in ("validation", "test") for example in parts[name] for text in _texts(example)}
    own = [text for name in ("train", REST) for example in parts[name] for text in _texts(example)]
    if settings.unlabeled:
        own, more_notes = _unlabeled(settings)
        notes += more_notes
    unlabeled = tuple(dict.fromkeys(text for text in own if text not in kept_out))
    notes.append(", ".join(f"{len(parts[name]):,} {name}" for name in PARTS) + f", {len(unlabeled):,} unlabeled texts")
    return TextData(
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        unlabeled=unlabeled,
        labels=labels,
        fingerprint=_fingerprint(labels, parts, unlabeled),
        notes=tuple(notes),
    )


def _read(settings: DataSettings, kind: type[Task], metric: str | None) -> tuple[dict[str, list[Row]], list[str]]:
    """Return the rows that were given as training, validation and test data; a single source is training data."""
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
    if settings.source:
        pools["train"], dropped = _without_duplicates(pools["train"])
        notes += dropped
    return pools, notes + _remove_leaks(pools)


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


def _without_duplicates(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    first: dict[tuple[str, str | None], Row] = {}
    contradicting = 0
    for row in rows:
        contradicting += first.setdefault(row.key, row).label != row.label
    removed = len(rows) - len(first)
    but = f", {contradicting:,} of them with another label than the first" if contradicting else ""
    return list(first.values()), [
        f"left out {removed:,} of {len(rows):,} texts as exact duplicates{but}"
    ] if removed else []


def _remove_leaks(pools: dict[str, list[Row]]) -> list[str]:
    """Take out of each pool, in place, the texts that a later one has."""
    notes = []
    held_out: set[tuple[str, str | None]] = set()
    for name in ("test", "validation", "train"):
        rows = pools.get(name, [])
        kept = [row for row in rows if row.key not in held_out]
        if len(kept) < len(rows):
            others = " or ".join(other for other in ("validation", "test") if other in pools and other != name)
            notes.append(f"left out {len(rows) - len(kept):,} of {len(rows):,} {name} texts that {others} has too")
            pools[name] = kept
        held_out |= {row.key for row in rows}
    return notes


def _split(
    examples: Mapping[str, list[Example]],
    groups: Sequence[str],
    settings: SplitSettings,
    labels: Sequence[str],
    source: str,
) -> dict[str, tuple[Example, ...]]:
    """Draw from the training pool what was not given, and a sample of what was where a size is set."""
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
    else:
        parts = split(examples["train"], sizes, seed=settings.seed, labels=labels, source=source)
    for name in ("validation", "test"):
        if name in examples:
            parts[name] = _sample(examples[name], getattr(settings, name), settings.seed, labels, f"the {name} data")
    return parts


def _sample(
    examples: list[Example], amount: int | float | None, seed: int, labels: Sequence[str], source: str
) -> tuple[Example, ...]:
    if not examples:
        raise DataError(f"{source} has no usable rows")
    if amount is None:
        return tuple(examples)
    size = count_of(amount, len(examples))
    return split(examples, {"sample": size}, seed=seed, labels=labels, source=source)["sample"]


def _unlabeled(settings: DataSettings) -> tuple[list[str], list[str]]:
    table = tables(settings.unlabeled or "", part="train", whole=False)["train"]
    # The columns that are named are those of the labelled data; unlabeled texts often come without some of them.
    text, pair = (name if name in table.columns else None for name in (settings.text, settings.text_pair))
    columns = choose(table, text=text, text_pair=pair, label=None, labelled=False)
    texts, notes = plain_texts(table, columns)
    return texts, [*table.notes, *notes]


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
    content = [labels, *([astuple(example) for example in parts[name]] for name in PARTS), unlabeled]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
