"""Whether the baseline is better than always giving the commonest answer."""

from __future__ import annotations

from autoopt.objectives.measurement import QUALITY
from autoopt.search.trial.record import State, TrialRecord


def doubt_about(baseline: TrialRecord, constant_quality: float | None) -> str:
    """Return a warning if the interval of the baseline's quality holds ``constant_quality``; empty if it is better."""
    quality = baseline.measurements.get(QUALITY)
    if quality is None or constant_quality is None or baseline.state is not State.COMPLETE:
        return ""
    if quality.low > constant_quality:
        return ""
    return (
        f"the baseline's quality, {quality.value:.1%} (95 % interval {quality.low:.1%} to {quality.high:.1%}), is not "
        f"above that of always giving the commonest answer, {constant_quality:.1%}: it has learned nothing that the "
        "validation data show; check the columns of texts and labels, or train longer"
    )
