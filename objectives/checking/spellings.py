"""Spellings of one class: ``1`` and ``1.0``, ``true`` and ``True``, composed and decomposed accents."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from autoopt.objectives.data.rows import RawLabel, Row, names_of

_WHOLE = re.compile(r"([+-]?\d+)\.0+")
_TRUTH_VALUES = frozenset({"true", "false"})


def unify_spellings(pools: dict[str, list[Row]]) -> list[str]:
    """Rename classes, in place, to the commonest spelling in the training data; return a note on those renamed."""
    counts = Counter(name for row in pools["train"] for name in names_of(row.label))
    later = (name for rows in pools.values() for row in rows for name in names_of(row.label) if name not in counts)
    spellings: dict[str, str] = {}
    renamed: dict[str, str] = {}
    for name in [*sorted(counts, key=lambda name: (-counts[name], name)), *dict.fromkeys(later)]:
        chosen = spellings.setdefault(_key(name), name)
        if chosen != name:
            renamed[name] = chosen
    if not renamed:
        return []
    for part, rows in pools.items():
        pools[part] = [replace(row, label=_renamed(row.label, renamed)) for row in rows]
    listed = ", ".join(f"'{name}' as '{chosen}'" for name, chosen in sorted(renamed.items())[:10])
    return [f"classes that are written in several ways are read as one: {listed}"]


def _key(name: str) -> str:
    """Return what all spellings of a class have in common."""
    text = unicodedata.normalize("NFC", name)
    if whole := _WHOLE.fullmatch(text):
        text = whole[1]
    return text.lower() if text.lower() in _TRUTH_VALUES else text


def _renamed(label: RawLabel, renamed: Mapping[str, str]) -> RawLabel:
    if isinstance(label, str):
        return renamed.get(label, label)
    if isinstance(label, tuple):
        names: Sequence[object] = [renamed.get(part, part) if isinstance(part, str) else part for part in label]
        return tuple(names)  # type: ignore[return-value]
    return label
