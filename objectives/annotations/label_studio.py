"""Exports of Label Studio: the JSON of tasks with their annotations, and the shorter JSON_MIN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoopt.objectives.annotations.records import LABEL, SPANS, Converted, Record

CHOICES, LABELS, TAXONOMY = "choices", "labels", "taxonomy"
_SPAN_TYPES = (LABELS, "hypertextlabels")


def convert(records: Sequence[Record], places: Sequence[str]) -> Converted | None:
    """Return a record for each annotated task; None unless the records are tasks or have choices of Label Studio.

    Of several annotations of a task the first is taken. Tasks without any are left out with a warning.
    """
    if all(isinstance(record.get("data"), dict) and _annotations(record) is not None for record in records):
        return _from_tasks(records, places)
    several = {name for record in records for name, cell in record.items() if _is_choices(cell)}
    if not several:
        return None
    lists = [{name: _list(cell) if name in several else cell for name, cell in record.items()} for record in records]
    return Converted(lists, places)


def _from_tasks(records: Sequence[Record], places: Sequence[str]) -> Converted:
    kept, kept_places, several = [], [], 0
    names = {item.get("from_name") for record in records for item in _results(record) if item.get("type") == CHOICES}
    for record, place in zip(records, places, strict=True):
        valid = [item for item in _annotations(record) or () if not item.get("was_cancelled")]
        if valid and valid[0].get("result"):
            kept.append(_plain(record["data"], valid[0]["result"], is_single_question=len(names) < 2))
            kept_places.append(place)
            several += len(valid) > 1
    warnings = []
    if missing := len(records) - len(kept):
        warnings.append(f"left out {missing:,} of {len(records):,} tasks of Label Studio that have no annotation")
    if several:
        warnings.append(f"{several:,} of {len(records):,} tasks have several annotations; the first of each was taken")
    return Converted(kept, kept_places, warnings=tuple(warnings))


def _annotations(record: Record) -> list[dict[str, Any]] | None:
    items = record.get("annotations", record.get("completions"))
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else None


def _results(record: Record) -> list[dict[str, Any]]:
    return [item for annotation in _annotations(record) or () for item in annotation.get("result") or ()]


def _plain(data: Mapping[str, Any], result: Sequence[Mapping[str, Any]], *, is_single_question: bool) -> dict[str, Any]:
    plain = dict(data)
    for item in result:
        value, kind = item.get("value") or {}, item.get("type")
        name = LABEL if is_single_question else str(item.get("from_name"))
        if kind == CHOICES:
            plain[name] = list(value.get(CHOICES) or ())
        elif kind == TAXONOMY:
            plain[name] = ["/".join(path) for path in value.get(TAXONOMY) or ()]
        elif kind in _SPAN_TYPES:
            span = {key: value.get(key) for key in ("start", "end", "text")}
            plain.setdefault(SPANS, []).append({**span, LABELS: value.get(kind) or value.get(LABELS) or []})
    return plain


def _is_choices(cell: Any) -> bool:
    return isinstance(cell, dict) and list(cell) == [CHOICES] and isinstance(cell[CHOICES], list)


def _list(cell: Any) -> Any:
    """Return the choices of a question with several; a single one is written without a list."""
    if _is_choices(cell):
        return list(cell[CHOICES])
    return [cell] if isinstance(cell, str) else cell
