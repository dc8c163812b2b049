"""Which trials stop at a rung: successive halving over everything that a study knows about its trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from autoopt.objectives.judging.budget import Limit
from autoopt.objectives.judging.verdict import total_violation
from autoopt.objectives.measurement import QUALITY, Direction, Measurement
from autoopt.search.choosing.front import losses, speed_loss
from autoopt.search.choosing.halving import RungEntry, is_reliable, should_continue
from autoopt.search.choosing.race import falls_behind
from autoopt.search.study.verdicts import violations_of
from autoopt.search.trial.record import TrialRecord
from autoopt.search.trial.rungs import TRUNK_RUNGS, quality_after, quality_at
from autoopt.strategies.training.validation import chance_margin


class RungScheduler:
    """Compares trials that have reached a rung, each as of its last rung or its end."""

    def __init__(
        self, objectives: Mapping[str, Direction], limits: Sequence[Limit], records: Iterable[TrialRecord]
    ) -> None:
        self._objectives = objectives
        self._cost_limits = [limit for limit in limits if limit.metric != QUALITY]
        self._latest: dict[int, TrialRecord] = {}
        for record in records:
            self.update(record)

    def update(self, record: TrialRecord) -> None:
        """Take note of a trial's progress; trials without a rung are ignored."""
        if record.rungs:
            self._latest[record.number] = record

    def has_reached_rung(self, number: int) -> bool:
        return number in self._latest

    def at_rung(self, rung: str) -> list[TrialRecord]:
        """Return the trials that have reached this rung."""
        return [record for record in self._latest.values() if rung in record.rungs]

    def reason_to_stop(
        self, record: TrialRecord, complete: Sequence[TrialRecord], reference: Mapping[str, Measurement]
    ) -> str:
        """Update the trial and return why it stops at its last rung; empty if it continues.

        ``reference`` holds the baseline's measurements.
        """
        self.update(record)
        *_, rung = record.rungs
        reached = self.at_rung(rung)
        pairs = [
            (quality_at(other, rung), later) for other in reached if (later := quality_after(other, rung)) is not None
        ]
        if not is_reliable(pairs):
            return ""
        if rung in TRUNK_RUNGS:
            best = max(other.rungs[rung] for other in reached if other.recipe.model == record.recipe.model)
            behind = falls_behind(record.rungs[rung], best)
            return f"after {rung} its quality of {record.rungs[rung]:.3g} was far behind {best:.3g}" if behind else ""
        others = [self._entry(other, reference, rung) for other in reached if other.number != record.number]
        ended = [self._entry(other, reference) for other in complete]
        margin = chance_margin(record.measurements[QUALITY].samples)
        if should_continue(self._entry(record, reference, rung, margin=margin), others, ended):
            return ""
        return f"{rung} its quality of {record.rungs[rung]:.3g} promised less than that of {len(others)} others"

    def _entry(
        self,
        record: TrialRecord,
        reference: Mapping[str, Measurement],
        rung: str | None = None,
        *,
        margin: float = 0.0,
    ) -> RungEntry:
        """Return what a trial is judged by at this rung, or at its end; ``margin`` is added to its quality."""
        measurements = dict(record.measurements)
        if rung is not None:
            value = quality_at(record, rung) + margin
            measurements[QUALITY] = replace(measurements[QUALITY], value=value)
        at_rung = replace(record, measurements=measurements)
        return RungEntry(
            losses(at_rung, self._objectives),
            speed_loss(at_rung, self._objectives),
            total_violation(violations_of(at_rung, self._cost_limits, reference)),
        )
