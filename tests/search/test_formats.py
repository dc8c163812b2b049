from __future__ import annotations

from dataclasses import replace

import pytest

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.search import formats
from tests.search.samples import measured, quality


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
    assert formats.share(quality(0.9652, 0.948, 0.98)) == "96.5 % [94.8, 98.0]"


def test_a_latency_has_its_unit_once_and_as_many_decimals_as_it_needs() -> None:
    assert formats.latency(latency(7.41, 7.2, 7.58)) == "7.4 ms [7.2, 7.6]"
    assert formats.latency(latency(0.412, 0.4, 0.43)) == "0.41 ms [0.40, 0.43]"
    assert formats.latency(latency(312.4, 300, 320)) == "312 ms [300, 320]"


def test_a_latency_of_a_busy_machine_says_so() -> None:
    assert formats.latency(latency(7.4, 7.2, 7.6, noisy=True)) == "7.4 ms [7.2, 7.6] (noisy)"


def test_a_ratio_below_one_is_shown_as_times_faster_with_its_ends_swapped() -> None:
    ratio = replace(measured(0.9, 0.25)["latency_ratio"], low=0.2381, high=0.2564)
    assert formats.speed(ratio) == "4.0x [3.9, 4.2]"


@pytest.mark.parametrize(
    ("size", "shown"), [(52_080_000, "52.1 MB"), (1_234_000_000, "1.2 GB"), (999, "999 B"), (4_200, "4.2 kB")]
)
def test_a_size_is_in_the_unit_that_fits(size: float, shown: str) -> None:
    assert formats.size(Measurement.exact("size", size, "B", Direction.MINIMIZE)) == shown


def test_what_was_not_measured_is_a_dash() -> None:
    for show in (formats.share, formats.latency, formats.speed, formats.size, formats.shown):
        assert show(None) == "-"
    assert formats.times_smaller(None, None) == "-"


def test_any_measurement_is_shown_in_the_way_that_fits_it() -> None:
    found = {name: formats.shown(item) for name, item in measured(0.9, 0.5).items()}
    assert found == {
        "quality": "90.0 % [88.0, 91.0]",
        "latency_p50": "15.0 ms [14.5, 15.5]",
        "latency_ratio": "2.0x [1.9, 2.1]",
        "size": "60.0 MB",
    }
    count = Measurement.exact("parameters", 22_713_216, "", Direction.MINIMIZE)
    assert formats.shown(count) == "22,713,216"


def test_an_excess_names_the_limit_and_the_distance() -> None:
    violations = {"latency_p50 <= 8ms": 0.123, "quality >= 0.9": -0.02, "size <= 9MB": 0.004}
    assert formats.excess(violations) == "latency_p50 <= 8ms by 12 %, size <= 9MB by 0.4 %"


def test_times_are_shown_as_on_a_clock() -> None:
    assert [formats.clock(seconds) for seconds in (0.2, 42, 192, 3725)] == ["0:00", "0:42", "3:12", "1:02:05"]
    assert [formats.seconds_of(seconds) for seconds in (0.42, 38.2, 192)] == ["0.4 s", "38 s", "3:12"]
