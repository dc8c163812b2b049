"""Rows of the data before they are split: read from each source, checked, and without repetitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from autoopt.objectives.checking.overlaps import (
    conflict_warnings,
    data_noun,
    drop_duplicates,
    remove_leaks,
    shared_context_warnings,
)
from autoopt.objectives.checking.spellings import unify_spellings
from autoopt.objectives.data.rows import LeftOut, Reading, Row
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.sources import read_source
from autoopt.objectives.tables.bad_rows import check_bad_rows, first_problems
from autoopt.objectives.tables.table import Table
from autoopt.objectives.task import Task
from autoopt.strategies.errors import DataError

PARTS = ("train", "validation", "test")


@dataclass
class Pools:
    """Rows given as training, validation and test data; a single source is training data."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    sources: dict[str, int] = field(default_factory=dict)
    """Number of rows read from each address."""


def read_pools(settings: DataSettings, task_type: type[Task], metric: str | None) -> Pools:
    """Read the sources, and leave out what cannot be used or occurs twice. Raises ``DataError``.

    Running text is not checked for repetitions.
    """
    pools = Pools()
    tables = _tables(settings, pools.sources)
    for name in (name for name in PARTS if name in tables):
        _add(pools, name, tables[name], settings, task_type, metric)
    if "train" not in pools.rows:
        raise DataError("there is no training data")
    if task_type.is_running_text(pools.rows["train"]):
        return pools
    pools.notes += unify_spellings(pools.rows)
    pools.warnings += conflict_warnings(pools.rows)
    if settings.source:
        before = len(pools.rows["train"])
        pools.rows["train"], duplicate_notes = drop_duplicates(pools.rows["train"])
        pools.notes += duplicate_notes
        pools.left_out.append(LeftOut("exact duplicate", before - len(pools.rows["train"]), part="train"))
    counts = {name: len(rows) for name, rows in pools.rows.items()}
    pools.warnings += remove_leaks(pools.rows)
    pools.left_out += [
        LeftOut("also in a later split", counts[name] - len(rows), part=name) for name, rows in pools.rows.items()
    ]
    pools.warnings += shared_context_warnings(pools.rows)
    return pools


def _tables(settings: DataSettings, sources: dict[str, int]) -> Mapping[str, Table]:
    """Return the table of each part. ``sources`` receives the number of rows read from each address."""
    addresses = {"train": settings.source or settings.train, "validation": settings.validation, "test": settings.test}
    tables: dict[str, Table] = {}
    for name, address in addresses.items():
        if address:
            read = read_source(address, part=name, whole=bool(settings.source))
            sources[address] = sources.get(address, 0) + sum(len(table.rows) for table in read.values())
            tables |= read
    return tables


def _add(
    pools: Pools, name: str, table: Table, settings: DataSettings, task_type: type[Task], metric: str | None
) -> None:
    """Add the rows of a table. Raises ``DataError`` if more of them than ``data.tolerate`` are bad."""
    total = len(table.rows) + len(table.bad_rows)
    check_bad_rows(table.bad_rows, total, tolerate=settings.tolerate, source=table.source)
    reading = task_type.read(table, settings, metric=metric, train_rows=pools.rows.get("train", ()))
    bad = (*table.bad_rows, *reading.bad_rows)
    check_bad_rows(bad, total, tolerate=settings.tolerate, source=table.source)
    if not reading.rows and bad:
        raise DataError(f"{table.source} has no row that can be used; {bad[0]}")
    pools.rows[name] = list(reading.rows)
    pools.notes += [*([reading.columns] if not pools.notes else []), *table.notes, *reading.notes]
    pools.warnings += [*table.warnings, *reading.warnings, *_bad_row_warnings(name, bad, total)]
    pools.left_out += [*_left_out(name, reading), LeftOut("cannot be read", len(bad), first_problems(bad), name)]


def _bad_row_warnings(part: str, bad: tuple[str, ...], total: int) -> list[str]:
    if not bad:
        return []
    more = f", and {len(bad) - 1:,} more" if len(bad) > 1 else ""
    return [f"left out {len(bad):,} of {total:,} rows of the {data_noun(part)} that cannot be used: {bad[0]}{more}"]


def _left_out(part: str, reading: Reading) -> list[LeftOut]:
    return [replace(item, part=part) for item in reading.left_out]
