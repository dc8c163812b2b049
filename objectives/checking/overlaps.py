"""Texts that occur more than once: within a pool of rows, in two pools, or with two labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autoopt.objectives.data.rows import RawLabel, Row

HELD_OUT = ("validation", "test")
_ADJECTIVES = {"train": "training"}


def data_noun(part: str) -> str:
    """Return ``training data``, ``validation data`` or ``test data``."""
    return f"{_ADJECTIVES.get(part, part)} data"


def drop_duplicates(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Return the first row of each text, and a note on the rows left out."""
    first: dict[tuple[str, str | None], Row] = {}
    conflicting = 0
    for row in rows:
        conflicting += first.setdefault(row.key, row).label != row.label
    removed = len(rows) - len(first)
    detail = f", {conflicting:,} of them with another label than the first" if conflicting else ""
    notes = [f"left out {removed:,} of {len(rows):,} texts as exact duplicates{detail}"] if removed else []
    return list(first.values()), notes


def conflict_warnings(pools: Mapping[str, Sequence[Row]]) -> list[str]:
    """Return a warning for each pool in which a text has different labels."""
    return [
        f"{len(rows):,} {'text stands' if len(rows) == 1 else 'texts stand'} in the {_ADJECTIVES.get(name, name)} data "
        f"with different labels, the first again at {rows[0].place}"
        for name, pool in pools.items()
        if (rows := _conflicting_rows(pool))
    ]


def remove_leaks(pools: dict[str, list[Row]]) -> list[str]:
    """Remove from each pool, in place, the texts of the pools held out from it; return warnings."""
    warnings = []
    held_out: set[tuple[str, str | None]] = set()
    for name in ("test", "validation", "train"):
        rows = pools.get(name, [])
        unseen = [row for row in rows if row.key not in held_out]
        if removed := len(rows) - len(unseen):
            others = " or ".join(other for other in HELD_OUT if other in pools and other != name)
            warnings.append(
                f"{removed:,} of {len(rows):,} {_ADJECTIVES.get(name, name)} texts {_occur(removed)} in {others} "
                f"and {'was' if removed == 1 else 'were'} left out"
            )
            pools[name] = unseen
        held_out |= {row.key for row in rows}
    return warnings


def shared_context_warnings(pools: Mapping[str, Sequence[Row]]) -> list[str]:
    """Return a warning if questions of held-out pools are about contexts of the training data; these stay."""
    contexts = {name: {row.text_pair for row in rows if _is_question(row)} for name, rows in pools.items()}
    training = contexts.pop("train", set())
    shared = training & set().union(*contexts.values())
    if not shared:
        return []
    others = " or ".join(name for name in HELD_OUT if training & contexts.get(name, set()))
    count = f"{len(shared):,} of {len(training):,} contexts of the training data {_occur(len(shared))}"
    return [f"{count} in {others} too, with other questions; scores there are better than on contexts that are new"]


def _is_question(row: Row) -> bool:
    return bool(row.group and row.text_pair) and isinstance(row.label, tuple)


def _conflicting_rows(rows: Sequence[Row]) -> list[Row]:
    """Return for each text with several labels the first row whose label is not that of the first."""
    labels: dict[tuple[str, str | None], RawLabel] = {}
    conflicting: dict[tuple[str, str | None], Row] = {}
    for row in rows:
        if labels.setdefault(row.key, row.label) != row.label:
            conflicting.setdefault(row.key, row)
    return list(conflicting.values())


def _occur(number: int) -> str:
    return "occurs" if number == 1 else "occur"
