"""Format measurements and durations for people: ``96.5 % [94.8, 98.0]``, ``7.4 ms [7.2, 7.6]``, ``4.1x``."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from autoopt.objectives import units
from autoopt.objectives.cost import Role
from autoopt.objectives.costs import costs
from autoopt.objectives.measurement import QUALITY, Measurement
from autoopt.objectives.scoring.bootstrap import Difference
from autoopt.objectives.tasks import metrics_shown_with_quality
from autoopt.search.report.sanitize import printable
from autoopt.search.study.evidence import EvidenceKind, Gap, Seeds, Spread

NOT_MEASURED = "-"
"""Shown in place of a value that was not measured."""
NOISY = " (noisy)"
BY_PROCESSOR = " (processor time)"
"""Appended to a value measured on a machine that was never quiet."""


def format_measurement(measured: Measurement | None) -> str:
    """Format any measurement according to its name and unit."""
    if measured is None:
        return NOT_MEASURED
    if measured.unit in ("bytes", "B"):
        return format_size(measured)
    if measured.unit in ("examples/s", "J"):
        return format_amount(measured)
    match EvidenceKind.of_name(measured.name):
        case EvidenceKind.DIFFERENCE:
            return format_points(measured)
        case EvidenceKind.P_VALUE:
            return f"{measured.value:.2g}"
        case EvidenceKind.SEED_MEAN | EvidenceKind.SEED_DEVIATION:
            return f"{100 * measured.value:.1f} %"
    if measured.unit == "of baseline":
        return format_speedup(measured)
    if measured.unit == "ms":
        return format_latency(measured)
    if measured.unit == "" and 0 <= measured.low <= measured.high <= 1:
        return format_percentage(measured)
    number = f"{measured.value:,.0f}" if float(measured.value).is_integer() else f"{measured.value:.4g}"
    return f"{number} {printable(measured.unit)}".strip() + _noise_mark(measured)


def format_percentage(measured: Measurement | None) -> str:
    """Format a score: ``96.5 % [94.8, 98.0]``; with two decimals below 10 %: ``4.30 % [3.64, 4.97]``."""
    if measured is None:
        return NOT_MEASURED
    digits = 1 if abs(measured.value) >= 0.1 else 2
    value, low, high = (f"{100 * number:.{digits}f}" for number in (measured.value, measured.low, measured.high))
    return f"{value} % [{low}, {high}]"


def format_quality(measurements: Mapping[str, Measurement], *, prefix: str = "") -> str:
    """Format the quality and the metrics that the task shows beside it: ``4.30 % [3.64, 4.97], perplexity 23.3``."""
    measured = measurements.get(f"{prefix}{QUALITY}")
    if measured is None:
        return NOT_MEASURED
    metrics = {name: measurements.get(f"{prefix}{name}") for name in metrics_shown_with_quality()}
    return format_percentage(measured) + "".join(
        f", {name} {_format_numbers(metric.value)[0]}" for name, metric in metrics.items() if metric
    )


def format_points(difference: Difference | Measurement) -> str:
    """Format a difference of two qualities: ``+0.3 points [-0.8, 1.4]``."""
    value, low, high = (round(100 * number, 1) + 0.0 for number in (difference.value, difference.low, difference.high))
    return f"{value:+.1f} points [{low:.1f}, {high:.1f}]"


def format_difference(difference: Difference) -> tuple[str, str]:
    """Format a difference and its p-value: ``+0.3 points [-0.8, 1.4]``, ``to the baseline (p = 0.62)``."""
    return format_points(difference), f"to the baseline (p = {difference.p_value:.2g})"


def format_spread(spread: Spread) -> str:
    """Format mean and standard deviation of a quality: ``96.1 ± 0.4 %``."""
    return f"{100 * spread.mean:.1f} ± {100 * spread.deviation:.1f} %"


def format_seeds(seeds: Seeds) -> tuple[str, str]:
    """Format the spread over seeds on both splits: ``3 seeds: 96.1 ± 0.4 %``, ``test 95.2 ± 0.5 %``."""
    count = format_count(len(seeds.seeds), "seed")
    failed = f", {len(seeds.failed)} failed" if seeds.failed else ""
    return f"{count}{failed}: {format_spread(seeds.quality)}", f"test {format_spread(seeds.test_quality)}"


def describe_gap(gap: Gap | None, baseline_gap: Gap | None) -> str:
    """Return a sentence if validation and test differ by more than their intervals explain, else an empty string.

    The baseline was not selected by its score. What its own splits differ by is not the work of selection.
    """
    if gap is None or gap.is_explained:
        return ""
    own = baseline_gap.value if baseline_gap else 0.0
    compared = f" ({_describe_distance(own)} for the baseline)" if baseline_gap not in (None, gap) else ""
    distance = f"validation is {_describe_distance(gap.value)} test{compared}, more than the intervals explain"
    if gap.low <= max(own, 0.0):
        return f"{distance}: the two splits differ"
    return f"{distance}: too many models were compared on the same validation data"


def _describe_distance(value: float) -> str:
    return f"{100 * abs(value):.1f} points {'above' if value >= 0 else 'below'}"


def format_latency(measured: Measurement | None) -> str:
    """Format a latency in milliseconds: ``7.4 ms [7.2, 7.6]``."""
    if measured is None:
        return NOT_MEASURED
    value, low, high = _format_numbers(measured.value, measured.low, measured.high)
    return f"{value} ms [{low}, {high}]{_noise_mark(measured)}"


def format_speedup(ratio: Measurement | None) -> str:
    """Format a latency ratio as a speed-up over the baseline: ``4.1x [3.9, 4.2]``."""
    if ratio is None or min(ratio.value, ratio.low, ratio.high) <= 0:
        return NOT_MEASURED
    value, low, high = _format_numbers(1 / ratio.value, 1 / ratio.high, 1 / ratio.low)
    return f"{value}x [{low}, {high}]{_noise_mark(ratio)}"


def format_size(measured: Measurement | None) -> str:
    """Format a size in bytes: ``52.1 MB``."""
    return NOT_MEASURED if measured is None else format_bytes(measured.value)


def format_bytes(count: float) -> str:
    """Format a number of bytes in the largest decimal unit that fits: ``52.1 MB``, ``999 B``."""
    unit = next((unit for unit in ("GB", "MB", "kB") if count >= units.SIZE.units[unit]), "B")
    number = count / units.SIZE.units[unit]
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def format_amount(measured: Measurement | None) -> str:
    """Format a throughput or an energy: ``33.6 examples/s [32.1, 34.9]``, ``0.8214 J [0.81, 0.83]``."""
    if measured is None:
        return NOT_MEASURED
    interval = f"[{measured.low:.4g}, {measured.high:.4g}]"
    return f"{measured.value:.4g} {printable(measured.unit)} {interval}{_noise_mark(measured)}"


def format_further_costs(measurements: Mapping[str, Measurement], *, roles: Collection[Role]) -> list[str]:
    """Format the labelled costs of these roles: ``p99 9.1 ms [8.8, 9.4]``, ``120 examples/s [115, 124]``."""
    return [
        f"{cost.label} {format_measurement(measurements[name])}".strip()
        for name, cost in costs().items()
        if cost.role in roles and cost.label is not None and name in measurements
    ]


def format_times_smaller(measured: Measurement | None, baseline: Measurement | None) -> str:
    """Format how many times smaller than the baseline: ``1.7x``."""
    if measured is None or baseline is None or measured.value <= 0:
        return NOT_MEASURED
    return f"{_format_numbers(baseline.value / measured.value)[0]}x"


def format_summary(measurements: Mapping[str, Measurement]) -> str:
    """Format quality, latency, speed-up and size on one line, without those that were not measured."""
    parts = [
        format_quality(measurements),
        format_latency(measurements.get("latency_p50")),
        format_speedup(measurements.get("latency_ratio")),
        format_size(measurements.get("size")),
    ]
    return ", ".join(part for part in parts if part != NOT_MEASURED)


def format_violations(violations: Mapping[str, float]) -> str:
    """Format the limits that are exceeded: ``latency_p50 <= 8ms by 12 %``; empty if none is."""
    exceeded = {limit: excess for limit, excess in violations.items() if excess > 0}
    return ", ".join(f"{printable(limit)} by {_format_excess(excess)}" for limit, excess in exceeded.items())


def format_count(count: int, noun: str) -> str:
    """Format a number of things: ``1 trial``, ``3 trials``."""
    return f"{count} {noun}{'s' * (count != 1)}"


def format_clock(seconds: float) -> str:
    """Format a duration as on a clock: ``0:42``, ``3:12``, ``1:02:05``."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_seconds(seconds: float) -> str:
    """Format a duration that may be short: ``0.4 s``, ``38 s``, ``3:12``."""
    if seconds >= 60:
        return format_clock(seconds)
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _format_excess(excess: float) -> str:
    percent = 100 * excess
    return f"{percent:.0f} %" if percent >= 10 else f"{max(percent, 0.1):.1f} %"


def _format_numbers(*numbers: float) -> list[str]:
    """Format all with the decimals that the first needs: none from 100, one from 1, else two."""
    first = abs(numbers[0])
    decimals = 0 if first >= 100 else 1 if first >= 1 else 2
    return [f"{number:.{decimals}f}" for number in numbers]


def _noise_mark(measured: Measurement) -> str:
    if measured.noisy:
        return NOISY
    return BY_PROCESSOR if measured.by_processor else ""
