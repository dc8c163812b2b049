import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as some

from autoopt.objectives.timing.percentiles import MIN_SAMPLES_P95, MIN_SAMPLES_P99, median_interval, p95, p99

numbers = some.floats(min_value=-1e6, max_value=1e6)


def test_the_interval_of_a_median_ends_at_the_ranks_of_the_published_table() -> None:
    assert median_interval(range(1, 7)) == (1, 6)
    assert median_interval(range(1, 17)) == (4, 13)
    assert median_interval(range(1, 51)) == (18, 33)


@given(some.lists(numbers, min_size=1, max_size=60), some.randoms())
def test_the_interval_holds_the_median_whatever_the_order(values: list[float], shuffler: random.Random) -> None:
    low, high = median_interval(values)
    assert low <= statistics.median(values) <= high
    shuffled = shuffler.sample(values, len(values))
    assert median_interval(shuffled) == (low, high)


def test_the_interval_covers_the_true_median_in_at_least_95_of_100_cases() -> None:
    chance = random.Random(0)
    intervals = [median_interval([chance.lognormvariate(0, 1) for _ in range(16)]) for _ in range(2000)]
    covered = sum(low <= 1 <= high for low, high in intervals) / len(intervals)
    assert 0.95 <= covered <= 0.99


@pytest.mark.parametrize(("share", "enough"), [(0.95, MIN_SAMPLES_P95), (0.99, MIN_SAMPLES_P99)])
def test_a_percentile_is_given_from_the_first_count_that_has_two_samples_beyond_it(share: float, enough: int) -> None:
    def at_most_one_beyond(count: int) -> float:
        return math.fsum(math.comb(count, k) * (1 - share) ** k * share ** (count - k) for k in (0, 1))

    assert at_most_one_beyond(enough) <= 0.01 < at_most_one_beyond(enough - 1)


def test_a_percentile_of_too_few_values_is_absent() -> None:
    assert p95(range(129)) is None
    assert p95(range(1, 131)) == 124
    assert p99(range(661)) is None
    assert p99(range(1, 663)) == 656
