"""Measurements and times as a person reads them: ``96.5 % [94.8, 98.0]``, ``7.4 ms [7.2, 7.6]``, ``4.1x``."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from autoopt.objectives import units
from autoopt.objectives.cost import Role
from autoopt.objectives.costs import costs
from autoopt.objectives.measurement import Measurement
from autoopt.objectives.scoring.bootstrap import Difference
from autoopt.objectives.tasks import metrics_shown_with_quality
from autoopt.search.report.sanitize import printable
from autoopt.search.study.evidence import EvidenceKind, Gap, Seeds, Spread

NOTHING = "-"
"""In place of what was not measured."""
NOISY = " (noisy)"
"""After what was measured on a machine that was never quiet."""


def shown(measured: Measurement | None) -> str:
    """Any measurement in the way that fits its name and unit."""
    if measured is None:
        return NOTHING
    if measured.unit in ("bytes", "B"):
        return size(measured)
    if measured.unit in ("examples/s", "J"):
        return amount(measured)
    match EvidenceKind.of_name(measured.name):
        case EvidenceKind.DIFFERENCE:
            return points(measured)
        case EvidenceKind.P_VALUE:
            return f"{measured.value:.2g}"
        case EvidenceKind.SEED_MEAN | EvidenceKind.SEED_DEVIATION:
            return f"{100 * measured.value:.1f} %"
    if measured.unit == "of baseline":
        return speed(measured)
    if measured.unit == "ms":
        return latency(measured)
    if measured.unit == "" and 0 <= measured.low <= measured.high <= 1:
        return share(measured)
    number = f"{measured.value:,.0f}" if float(measured.value).is_integer() else f"{measured.value:.4g}"
    return f"{number} {printable(measured.unit)}".strip() + _noise(measured)


def share(measured: Measurement | None) -> str:
    """A quality: ``96.5 % [94.8, 98.0]``; with two decimals below 10 %: ``4.30 % [3.64, 4.97]``."""
    if measured is None:
        return NOTHING
    digits = 1 if abs(measured.value) >= 0.1 else 2
    value, low, high = (f"{100 * number:.{digits}f}" for number in (measured.value, measured.low, measured.high))
    return f"{value} % [{low}, {high}]"


def quality(measurements: Mapping[str, Measurement], *, prefix: str = "") -> str:
    """The quality, and metrics that the task shows beside it: ``4.30 % [3.64, 4.97], perplexity 23.3``."""
    found = measurements.get(f"{prefix}quality")
    if found is None:
        return share(None)
    beside = {name: measurements.get(f"{prefix}{name}") for name in metrics_shown_with_quality()}
    return share(found) + "".join(f", {name} {_alike(item.value)[0]}" for name, item in beside.items() if item)


def points(difference: Difference | Measurement) -> str:
    """A difference of two qualities: ``+0.3 points [-0.8, 1.4]``."""
    value, low, high = (round(100 * number, 1) + 0.0 for number in (difference.value, difference.low, difference.high))
    return f"{value:+.1f} points [{low:.1f}, {high:.1f}]"


def to_baseline(difference: Difference) -> tuple[str, str]:
    """A difference, and how likely chance alone is it: ``+0.3 points [-0.8, 1.4]``, ``to the baseline (p = 0.62)``."""
    return points(difference), f"to the baseline (p = {difference.p_value:.2g})"


def spread(values: Spread) -> str:
    """Mean and standard deviation of a quality: ``96.1 ± 0.4 %``."""
    return f"{100 * values.mean:.1f} ± {100 * values.deviation:.1f} %"


def seeds(found: Seeds) -> tuple[str, str]:
    """A recipe under several seeds, on validation and on test: ``3 seeds: 96.1 ± 0.4 %``, ``test 95.2 ± 0.5 %``."""
    count = f"{len(found.seeds)} seed{'s' * (len(found.seeds) != 1)}"
    failed = f", {len(found.failed)} failed" if found.failed else ""
    return f"{count}{failed}: {spread(found.quality)}", f"test {spread(found.test_quality)}"


def gap(found: Gap | None, of_baseline: Gap | None) -> str:
    """Say that validation and test are further apart than the intervals explain; empty where they are not.

    The baseline is the first trial of all and chosen by nothing: where its own splits are as far apart, it is not the
    choosing that did it.
    """
    if found is None or found.is_explained:
        return ""
    away = f"validation is {100 * abs(found.value):.1f} points {'above' if found.value > 0 else 'below'} test"
    if found.value < 0 or (of_baseline is not None and of_baseline.low > 0):
        return f"{away}, more than the intervals explain: the two splits are not alike"
    return f"{away}, more than the intervals explain: chosen too often on the same validation data"


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


def amount(measured: Measurement | None) -> str:
    """A throughput or an energy: ``33.6 examples/s [32.1, 34.9]``, ``0.8214 J [0.81, 0.83]``."""
    if measured is None:
        return NOTHING
    ends = f" [{measured.low:.4g}, {measured.high:.4g}]"
    return f"{measured.value:.4g} {printable(measured.unit)}{ends}{_noise(measured)}"


def further_costs(measurements: Mapping[str, Measurement], *, roles: Collection[Role]) -> list[str]:
    """Costs of these roles beside the main ones: ``p99 9.1 ms [8.8, 9.4]``, ``120 examples/s [115, 124]``."""
    return [
        f"{cost.label} {shown(measurements[name])}".strip()
        for name, cost in costs().items()
        if cost.role in roles and cost.label is not None and name in measurements
    ]


def times_smaller(measured: Measurement | None, baseline: Measurement | None) -> str:
    """How many times smaller than the baseline: ``1.7x``."""
    if measured is None or baseline is None or measured.value <= 0:
        return NOTHING
    return f"{_alike(baseline.value / measured.value)[0]}x"


def summary(measurements: Mapping[str, Measurement]) -> str:
    """What a line has room for: quality, latency, speed and size, those that were measured."""
    parts = [
        quality(measurements),
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
