from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.objectives.target import Target
from autoopt.objectives.timing.lengths import GROUPS, typical_lengths


def test_each_length_stands_for_a_tenth_of_the_texts() -> None:
    assert typical_lengths(range(1, 41)) == tuple(range(3, 41, 4))


def test_the_order_of_the_texts_does_not_matter_for_single_texts() -> None:
    assert typical_lengths([9, 3, 30] * 7) == typical_lengths([30] * 7 + [3] * 7 + [9] * 7)


def test_a_call_is_as_long_as_the_longest_text_of_its_batch() -> None:
    assert set(typical_lengths([4, 20] * 40, batch_size=2)) == {20}
    assert set(typical_lengths([4] * 40 + [20] * 40, batch_size=2)) == {4, 20}


def test_texts_of_one_length_need_one_call() -> None:
    assert typical_lengths([64] * 100) == (64,)


def test_no_texts_have_no_lengths() -> None:
    with pytest.raises(ValueError, match="at least one text"):
        typical_lengths([])


@given(st.lists(st.integers(1, 512), min_size=1, max_size=300), st.integers(1, 8))
def test_the_lengths_are_some_of_the_texts_own_and_their_mean_is_near(tokens: list[int], batch_size: int) -> None:
    lengths = typical_lengths(tokens, batch_size=batch_size)
    assert len(lengths) in (1, GROUPS)
    assert set(lengths) <= set(tokens)
    assert list(lengths) == sorted(lengths)
    if batch_size == 1:
        spread = max(tokens) - min(tokens)
        # Each group's middle is off by at most the width of the group, and the widths add up to the spread.
        assert abs(sum(lengths) / len(lengths) - sum(tokens) / len(tokens)) <= spread / min(GROUPS, len(tokens)) + 1e-9


def test_other_lengths_are_another_target_on_disk_and_the_fixed_one_keeps_its_name() -> None:
    fixed = Target(batch_size=8, sequence_length=64)
    assert fixed.slug == "cpu-threads1-batch8-length64"
    assert fixed.call_lengths == (64,)
    mixed = fixed.with_lengths((8, 64))
    assert mixed.call_lengths == (8, 64)
    assert len({fixed.slug, mixed.slug, fixed.with_lengths((8, 65)).slug}) == 3
    assert Target.from_json(mixed.to_json()) == mixed
