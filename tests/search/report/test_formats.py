from __future__ import annotations

from dataclasses import replace

import pytest

from autoopt.objectives.cost import Role
from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.scoring.bootstrap import Difference
from autoopt.search.report.formats import (
    NOT_MEASURED,
    describe_gap,
    format_clock,
    format_count,
    format_difference,
    format_further_costs,
    format_latency,
    format_measurement,
    format_percentage,
    format_quality,
    format_seconds,
    format_seeds,
    format_size,
    format_speedup,
    format_times_smaller,
    format_violations,
)
from autoopt.search.study.evidence import Gap, Seeds, Spread
from tests.search.samples import measured, quality, record, verified


def latency(value: float, low: float, high: float, *, noisy: bool = False) -> Measurement:
    return Measurement(
        name="latency_p50",
        value=value,
        unit="ms",
        direction=Direction.MINIMIZE,
        low=low,
        high=high,
        samples=9,
        noisy=noisy,
    )


def test_a_quality_is_a_percentage_with_its_interval() -> None:
    assert format_percentage(quality(0.9652, 0.948, 0.98)) == "96.5 % [94.8, 98.0]"


def test_a_latency_has_its_unit_once_and_as_many_decimals_as_it_needs() -> None:
    assert format_latency(latency(7.41, 7.2, 7.58)) == "7.4 ms [7.2, 7.6]"
    assert format_latency(latency(0.412, 0.4, 0.43)) == "0.41 ms [0.40, 0.43]"
    assert format_latency(latency(312.4, 300, 320)) == "312 ms [300, 320]"


def test_a_latency_of_a_busy_machine_says_so() -> None:
    assert format_latency(latency(7.4, 7.2, 7.6, noisy=True)) == "7.4 ms [7.2, 7.6] (noisy)"
    by_processor = replace(latency(7.4, 7.2, 7.6), by_processor=True)
    assert format_latency(by_processor) == "7.4 ms [7.2, 7.6] (processor time)"
    assert format_latency(replace(by_processor, noisy=True)) == "7.4 ms [7.2, 7.6] (noisy)"


def test_a_ratio_below_one_is_shown_as_times_faster_with_its_ends_swapped() -> None:
    ratio = replace(measured(0.9, 0.25)["latency_ratio"], low=0.2381, high=0.2564)
    assert format_speedup(ratio) == "4.0x [3.9, 4.2]"


@pytest.mark.parametrize(
    ("size", "shown"), [(52_080_000, "52.1 MB"), (1_234_000_000, "1.2 GB"), (999, "999 B"), (4_200, "4.2 kB")]
)
def test_a_size_is_in_the_unit_that_fits(size: float, shown: str) -> None:
    assert format_size(Measurement.exact("size", size, "B", Direction.MINIMIZE)) == shown


def cost(name: str, value: float, unit: str, *, noisy: bool = False) -> Measurement:
    exact = Measurement.exact(name, value, unit, Direction.MINIMIZE)
    return replace(exact, low=0.9 * value, high=1.1 * value, noisy=noisy)


def test_memory_is_shown_as_a_size_and_what_has_an_interval_with_it() -> None:
    assert format_measurement(Measurement.exact("memory", 143_200_000, "bytes", Direction.MINIMIZE)) == "143.2 MB"
    assert format_measurement(cost("throughput", 33.6, "examples/s")) == "33.6 examples/s [30.24, 36.96]"
    assert format_measurement(cost("energy", 0.5, "J", noisy=True)) == "0.5 J [0.45, 0.55] (noisy)"


def test_what_was_asked_for_beside_the_median_latency_is_shown_and_nothing_else() -> None:
    assert format_further_costs(measured(0.9, 0.25), roles=set(Role)) == []
    further = {
        "throughput": cost("throughput", 100, "examples/s"),
        "energy": cost("energy", 0.5, "J"),
        "latency_p99": latency(12, 11, 13),
        "latency_single": latency(3, 2, 4),
    }
    assert format_further_costs({**measured(0.9, 0.25), **further}, roles={Role.SPEED, Role.OTHER}) == [
        "0.5 J [0.45, 0.55]",
        "p99 12.0 ms [11.0, 13.0]",
        "one example 3.0 ms [2.0, 4.0]",
        "100 examples/s [90, 110]",
    ]


@pytest.mark.parametrize(
    ("difference", "shown"),
    [
        (Difference(0.0031, -0.0079, 0.0141, 0.62), "+0.3 points [-0.8, 1.4] to the baseline (p = 0.62)"),
        (Difference(-0.042, -0.06, -0.02, 1 / 1001), "-4.2 points [-6.0, -2.0] to the baseline (p = 0.001)"),
        (Difference(0.0, 0.0, 0.0, 1.0), "+0.0 points [0.0, 0.0] to the baseline (p = 1)"),
        (Difference(-0.0001, -0.0002, -0.0, 0.049), "+0.0 points [0.0, 0.0] to the baseline (p = 0.049)"),
    ],
)
def test_a_difference_to_the_baseline_is_in_points_with_its_sign_its_interval_and_its_p_value(
    difference: Difference, shown: str
) -> None:
    assert " ".join(format_difference(difference)) == shown


def test_seeds_are_a_mean_and_a_deviation_and_say_how_many_failed() -> None:
    quality, test = Spread((0.96, 0.965, 0.955)), Spread((0.95, 0.96, 0.94))
    assert format_seeds(Seeds((0, 1, 2), quality, test)) == ("3 seeds: 96.0 ± 0.5 %", "test 95.0 ± 1.0 %")
    alone = Seeds((0,), Spread((0.96,)), Spread((0.95,)), {1: "Diverged", 2: "Diverged"})
    assert format_seeds(alone) == ("1 seed, 2 failed: 96.0 ± 0.0 %", "test 95.0 ± 0.0 %")


