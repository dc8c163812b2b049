"""Budgets: limits on measurements, absolute or relative to the baseline, and by how much they are exceeded."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum

from autoopt.objectives import units
from autoopt.objectives.costs import costs
from autoopt.objectives.measurement import QUALITY, Direction, Measurement
from autoopt.strategies.errors import UsageError, did_you_mean

CAP = 1000.0
"""Bound of a violation: a sampler adds violations up, and an infinite one would hide all others."""

_LIMIT = re.compile(r"\s*(\w+)\s*(<=|>=|≤|≥|==|=|<|>)\s*(.*?)\s*")
_OF_BASELINE = re.compile(
    r"(?:(?P<share>[\d.eE+-]+\s*%?)\s*(?:\*|of)\s*)?baseline(?:\s*\*\s*(?P<factor>[\d.eE+-]+\s*%?))?"
)


class Relation(StrEnum):
    """Side of the limit on which a measurement has to be."""

    AT_MOST = "<="
    AT_LEAST = ">="


class IntervalEnd(StrEnum):
    """Number of a measurement that is compared with a limit."""

    VALUE = "value"
    WORSE = "worse"
    """Worse end of the confidence interval: a limit kept here is kept with confidence."""
    BETTER = "better"
    """Better end of the confidence interval: a limit exceeded here is exceeded with confidence."""


@dataclass(frozen=True)
class Limit:
    """One limit. ``value`` is in the metric's base unit, or a factor of the baseline's measurement."""

    metric: str
    relation: Relation
    value: float
    of_baseline: bool
    text: str
    """The limit as written, with single spaces."""

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Parse ``latency_p95 <= 12 ms``, ``quality >= 0.99 * baseline`` or ``latency <= 45% of baseline``.

        Raises ``UsageError`` for an unknown metric, a unit of another quantity, or the wrong relation.
        """
        match = _LIMIT.fullmatch(str(text))
        if match is None:
            raise UsageError(
                f"'{text}' is not a limit; write one as 'latency_p50 <= 12ms', 'size <= 60MB' or "
                "'quality >= 0.99 * baseline'"
            )
        metric = metric_name(match[1])
        relation = _relation(metric, match[2], text)
        value, of_baseline = _bound(metric, match[3], text)
        if value == 0:
            raise UsageError(f"'{text}' limits {metric} to 0; use a limit above 0")
        return cls(metric, relation, value, of_baseline, " ".join(str(text).split()))

    def violation(
        self, measured: Measurement, baseline: Measurement | None, *, end: IntervalEnd = IntervalEnd.VALUE
    ) -> float:
        """Return how far ``measured`` is beyond the limit, relative to the limit; 0 or less is within. Always finite.

        ``baseline`` is the baseline's measurement of the same metric. Quality is always judged by its value, whatever
        ``end`` is: a few hundred examples give an interval wider than any useful margin. Raises ``ValueError`` if
        ``measured`` is another metric, or if a relative limit has no ``baseline``.
        """
        if measured.name != self.metric:
            raise ValueError(f"'{self.text}' limits {self.metric}, but {measured.name} was passed")
        limit = self.bound(baseline)
        value = self._number(measured, end)
        beyond = value - limit if self.relation is Relation.AT_MOST else limit - value
        if not math.isfinite(beyond):
            return CAP
        if limit <= 0:
            return math.copysign(CAP, beyond) if beyond else 0.0
        return max(-CAP, min(CAP, beyond / limit))

    def bound(self, baseline: Measurement | None) -> float:
        """Return the limit as an absolute number in the metric's base unit."""
        if not self.of_baseline:
            return self.value
        if baseline is None:
            raise ValueError(f"'{self.text}' needs the baseline's {self.metric}")
        return self.value * baseline.value

    def relaxed_by(self, violation: float) -> Limit | None:
        """Return the limit that a measurement with this violation just keeps; None if there is none.

        It is rounded to three digits, to the side on which it is kept.
        """
        is_upper = self.relation is Relation.AT_MOST
        value = self.value * (1 + violation if is_upper else 1 - violation)
        if violation >= CAP or value <= 0:
            return None
        number = Decimal(value)
        step = Decimal((0, (1,), number.adjusted() - 2))
        rounded = float((number / step).to_integral_value(ROUND_CEILING if is_upper else ROUND_FLOOR) * step)
        limit = (
            f"{rounded:.3g} * baseline" if self.of_baseline else units.format_quantity(rounded, metrics()[self.metric])
        )
        return Limit.parse(f"{self.metric} {self.relation} {limit}")

    def _number(self, measured: Measurement, end: IntervalEnd) -> float:
        if end is IntervalEnd.VALUE or self.metric == QUALITY:
            return measured.value
        takes_high = (end is IntervalEnd.WORSE) == (self.relation is Relation.AT_MOST)
        return measured.high if takes_high else measured.low

    def __str__(self) -> str:
        return self.text


def metrics() -> dict[str, units.Dimension]:
    """Return the names of all metrics with their dimensions: what can be an objective or have a limit."""
    return {QUALITY: units.SHARE, **{name: cost.dimension for name, cost in costs().items()}}


def other_names() -> dict[str, str]:
    """Return the aliases of metrics with the names they stand for."""
    return {other: name for name, cost in costs().items() for other in cost.other_names}


def direction_of(metric: str) -> Direction:
    """Return the direction in which a metric is better."""
    return Direction.MAXIMIZE if metric == QUALITY else costs()[metric].direction


def metric_name(name: str) -> str:
    """Return the metric of this name or alias. Raises ``UsageError`` with the nearest name if there is none."""
    metric = other_names().get(name, name)
    if metric not in metrics():
        names = (*metrics(), *other_names())
        raise UsageError(f"'{name}' is not a metric{did_you_mean(name, names)}; metrics are {', '.join(names)}")
    return metric


def _relation(metric: str, sign: str, text: str) -> Relation:
    is_higher_better = direction_of(metric) is Direction.MAXIMIZE
    relation = Relation.AT_LEAST if is_higher_better else Relation.AT_MOST
    if {"≤": "<=", "≥": ">="}.get(sign, sign) != relation:
        better = "higher" if is_higher_better else "lower"
        raise UsageError(f"'{text}': {metric} is better when {better}; write the limit with {relation}")
    return relation


def _bound(metric: str, text: str, limit: str) -> tuple[float, bool]:
    relative = _OF_BASELINE.fullmatch(text)
    try:
        if relative is None:
            return _absolute(metric, text), False
        factors = [units.parse_quantity(part, units.SHARE) for part in relative.groups() if part]
        return math.prod(factors), True
    except UsageError as error:
        raise UsageError(f"'{limit}': {error}") from None


def _absolute(metric: str, text: str) -> float:
    dimension = metrics()[metric]
    value = units.parse_quantity(text, dimension)
    if dimension is units.SHARE and value > 1:
        raise UsageError(f"{metric} is at most 1, but the limit is {text}; write a share such as 0.9 or 90%")
    return value
