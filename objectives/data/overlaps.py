"""Texts that stand in the data more than once: in one pool, in two of them, with two labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autoopt.objectives.data.rows import RawLabel, Row

HELD_OUT = ("validation", "test")
_SPOKEN = {"train": "training"}


def without_duplicates(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Return the first row of each text, and a note on how many were left out."""
    first: dict[tuple[str, str | None], Row] = {}
    contradicting = 0
    for row in rows:
        contradicting += first.setdefault(row.key, row).label != row.label
    removed = len(rows) - len(first)
    but = f", {contradicting:,} of them with another label than the first" if contradicting else ""
    return list(first.values()), [
        f"left out {removed:,} of {len(rows):,} texts as exact duplicates{but}"
    ] if removed else []


def conflicts(pools: Mapping[str, Sequence[Row]]) -> list[str]:
    """Warn of texts that one pool has with different labels: nobody can be right about them."""
    return [
        f"{len(found):,} {'text stands' if len(found) == 1 else 'texts stand'} in the {_SPOKEN.get(name, name)} data "
        f"with different labels, the first again at {found[0].place}"
        for name, rows in pools.items()
        if (found := _contradicted(rows))
    ]


def remove_leaks(pools: dict[str, list[Row]]) -> list[str]:
    """Take out of each pool, in place, the texts that a later one has, and warn of them."""
    warnings = []
    held_out: set[tuple[str, str | None]] = set()
    for name in ("test", "validation", "train"):
        rows = pools.get(name, [])
        kept = [row for row in rows if row.key not in held_out]
        if removed := len(rows) - len(kept):
            others = " or ".join(other for other in HELD_OUT if other in pools and other != name)
            warnings.append(
                f"{removed:,} of {len(rows):,} {_SPOKEN.get(name, name)} texts {_occur(removed)} in {others} "
                f"and {'was' if removed == 1 else 'were'} left out"
            )
            pools[name] = kept
        held_out |= {row.key for row in rows}
    return warnings


def shared_contexts(pools: Mapping[str, Sequence[Row]]) -> list[str]:
    """Warn of contexts that questions of training and of a given other split are about; they are kept."""
    contexts = {name: {row.text_pair for row in rows if _is_question(row)} for name, rows in pools.items()}
    trained_on = contexts.pop("train", set())
    shared = trained_on & set().union(*contexts.values())
    if not shared:
        return []
    others = " or ".join(name for name in HELD_OUT if trained_on & contexts.get(name, set()))
    count = f"{len(shared):,} of {len(trained_on):,} contexts of the training data {_occur(len(shared))}"
    return [f"{count} in {others} too, with other questions; scores there are better than on contexts that are new"]


def _is_question(row: Row) -> bool:
    return bool(row.group and row.text_pair) and isinstance(row.label, tuple)


def _contradicted(rows: Sequence[Row]) -> list[Row]:
    """The second row of each text that has another label than the first."""
    first: dict[tuple[str, str | None], RawLabel] = {}
    found: dict[tuple[str, str | None], Row] = {}
    for row in rows:
        if first.setdefault(row.key, row.label) != row.label:
            found.setdefault(row.key, row)
    return list(found.values())


def _occur(number: int) -> str:
    return "occurs" if number == 1 else "occur"