def test_measurements_of_difference_and_seeds_are_shown_without_an_interval_that_they_do_not_have() -> None:
    seeds = Seeds((0, 1), Spread((0.96, 0.94)), Spread((0.95, 0.93)))
    measured = verified(record(), difference=Difference(0.0031, -0.0079, 0.0141, 0.62), seeds=seeds).measurements
    shown = {name: format_measurement(item) for name, item in measured.items() if name not in record().measurements}
    assert shown == {
        "test_quality": "95.5 % [94.0, 97.0]",
        "test_quality_difference": "+0.3 points [-0.8, 1.4]",
        "test_quality_p_value": "0.62",
        "quality_mean_of_seeds": "95.0 %",
        "quality_deviation_of_seeds": "1.4 %",
        "test_quality_mean_of_seeds": "94.0 %",
        "test_quality_deviation_of_seeds": "1.4 %",
    }


def test_a_gap_that_is_explained_is_not_spoken_of() -> None:
    assert describe_gap(None, None) == ""
    assert describe_gap(Gap(0.03, -0.001, 0.06), None) == ""


SELECTION = "too many models were compared on the same validation data"
SPLITS = "the two splits differ"


@pytest.mark.parametrize(
    ("model", "baseline", "distance", "cause"),
    [
        (Gap(0.031, 0.012, 0.06), None, "3.1 points above test", SELECTION),
        (
            Gap(0.031, 0.012, 0.06),
            Gap(0.01, -0.01, 0.03),
            "3.1 points above test (1.0 points above for the baseline)",
            SELECTION,
        ),
        (
            Gap(0.116, 0.03, 0.2),
            Gap(0.058, -0.01, 0.12),
            "11.6 points above test (5.8 points above for the baseline)",
            SPLITS,
        ),
        (
            Gap(0.2, 0.1, 0.3),
            Gap(0.058, 0.01, 0.12),
            "20.0 points above test (5.8 points above for the baseline)",
            SELECTION,
        ),
        (
            Gap(0.05, 0.01, 0.09),
            Gap(-0.01, -0.03, 0.01),
            "5.0 points above test (1.0 points below for the baseline)",
            SELECTION,
        ),
        (Gap(-0.05, -0.09, -0.01), None, "5.0 points below test", SPLITS),
        (
            Gap(-0.05, -0.09, -0.01),
            Gap(-0.2, -0.3, -0.1),
            "5.0 points below test (20.0 points below for the baseline)",
            SPLITS,
        ),
    ],
)
def test_selection_is_blamed_only_for_more_than_the_baseline_differs_by(
    model: Gap, baseline: Gap | None, distance: str, cause: str
) -> None:
    assert describe_gap(model, baseline) == f"validation is {distance}, more than the intervals explain: {cause}"


def test_what_was_not_measured_is_a_dash() -> None:
    for show in (format_percentage, format_latency, format_speedup, format_size, format_measurement):
        assert show(None) == "-"
    assert format_times_smaller(None, None) == "-"


def test_any_measurement_is_shown_in_the_way_that_fits_it() -> None:
    formatted = {name: format_measurement(item) for name, item in measured(0.9, 0.5).items()}
    assert formatted == {
        "quality": "90.0 % [88.0, 91.0]",
        "latency_p50": "15.0 ms [14.5, 15.5]",
        "latency_ratio": "2.0x [1.9, 2.1]",
        "size": "60.0 MB",
    }
    count = Measurement.exact("parameters", 22_713_216, "", Direction.MINIMIZE)
    assert format_measurement(count) == "22,713,216"


def test_a_small_quality_has_two_decimals_and_its_perplexity_beside_it() -> None:
    small = quality(0.04298, 0.0364, 0.0497)
    perplexity = replace(small, name="perplexity", value=23.267, low=20.1, high=27.5, direction=Direction.MINIMIZE)
    assert format_percentage(small) == "4.30 % [3.64, 4.97]"
    both = {"quality": small, "perplexity": perplexity}
    assert format_quality(both) == "4.30 % [3.64, 4.97], perplexity 23.3"
    assert format_quality({f"test_{name}": item for name, item in both.items()}, prefix="test_") == format_quality(both)
    assert format_quality({"perplexity": perplexity}) == NOT_MEASURED
    assert format_measurement(perplexity) == "23.27"
    assert format_measurement(replace(small, name="bits_per_byte", unit="bits", value=0.912)) == "0.912 bits"


def test_an_excess_names_the_limit_and_the_distance() -> None:
    violations = {"latency_p50 <= 8ms": 0.123, "quality >= 0.9": -0.02, "size <= 9MB": 0.004}
    assert format_violations(violations) == "latency_p50 <= 8ms by 12 %, size <= 9MB by 0.4 %"


def test_times_are_shown_as_on_a_clock() -> None:
    assert [format_clock(seconds) for seconds in (0.2, 42, 192, 3725)] == ["0:00", "0:42", "3:12", "1:02:05"]
    assert [format_seconds(seconds) for seconds in (0.42, 38.2, 192)] == ["0.4 s", "38 s", "3:12"]


@pytest.mark.parametrize(("count", "text"), [(0, "0 trials"), (1, "1 trial"), (2, "2 trials")])
def test_a_single_thing_has_no_plural(count: int, text: str) -> None:
    assert format_count(count, "trial") == text
