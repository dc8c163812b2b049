"""Labelled text, read, checked and split into training, validation and test examples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

from autoopt.objectives.columns import Columns, choose
from autoopt.objectives.data_settings import DataSettings, SplitSettings
from autoopt.objectives.labelled import Row, class_names, labelled_rows, plain_texts, to_examples
from autoopt.objectives.sources import tables
from autoopt.objectives.splits import REST, count_of, split
from autoopt.strategies.candidate import Example
from autoopt.strategies.errors import DataError

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
    """The names of the classes; an example's ``label`` is a place in it."""
    fingerprint: str
    """Sixteen hexadecimal digits of the sha256 of all of it."""
    notes: tuple[str, ...]
    """What was chosen and what was left out, for people to read."""


def load_text_data(settings: DataSettings) -> TextData:
    """Read, check and split the data. Raises ``DataError``, which names the place and the remedy.

    Texts that are blank are left out, and so are exact duplicates in a single source and training texts that occur in
    validation or test; ``notes`` counts them.
    """
    pools, columns, notes = _read(settings)
    training = pools["train"]
    source = settings.source or settings.train or ""
    labels = class_names(training, source=source, column=columns.label or "")
    notes += _look_alikes(labels)
    examples = {name: to_examples(rows, labels, source=name, trained_on=f"of {source}") for name, rows in pools.items()}
    parts = _split(examples, settings.split, labels, source)
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


def _read(settings: DataSettings) -> tuple[dict[str, list[Row]], Columns, list[str]]:
    """Return the rows that were given as training, validation and test data; a single source is training data."""
    given = {"train": settings.source or settings.train, "validation": settings.validation, "test": settings.test}
    found = {
        part: table
        for name, address in given.items()
        if address
        for part, table in tables(address, part=name, whole=bool(settings.source)).items()
    }
    pools, notes = {}, []
    columns = None
    for name in (name for name in PARTS if name in found):
        columns = choose(found[name], text=settings.text, text_pair=settings.text_pair, label=settings.label)
        pools[name], dropped = labelled_rows(found[name], columns)
        notes += [*found[name].notes, *dropped]
    if columns is None:
        raise DataError("there is no training data")
    pair = f" and '{columns.text_pair}'" if columns.text_pair else ""
    notes.insert(0, f"texts from the column '{columns.text}'{pair}, labels from '{columns.label}'")
    if settings.source:
        pools["train"], dropped = _without_duplicates(pools["train"])
        notes += dropped
    return pools, columns, notes + _remove_leaks(pools)


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
    examples: Mapping[str, list[Example]], settings: SplitSettings, labels: Sequence[str], source: str
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
