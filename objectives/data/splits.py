"""Stratified, seeded splits: each class in each split in its proportion, whatever the order of the rows."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from autoopt.strategies.candidate import Example
from autoopt.strategies.errors import DataError

REST = "rest"
"""The name under which ``split`` returns what is in no split."""


def count_of(amount: int | float, total: int) -> int:
    """Return the number of examples that a size means, out of ``total``."""
    return amount if isinstance(amount, int) else max(1, round(amount * total))


def rank(example: Example, seed: int) -> bytes:
    """Where an example comes in the order that a seed draws: by what it says alone."""
    text = f"{seed}\0{example.text}\0{example.text_pair or ''}\0{example.label}"
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def split(
    examples: Sequence[Example], sizes: Mapping[str, int], *, seed: int, labels: Sequence[str], source: str
) -> dict[str, tuple[Example, ...]]:
    """Draw disjoint splits of exactly these sizes; what is left over is under ``REST``.

    Each class is in each split, to within 2 of its proportion unless that is less than 1; examples that have no single
    class are drawn at random. Which example goes where depends on what it says and the seed alone. Raises ``DataError``
    where there are too few examples in all or of a class.
    """
    by_label: dict[int, list[Example]] = defaultdict(list)
    for example in sorted(examples, key=lambda example: rank(example, seed)):
        by_label[_stratum(example)].append(example)
    _check(by_label, sizes, labels, source, len(examples))
    left = {label: len(members) for label, members in sorted(by_label.items())}
    result: dict[str, tuple[Example, ...]] = {}
    names = sorted(sizes, key=lambda name: sizes[name])
    for position, name in enumerate(names):
        later = len(names) - position - 1
        taken = apportion(left, sizes[name], spare=later)
        result[name] = _take(by_label, taken, seed)
        left = {label: left[label] - taken[label] for label in left}
    result[REST] = _take(by_label, left, seed)
    return result


def split_groups(
    groups: Mapping[str, Sequence[Example]], sizes: Mapping[str, int], *, seed: int, source: str
) -> dict[str, tuple[Example, ...]]:
    """Draw disjoint splits of about these sizes from whole groups, so that none is in two of them.

    A split takes groups in an order drawn from ``seed`` until it has its size, the last one only if that brings it
    nearer; each has one group at least. What is left over is under ``REST``. Raises ``DataError`` where there are fewer
    groups than splits, or too few examples.
    """
    total = sum(map(len, groups.values()))
    _check_total(sizes, source, total)
    if len(groups) < len(sizes):
        raise DataError(
            f"{source} has {len(groups)} groups of examples that belong together, too few for {' and '.join(sizes)} to "
            "have one each; give the splits as files of their own"
        )
    left = sorted(groups, key=lambda name: hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=16).digest())
    result: dict[str, tuple[Example, ...]] = {}
    names = sorted(sizes, key=lambda name: sizes[name])
    for position, name in enumerate(names):
        later = len(names) - position - 1
        taken = [left.pop(0)]
        count = len(groups[taken[0]])
        while len(left) > later and abs(count + len(groups[left[0]]) - sizes[name]) < abs(count - sizes[name]):
            count += len(groups[left[0]])
            taken.append(left.pop(0))
        result[name] = tuple(example for group in taken for example in groups[group])
    result[REST] = tuple(example for group in left for example in groups[group])
    return result


def stretches(examples: Sequence[Example], sizes: Mapping[str, int], *, source: str) -> dict[str, tuple[Example, ...]]:
    """Cut running text into stretches of exactly these sizes: training first, then validation, then test.

    What is left over at the end is under ``REST``. Raises ``DataError`` where there are too few examples in all.
    """
    _check_total(sizes, source, len(examples))
    empty = next((name for name, size in sizes.items() if size < 1), None)
    if empty is not None:
        raise DataError(f"{source} has {len(examples):,} lines or texts, which leaves none for {empty}; give more")
    result: dict[str, tuple[Example, ...]] = {}
    start = 0
    for name in sorted(sizes, key=("train", "validation", "test").index):
        result[name] = tuple(examples[start : start + sizes[name]])
        start += sizes[name]
    result[REST] = tuple(examples[start:])
    return result


def _stratum(example: Example) -> int:
    return example.label if isinstance(example.label, int) else 0


def apportion(counts: Mapping[int, int], size: int, *, spare: int) -> dict[int, int]:
    """Share ``size`` out in proportion to ``counts``: at least 1 of each, and ``spare`` of each left over."""
    total = sum(counts.values())
    ideal = {label: size * count / total for label, count in counts.items()}
    most = {label: count - spare for label, count in counts.items()}
    taken = {label: min(most[label], max(1, math.floor(share))) for label, share in ideal.items()}
    while (given := sum(taken.values())) != size:
        step = 1 if given < size else -1
        open_to = [label for label in taken if (taken[label] < most[label] if step > 0 else taken[label] > 1)]
        furthest = max(open_to, key=lambda label: (step * (ideal[label] - taken[label]), -label))
        taken[furthest] += step
    return taken


def _take(by_label: Mapping[int, list[Example]], taken: Mapping[int, int], seed: int) -> tuple[Example, ...]:
    chosen = []
    for label, number in taken.items():
        chosen += by_label[label][:number]
        del by_label[label][:number]
    return tuple(sorted(chosen, key=lambda example: rank(example, seed)))


def _check_total(sizes: Mapping[str, int], source: str, total: int) -> None:
    wanted = " + ".join(f"{size:,} {name}" for name, size in sizes.items())
    if sum(sizes.values()) > total:
        raise DataError(
            f"{source} has {total:,} usable examples, and the split asks for {wanted} = {sum(sizes.values()):,}; "
            "lower the numbers under data.split"
        )


def _check(
    by_label: Mapping[int, list[Example]], sizes: Mapping[str, int], labels: Sequence[str], source: str, total: int
) -> None:
    _check_total(sizes, source, total)
    for label, members in sorted(by_label.items()):
        if len(members) < len(sizes):
            raise DataError(
                f"{source} has {len(members)} examples{_of_class(labels, label)}, too few for "
                f"{' and '.join(sizes)} to have one each; add examples of it, or leave the class out"
            )
    for name, size in sizes.items():
        if size < len(by_label):
            raise DataError(
                f"{source} has {len(by_label)} classes, and the {name} split of {size} cannot hold one example of "
                f"each; raise data.split.{name} to {len(by_label)} or more"
            )


def _of_class(labels: Sequence[str], label: int) -> str:
    return f" of the class '{labels[label]}'" if label < len(labels) else ""
