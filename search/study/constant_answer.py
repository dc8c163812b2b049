"""Whether the baseline is better than always giving the commonest answer, and than a bag of words."""

from __future__ import annotations

from autoopt.objectives.measurement import QUALITY
from autoopt.search.trial.record import State, TrialRecord


def doubt_about(
    baseline: TrialRecord, constant_quality: float | None, bag_of_words_quality: float | None = None
) -> str:
    """Return a warning about a weak baseline; empty if nothing speaks against it.

    Its quality is weak if the interval holds ``constant_quality``, or if it is below ``bag_of_words_quality``.
    """
    quality = baseline.measurements.get(QUALITY)
    if quality is None or baseline.state is not State.COMPLETE:
        return ""
    interval = f"{quality.value:.1%} (95 % interval {quality.low:.1%} to {quality.high:.1%})"
    if constant_quality is not None and quality.low <= constant_quality:
        return (
            f"the baseline's quality, {interval}, is not above that of always giving the commonest answer, "
            f"{constant_quality:.1%}: it has learned nothing that the validation data show; check the columns of texts "
            "and labels, or train longer"
        )
    if bag_of_words_quality is not None and quality.value < bag_of_words_quality:
        return (
            f"the baseline's quality, {interval}, is below that of a bag of words (TF-IDF and a linear classifier, "
            f"trained in seconds), {bag_of_words_quality:.1%}: gains over this baseline say little; train longer "
            "(strategies.full_finetuning.epochs), or give another base model"
        )
    return ""
