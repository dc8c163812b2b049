"""Budgets: limits on what is measured, absolute or against the baseline, and how far a measurement is beyond one."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum

from autoopt.objectives import units
from autoopt.objectives.costs import costs
from autoopt.objectives.measurement import QUALITY, Direction, Measurement
from autoopt.strategies.errors import UsageError, did_you_mean

CAP = 1000.0
"""Violations are kept within this: a sampler adds them up, and one that is infinite would hide all others."""

_LIMIT = re.compile(r"\s*(\w+)\s*(<=|>=|≤|≥|==|=|<|>)\s*(.*?)\s*")
_OF_BASELINE = re.compile(
    r"(?:(?P<share>[\d.eE+-]+\s*%?)\s*(?:\*|of)\s*)?baseline(?:\s*\*\s*(?P<factor>[\d.eE+-]+\s*%?))?"
)


class Relation(StrEnum):
    """On which side of the limit a measurement has to be."""

    AT_MOST = "<="
    AT_LEAST = ">="


class IntervalEnd(StrEnum):
    """Which number of a measurement a limit is held against."""

    VALUE = "value"
    WORSE = "worse"
    """Within the limit even at the worse end of the interval: for what is promised."""
    BETTER = "better"
    """Over the limit even at the better end: for what is given up."""


@dataclass(frozen=True)
class Limit:
    """One limit. ``value`` is in the metric's base unit, or a factor of the baseline's own measurement."""

    metric: str
    relation: Relation
    value: float
    of_baseline: bool
    text: str
    """As it was written, with single spaces."""

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read ``latency_p95 <= 12 ms``, ``quality >= 0.99 * baseline`` or ``latency <= 45% of baseline``.

        Raises ``UsageError`` for an unknown metric, a unit of another kind, a limit on the wrong side.
        """
        match = _LIMIT.fullmatch(str(text))
        if match is None:
            raise UsageError(
                f"'{text}' is no limit; write one as 'latency_p50 <= 12ms', 'size <= 60MB' or "
                "'quality >= 0.99 * baseline'"
            )
        metric = metric_name(match[1])
        relation = _relation(metric, match[2], text)
        value, of_baseline = _bound(metric, match[3], text)
        if value == 0:
            raise UsageError(f"'{text}' limits {metric} to nothing; the limit must be above 0")
        return cls(metric, relation, value, of_baseline, " ".join(str(text).split()))

    def violation(
        self, measured: Measurement, baseline: Measurement | None, *, end: IntervalEnd = IntervalEnd.VALUE
    ) -> float:
        """Return how far ``measured`` is beyond the limit, relative to the limit; 0 or less is within.

        ``end`` says which end of the confidence interval is judged. Quality is always judged by its value: a few
        hundred examples give an interval wider than any margin that one would ask for. ``baseline`` is the baseline's
        measurement of the same metric. Always finite.
        """
        if measured.name != self.metric:
            raise ValueError(f"'{self.text}' limits {self.metric}; it was given {measured.name}")
        limit = self.bound(baseline)
        value = self._judged(measured, end)
        beyond = value - limit if self.relation is Relation.AT_MOST else limit - value
        if not math.isfinite(beyond):
            return CAP
        if limit <= 0:
            return math.copysign(CAP, beyond) if beyond else 0.0
        return max(-CAP, min(CAP, beyond / limit))

    def bound(self, baseline: Measurement | None) -> float:
        """The limit as an absolute number in the metric's base unit."""
        if not self.of_baseline:
            return self.value
        if baseline is None:
            raise ValueError(f"'{self.text}' needs the baseline's {self.metric}")
        return self.value * baseline.value

    def _judged(self, measured: Measurement, end: IntervalEnd) -> float:
        if end is IntervalEnd.VALUE or self.metric == QUALITY:
            return measured.value
        takes_high = (end is IntervalEnd.WORSE) == (self.relation is Relation.AT_MOST)
        return measured.high if takes_high else measured.low

    def __str__(self) -> str:
        return self.text


def metrics() -> dict[str, units.Dimension]:
    """Return everything that can be limited or searched for, with its kind of quantity."""
    return {QUALITY: units.SHARE, **{name: cost.dimension for name, cost in costs().items()}}


def other_names() -> dict[str, str]:
    """Return the other names of metrics, each with the metric's own."""
    return {other: name for name, cost in costs().items() for other in cost.other_names}


def direction_of(metric: str) -> Direction:
    """Return the direction in which a metric is better."""
    return Direction.MAXIMIZE if metric == QUALITY else costs()[metric].direction


def metric_name(name: str) -> str:
    """Return the metric's own name for it or its alias; raises ``UsageError`` with the nearest one."""
    metric = other_names().get(name, name)
    if metric not in metrics():
        known = (*metrics(), *other_names())
        raise UsageError(f"'{name}' is no metric{did_you_mean(name, known)}; metrics are {', '.join(known)}")
    return metric


def _relation(metric: str, sign: str, text: str) -> Relation:
    is_higher_better = direction_of(metric) is Direction.MAXIMIZE
    wanted = Relation.AT_LEAST if is_higher_better else Relation.AT_MOST
    given = {"≤": "<=", "≥": ">="}.get(sign, sign)
    if given != wanted:
        better = "higher" if is_higher_better else "lower"
        raise UsageError(f"'{text}': {metric} is better when {better}, so a limit on it is written with {wanted}")
    return wanted


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
        raise UsageError(f"{metric} is at most 1, so {text} can never be reached; write 0.9 or 90%")
    return value
