"""Checks of the classes: too many, too rare to be in every split, or in some of the data only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from autoopt.objectives.checking.overlaps import data_noun
from autoopt.objectives.data.rows import LeftOut, Row, names_of
from autoopt.objectives.tables.bad_rows import SHOWN
from autoopt.strategies.errors import DataError, did_you_mean


def check_class_count(labels: Sequence[str], rows: int, *, limit: int, source: str) -> None:
    """Raise ``DataError`` if there are more classes than ``data.max_classes`` allows."""
    if len(labels) > limit:
        raise DataError(
            f"{source} has {len(labels):,} different classes in {rows:,} rows, and data.max_classes allows {limit:,}; "
            f"if they are classes, write 'max_classes: {len(labels)}' under data, else choose another column with "
            "data.label"
        )


def check_same_classes(pools: Mapping[str, Sequence[Row]], labels: Sequence[str], *, source: str) -> list[str]:
    """Return a warning for each pool that lacks classes of the training data.

    Raises ``DataError`` with all classes that the training data lacks.
    """
    known = set(labels)
    problems, warnings = [], []
    for part, rows in pools.items():
        counts = Counter(name for row in rows for name in set(names_of(row.label)))
        places = {name: row.place for row in reversed(rows) for name in names_of(row.label) if name not in known}
        problems += [
            f"{places[name]}: the class '{name}' ({counts[name]:,} rows of {part}) does not occur in the training data "
            f"of {source}{did_you_mean(name, labels)}"
            for name in sorted(places, key=lambda name: -counts[name])
        ]
        lacking = [name for name in labels if counts and name not in counts]
        if part != "train" and lacking:
            warnings.append(f"the {data_noun(part)} lacks {_classes(lacking)} of the training data")
    if problems:
        more = [f"and {len(problems) - SHOWN:,} more classes"] if len(problems) > SHOWN else []
        *before, last = [*problems[:SHOWN], *more]
        raise DataError("\n".join([*before, f"{last}; add training examples of them, or remove these rows"]))
    return warnings


def rare_classes(rows: Sequence[Row], *, splits: int) -> dict[str, int]:
    """Return the number of examples of each class that has fewer than ``splits``, the commonest first."""
    counts = Counter(row.label for row in rows if isinstance(row.label, str))
    return {name: count for name, count in counts.most_common() if count < splits}


def drop_rare(pools: dict[str, list[Row]], rare: Mapping[str, int]) -> tuple[list[LeftOut], list[str]]:
    """Remove the rows of rare classes from all pools, in place; return what was left out, and a warning."""
    left_out = []
    for part, rows in pools.items():
        pools[part] = [row for row in rows if row.label not in rare]
        removed = len(rows) - len(pools[part])
        left_out.append(LeftOut("rare class", removed, [row.place for row in rows if row.label in rare][:1], part))
    total = sum(item.rows for item in left_out)
    return left_out, [f"left out {total:,} rows of {_classes(list(rare))}, too rare to be in each split (data.rare)"]


def keep_warning(rare: Mapping[str, int]) -> str:
    """Return the warning that rare classes are trained and not scored."""
    return (
        f"all {sum(rare.values()):,} examples of {_classes(list(rare))} are in training and none is scored (data.rare)"
    )


def _classes(names: Sequence[str]) -> str:
    listed = ", ".join(f"'{name}'" for name in names[:SHOWN])
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"{'the class' if len(names) == 1 else f'{len(names):,} classes:'} {listed}{more}"
