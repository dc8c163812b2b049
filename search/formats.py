"""Measurements and times as a person reads them: ``96.5 % [94.8, 98.0]``, ``7.4 ms [7.2, 7.6]``, ``4.1x``."""

from __future__ import annotations

from collections.abc import Mapping

from autoopt.objectives import units
from autoopt.objectives.measurement import Measurement
from autoopt.search.plain import printable

NOTHING = "-"
"""In place of what was not measured."""
NOISY = " (noisy)"
"""After what was measured on a machine that was never quiet."""


def shown(measured: Measurement | None) -> str:
    """Any measurement in the way that fits its name and unit."""
    if measured is None:
        return NOTHING
    if measured.name == "size":
        return size(measured)
    if measured.unit == "of baseline":
        return speed(measured)
    if measured.unit == "ms":
        return latency(measured)
    if measured.unit == "" and 0 <= measured.low <= measured.high <= 1:
        return share(measured)
    number = f"{measured.value:,.0f}" if float(measured.value).is_integer() else f"{measured.value:.4g}"
    return f"{number} {printable(measured.unit)}".strip() + _noise(measured)


def share(measured: Measurement | None) -> str:
    """A quality: ``96.5 % [94.8, 98.0]``."""
    if measured is None:
        return NOTHING
    return f"{measured.value:.1%} [{100 * measured.low:.1f}, {100 * measured.high:.1f}]".replace("%", " %")


def latency(measured: Measurement | None) -> str:
    """A latency in milliseconds: ``7.4 ms [7.2, 7.6]``."""
    if measured is None:
        return NOTHING
    value, low, high = _alike(measured.value, measured.low, measured.high)
    return f"{value} ms [{low}, {high}]{_noise(measured)}"


def speed(ratio: Measurement | None) -> str:
    """How many times faster than the baseline, from ``latency_ratio``: ``4.1x [3.9, 4.2]``."""
    if ratio is None or min(ratio.value, ratio.low, ratio.high) <= 0:
        return NOTHING
    value, low, high = _alike(1 / ratio.value, 1 / ratio.high, 1 / ratio.low)
    return f"{value}x [{low}, {high}]{_noise(ratio)}"


def size(measured: Measurement | None) -> str:
    """A size in bytes: ``52.1 MB``."""
    if measured is None:
        return NOTHING
    unit = next((unit for unit in ("GB", "MB", "kB") if measured.value >= units.SIZE.units[unit]), "B")
    number = measured.value / units.SIZE.units[unit]
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def times_smaller(measured: Measurement | None, baseline: Measurement | None) -> str:
    """How many times smaller than the baseline: ``1.7x``."""
    if measured is None or baseline is None or measured.value <= 0:
        return NOTHING
    return f"{_alike(baseline.value / measured.value)[0]}x"


def summary(measurements: Mapping[str, Measurement]) -> str:
    """What a line has room for: quality, latency, speed and size, those that were measured."""
    parts = [
        share(measurements.get("quality")),
        latency(measurements.get("latency_p50")),
        speed(measurements.get("latency_ratio")),
        size(measurements.get("size")),
    ]
    return ", ".join(part for part in parts if part != NOTHING)


def excess(violations: Mapping[str, float]) -> str:
    """Which limits are exceeded and by how much: ``latency_p50 <= 8ms by 12 %``; empty where none is."""
    beyond = {limit: over for limit, over in violations.items() if over > 0}
    return ", ".join(f"{printable(limit)} by {_percent(over)}" for limit, over in beyond.items())


def clock(seconds: float) -> str:
    """A time span: ``0:42``, ``3:12``, ``1:02:05``."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def seconds_of(seconds: float) -> str:
    """How long a stage took: ``0.4 s``, ``38 s``, ``3:12``."""
    if seconds >= 60:
        return clock(seconds)
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _percent(over: float) -> str:
    percent = 100 * over
    return f"{percent:.0f} %" if percent >= 10 else f"{max(percent, 0.1):.1f} %"


def _alike(*numbers: float) -> list[str]:
    """With as many decimals as the first one needs: none from 100 on, two below 1."""
    first = abs(numbers[0])
    decimals = 0 if first >= 100 else 1 if first >= 1 else 2
    return [f"{number:.{decimals}f}" for number in numbers]


def _noise(measured: Measurement) -> str:
    return NOISY if measured.noisy else ""
