from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.objectives.data.splits import REST, apportion, example_count, stratified_split
from autoopt.strategies.candidate import Example
from autoopt.strategies.errors import DataError

COUNTS = st.lists(st.integers(3, 60), min_size=2, max_size=6)


def examples(counts: list[int]) -> list[Example]:
    return [Example(f"text {label} {number}", label) for label, count in enumerate(counts) for number in range(count)]


def names(counts: list[int]) -> list[str]:
    return [f"class {label}" for label in range(len(counts))]


@given(COUNTS, st.data())
def test_splits_are_disjoint_exact_stratified_and_repeatable(counts: list[int], data: st.DataObject) -> None:
    total, classes = sum(counts), len(counts)
    validation = data.draw(st.integers(classes, total - 2 * classes))
    test = data.draw(st.integers(classes, total - validation - classes))
    train = data.draw(st.integers(classes, total - validation - test))
    sizes = {"train": train, "validation": validation, "test": test}
    splits = stratified_split(examples(counts), sizes, seed=3, labels=names(counts), source="x")
    assert {name: len(splits[name]) for name in sizes} == sizes
    assert Counter(e.text for part in splits.values() for e in part) == Counter(e.text for e in examples(counts))
    for name, size in sizes.items():
        class_sizes = Counter(example.label for example in splits[name])
        for label, count in enumerate(counts):
            assert class_sizes[label] >= 1
            assert abs(class_sizes[label] - size * count / total) <= classes + 2
    shuffled = examples(counts)
    random.Random(1).shuffle(shuffled)
    assert stratified_split(shuffled, sizes, seed=3, labels=names(counts), source="x") == splits


def test_large_classes_are_in_each_split_to_within_two_of_their_proportion() -> None:
    counts = [510, 386, 417, 511, 401]
    splits = stratified_split(
        examples(counts), {"train": 300, "validation": 400, "test": 600}, seed=0, labels=names(counts), source="x"
    )
    for part in ("train", "validation", "test"):
        class_sizes = Counter(example.label for example in splits[part])
        for label, count in enumerate(counts):
            assert abs(class_sizes[label] - len(splits[part]) * count / sum(counts)) < 2


def test_another_seed_draws_other_examples() -> None:
    first, second = (
        stratified_split(examples([50, 50]), {"train": 20}, seed=seed, labels=names([1, 1]), source="x")
        for seed in (0, 1)
    )
    assert set(first["train"]) != set(second["train"])
    assert len(first[REST]) == 80


def test_the_classes_are_mixed_within_a_split() -> None:
    splits = stratified_split(examples([100, 100]), {"train": 200}, seed=0, labels=names([1, 1]), source="x")
    assert 60 < sum(a.label != b.label for a, b in zip(splits["train"], splits["train"][1:], strict=False)) < 140


@given(COUNTS, st.integers(0, 2), st.data())
def test_shares_add_up_and_leave_what_is_to_be_spared(counts: list[int], spare: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(len(counts), sum(counts) - spare * len(counts)))
    shares = apportion(dict(enumerate(counts)), size, spare=spare)
    assert sum(shares.values()) == size
    assert all(1 <= shares[label] <= count - spare for label, count in enumerate(counts))


@pytest.mark.parametrize(("amount", "count"), [(30, 30), (0.15, 150), (0.00001, 1), (1, 1)])
def test_a_size_is_a_number_or_a_share(amount: int | float, count: int) -> None:
    assert example_count(amount, 1000) == count


@pytest.mark.parametrize(
    ("counts", "sizes", "message"),
    [
        (
            [10, 10],
            {"train": 10, "test": 11},
            "x has 20 usable examples, and the split asks for 10 train \\+ 11 test = 21",
        ),
        (
            [10, 1],
            {"train": 5, "test": 5},
            "1 example of the class 'class 1', too few for test, train to have one each",
        ),
        (
            [10, 10, 10],
            {"train": 9, "test": 2},
            "3 classes, and the test split of 2 .*raise data.split.test to 3 or more",
        ),
    ],
)
def test_a_split_that_cannot_be_is_refused(counts: list[int], sizes: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        stratified_split(examples(counts), sizes, seed=0, labels=names(counts), source="x")
