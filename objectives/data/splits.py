"""Disjoint, seeded splits: stratified by class, of whole groups, or of consecutive texts."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from autoopt.strategies.candidate import Example
from autoopt.strategies.errors import DataError

REST = "rest"
"""Key of the examples that are in no split."""


def example_count(size: int | float, total: int) -> int:
    """Return the number of examples that a size means: itself, or a share of ``total``."""
    return size if isinstance(size, int) else max(1, round(size * total))


def shuffle_key(example: Example, seed: int) -> bytes:
    """Return a sort key that orders examples at random, by their content and the seed alone."""
    return _digest(f"{seed}\0{example.text}\0{example.text_pair or ''}\0{example.label}")


def stratified_split(
    examples: Sequence[Example], sizes: Mapping[str, int], *, seed: int, labels: Sequence[str], source: str
) -> dict[str, tuple[Example, ...]]:
    """Draw splits of exactly these sizes; the examples left over are under ``REST``.

    Each class is in each split, to within 2 of its proportion unless that is less than 1; examples without a single
    class are drawn at random. The split of an example depends on its content and the seed alone. Raises ``DataError``
    if there are too few examples in total or of a class.
    """
    by_class: dict[int, list[Example]] = defaultdict(list)
    for example in sorted(examples, key=lambda example: shuffle_key(example, seed)):
        by_class[example.label if isinstance(example.label, int) else 0].append(example)
    _check_sizes(by_class, sizes, labels, source, len(examples))
    remaining = {label: len(members) for label, members in sorted(by_class.items())}
    splits: dict[str, tuple[Example, ...]] = {}
    smallest_first = sorted(sizes, key=lambda name: sizes[name])
    for position, name in enumerate(smallest_first):
        counts = apportion(remaining, sizes[name], spare=len(smallest_first) - position - 1)
        splits[name] = _draw(by_class, counts, seed)
        remaining = {label: remaining[label] - counts[label] for label in remaining}
    splits[REST] = _draw(by_class, remaining, seed)
    return splits


def group_split(
    groups: Mapping[str, Sequence[Example]], sizes: Mapping[str, int], *, seed: int, source: str
) -> dict[str, tuple[Example, ...]]:
    """Draw splits of about these sizes from whole groups, so that no group is in two of them.

    Groups are added to a split in an order drawn from ``seed`` as long as that brings it nearer to its size; each split
    has at least one. The examples left over are under ``REST``. Raises ``DataError`` if there are fewer groups than
    splits, or too few examples.
    """
    _check_total(sizes, source, sum(map(len, groups.values())))
    if len(groups) < len(sizes):
        raise DataError(
            f"{source} has {len(groups)} groups of examples that belong together, too few for {' and '.join(sizes)} to "
            "have one each; give the splits as files of their own"
        )
    remaining = sorted(groups, key=lambda name: _digest(f"{seed}\0{name}"))
    splits: dict[str, tuple[Example, ...]] = {}
    smallest_first = sorted(sizes, key=lambda name: sizes[name])
    for position, name in enumerate(smallest_first):
        needed_later = len(smallest_first) - position - 1
        members = list(groups[remaining.pop(0)])
        while len(remaining) > needed_later:
            size = len(members) + len(groups[remaining[0]])
            if abs(size - sizes[name]) >= abs(len(members) - sizes[name]):
                break
            members += groups[remaining.pop(0)]
        splits[name] = tuple(members)
    splits[REST] = tuple(example for group in remaining for example in groups[group])
    return splits


def consecutive_split(
    examples: Sequence[Example], sizes: Mapping[str, int], *, source: str
) -> dict[str, tuple[Example, ...]]:
    """Cut running text into consecutive splits of exactly these sizes: training first, then validation, then test.

    The examples left over at the end are under ``REST``. Raises ``DataError`` if there are too few examples.
    """
    _check_total(sizes, source, len(examples))
    empty = next((name for name, size in sizes.items() if size < 1), None)
    if empty is not None:
        raise DataError(f"{source} has {len(examples):,} lines or texts, which leaves none for {empty}; give more")
    splits: dict[str, tuple[Example, ...]] = {}
    start = 0
    for name in sorted(sizes, key=("train", "validation", "test").index):
        splits[name] = tuple(examples[start : start + sizes[name]])
        start += sizes[name]
    splits[REST] = tuple(examples[start:])
    return splits


def apportion(available: Mapping[int, int], size: int, *, spare: int) -> dict[int, int]:
    """Divide ``size`` among classes in proportion to ``available``: at least 1 each, and ``spare`` left of each."""
    total = sum(available.values())
    ideal = {label: size * count / total for label, count in available.items()}
    limits = {label: count - spare for label, count in available.items()}
    counts = {label: min(limits[label], max(1, math.floor(share))) for label, share in ideal.items()}
    while (current := sum(counts.values())) != size:
        step = 1 if current < size else -1
        adjustable = [label for label in counts if (counts[label] < limits[label] if step > 0 else counts[label] > 1)]
        furthest = max(adjustable, key=lambda label: (step * (ideal[label] - counts[label]), -label))
        counts[furthest] += step
    return counts


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _draw(by_class: Mapping[int, list[Example]], counts: Mapping[int, int], seed: int) -> tuple[Example, ...]:
    """Remove the first examples of each class from ``by_class`` and return them, shuffled."""
    examples = []
    for label, count in counts.items():
        examples += by_class[label][:count]
        del by_class[label][:count]
    return tuple(sorted(examples, key=lambda example: shuffle_key(example, seed)))


def _check_total(sizes: Mapping[str, int], source: str, total: int) -> None:
    if sum(sizes.values()) > total:
        listed = " + ".join(f"{size:,} {name}" for name, size in sizes.items())
        raise DataError(
            f"{source} has {total:,} usable examples, and the split asks for {listed} = {sum(sizes.values()):,}; "
            "lower the numbers under data.split"
        )


def _check_sizes(
    by_class: Mapping[int, list[Example]], sizes: Mapping[str, int], labels: Sequence[str], source: str, total: int
) -> None:
    _check_total(sizes, source, total)
    rare = {label: len(members) for label, members in sorted(by_class.items()) if len(members) < len(sizes)}
    if rare:
        raise DataError(
            f"{source} has {_listed_classes(rare, labels)}, too few for {', '.join(sorted(sizes))} to have one each; "
            "add examples, or write 'rare: drop' under data to leave them out, or 'rare: keep' to train on them and "
            "never score them"
        )
    for name, size in sizes.items():
        if size < len(by_class):
            raise DataError(
                f"{source} has {len(by_class)} classes, and the {name} split of {size} cannot hold one example of "
                f"each; raise data.split.{name} to {len(by_class)} or more"
            )


def _listed_classes(counts: Mapping[int, int], labels: Sequence[str]) -> str:
    if not labels:
        return f"{sum(counts.values())} examples"
    (first, count), *others = list(counts.items())[:20]
    more = f" and {len(counts) - 20} more classes" if len(counts) > 20 else ""
    listed = "".join(f", {count} of '{labels[label]}'" for label, count in others)
    return f"{count} example{'s' * (count > 1)} of the class '{labels[first]}'{listed}{more}"
