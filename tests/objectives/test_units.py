from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.objectives.units import (
    COUNT,
    DURATION,
    ENERGY,
    LATENCY,
    RATE,
    SHARE,
    SIZE,
    Dimension,
    format_quantity,
    parse_quantity,
)
from autoopt.strategies.errors import UsageError


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("12ms", LATENCY, 12.0),
        (" 1.5 s ", LATENCY, 1500.0),
        ("800us", LATENCY, 0.8),
        ("1e1ms", LATENCY, 10.0),
        ("60MB", SIZE, 60e6),
        ("1 MiB", SIZE, 1048576.0),
        ("12 kB", SIZE, 12e3),
        ("2h", DURATION, 7200.0),
        ("10m", DURATION, 600.0),
        ("90s", DURATION, 90.0),
        (".5d", DURATION, 43200.0),
        ("200/s", RATE, 200.0),
        ("1.5 examples/s", RATE, 1.5),
        ("50mJ", ENERGY, 0.05),
        ("2 J", ENERGY, 2.0),
        ("20M", COUNT, 20e6),
        ("1.5 B", COUNT, 1.5e9),
        ("20000000", COUNT, 20e6),
        ("1%", SHARE, 0.01),
        ("0.25", SHARE, 0.25),
        (0.25, SHARE, 0.25),
    ],
)
def test_a_quantity_is_read_in_its_base_unit(text: str | float, dimension: Dimension, value: float) -> None:
    assert parse_quantity(text, dimension) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "dimension", "message"),
    [
        ("12", LATENCY, r"'12' is a latency without a unit; write one as 12ms"),
        ("200", RATE, r"'200' is a throughput without a unit; write one as 200/s"),
        ("200 per second", RATE, r"'200 per second' is not a throughput; write one as 200/s"),
        ("3 Wh", ENERGY, r"'Wh' in '3 Wh' is not a unit of a quantity of energy.*units are uJ, µJ, mJ, J, kJ"),
        ("60", SIZE, r"without a unit; write one as 60MB"),
        (7200, DURATION, r"'7200' is a duration without a unit"),
        ("12MB", LATENCY, r"'MB' in '12MB' is not a unit of a latency.*units are us, µs, ms, s"),
        ("60mb", SIZE, r"'mb' in '60mb' is not a unit of a size; did you mean 'MB'\?"),
        ("5 hours", DURATION, r"'hours' in '5 hours' is not a unit of a duration"),
        ("12 ms or so", LATENCY, r"'12 ms or so' is not a latency; write one as 12ms"),
        ("-3ms", LATENCY, r"'-3ms' is not a valid latency: it must be finite and not negative"),
        ("1e999s", DURATION, r"must be finite"),
        ("", SHARE, r"'' is not a share; write one as 0.01 or 1%"),
        ("nan", SHARE, r"'nan' is not a share"),
        (True, SHARE, r"'True' is not a share"),
    ],
)
def test_what_is_no_quantity_is_refused_with_an_example(text: str | float, dimension: Dimension, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_quantity(text, dimension)


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (12.0, LATENCY, "12 ms"),
        (1.23456, LATENCY, "1.235 ms"),
        (60e6, SIZE, "60 MB"),
        (512.0, SIZE, "512 B"),
        (7200.0, DURATION, "2 h"),
        (90.0, DURATION, "1.5 m"),
        (0.01, SHARE, "1%"),
        (0.0, LATENCY, "0 ms"),
        (123456.0, LATENCY, "123456 ms"),
    ],
)
def test_a_quantity_is_shown_in_the_unit_that_fits(value: float, dimension: Dimension, text: str) -> None:
    assert format_quantity(value, dimension) == text


@given(st.floats(1e-6, 1e15), st.sampled_from([LATENCY, SIZE, DURATION, SHARE]))
def test_what_is_shown_is_read_back_to_four_digits(value: float, dimension: Dimension) -> None:
    assert parse_quantity(format_quantity(value, dimension), dimension) == pytest.approx(value, rel=1e-3)
