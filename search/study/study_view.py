"""Read-only views of the studies under a root, from their files and their database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from autoopt.objectives.judging.budget import IntervalEnd, Limit, metrics
from autoopt.objectives.judging.verdict import judge
from autoopt.objectives.measurement import Measurement
from autoopt.search.choosing.front import champion, losses, pareto
from autoopt.search.experiment.experiment import Experiment, load_experiment
from autoopt.search.experiment.opening import directions
from autoopt.search.identity.lock import lock_holder
from autoopt.search.names import check_name
from autoopt.search.paths import Root, StudyFolder
from autoopt.search.study.outcome import Outcome, read_front
from autoopt.search.study.verification import Verified
from autoopt.search.trial.record import COUNTED, State, TrialRecord
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.errors import CorruptArtefact, UnknownName, UsageError, did_you_mean
from autoopt.strategies.system.checked_files import verify_yaml


class Phase(StrEnum):
    """State of a study."""

    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class StudyView:
    """One study, as seen from outside."""

    name: str
    folder: StudyFolder
    experiment: Experiment
    records: Sequence[TrialRecord]
    outcome: Outcome | None
    """The verified front; None until the search has ended once."""
    held_by: str | None
    """The process that searches it now; None if there is none."""

    @property
    def phase(self) -> Phase:
        if self.held_by is not None:
            return Phase.RUNNING
        ended = self.outcome is not None and (
            self.counted >= self.experiment.search.trials or self.outcome.stopped_because
        )
        return Phase.FINISHED if ended else Phase.INTERRUPTED

    @property
    def counted(self) -> int:
        """Number of ended trials."""
        return sum(record.state in COUNTED for record in self.records)

    @cached_property
    def baseline(self) -> TrialRecord | None:
        if self.outcome is not None:
            return self.outcome.baseline.record
        finetuned = (
            record
            for record in self.records
            if not record.recipe.model and [step.name for step in record.recipe.steps] == [FullFinetuning.name]
        )
        return next((record for record in finetuned if record.state is State.COMPLETE), None)

    @property
    def feasible(self) -> list[TrialRecord]:
        return [record for record in self.records if record.feasible]

    @property
    def best(self) -> TrialRecord | None:
        """The feasible trial of best quality."""
        return champion(self.feasible, directions(self.experiment)) if self.feasible else None

    def trial(self, number: int) -> TrialRecord:
        """Return a trial; raises ``UnknownName``, which lists the numbers that exist."""
        for record in self.records:
            if record.number == number:
                return record
        numbers = [record.number for record in self.records]
        there = f"there are {min(numbers)} to {max(numbers)}" if numbers else "it has none yet"
        raise UnknownName(f"the study '{self.name}' has no trial {number}; {there}")

    def number_of(self, trial: str) -> int:
        """Return the number of a trial by its number, ``baseline`` or an alias such as ``champion``.

        Raises ``UnknownName``, which lists the names that there are.
        """
        if trial.isascii() and trial.isdecimal():
            return int(trial)
        named = dict(self.outcome.named) if self.outcome else {}
        if self.baseline:
            named["baseline"] = self.baseline.number
        if trial in named:
            return named[trial]
        names = ", ".join(named) or "none yet, since its front was not verified"
        raise UnknownName(
            f"the study '{self.name}' has no trial '{trial}'{did_you_mean(trial, named)}; give the number of a trial, "
            f"or one of its names: {names}"
        )

    def verified(self, number: int) -> Verified | None:
        """Return the verified model of a trial; None if it was not verified."""
        outcome = self.outcome
        models = (outcome.baseline, *outcome.models, *outcome.failed, *outcome.beaten) if outcome else ()
        return next((model for model in models if model.record.number == number), None)

    def front_within(self, limits: Sequence[Limit]) -> list[JudgedTrial]:
        """Return the front of the stored trials within other limits, best quality first.

        Verified trials are judged as in verification: by the worse end of the intervals of their second measurement.
        """
        trials = [self._judge(record, limits) for record in self.records if record.state is State.COMPLETE]
        objectives = directions(self.experiment)
        front = pareto([trial for trial in trials if trial.record.feasible], objectives)
        return sorted(front, key=lambda trial: losses(trial, objectives))

    def nearest(self, limits: Sequence[Limit]) -> JudgedTrial | None:
        """Return the complete trial that violates the limits least; None if there is none.

        It is the baseline only if no other is complete.
        """
        trials = [self._judge(record, limits) for record in self.records if record.state is State.COMPLETE]
        others = [trial for trial in trials if self.baseline is None or trial.record.number != self.baseline.number]
        return min(others or trials, key=lambda trial: trial.record.total_violation, default=None)

    def check_measured(self, limits: Sequence[Limit]) -> None:
        """Raise ``UsageError`` if a limit is on a metric that no complete trial has."""
        complete = [record for record in self.records if record.state is State.COMPLETE]
        measured = {name for record in complete for name in record.measurements} & metrics().keys()
        for limit in limits if complete else ():
            if limit.metric not in measured:
                raise UsageError(
                    f"'{limit.text}': the study '{self.name}' did not measure {limit.metric}, only "
                    f"{', '.join(sorted(measured))}; name it in 'objectives' or 'budget' of another study"
                )

    def _judge(self, record: TrialRecord, limits: Sequence[Limit]) -> JudgedTrial:
        verified = self.verified(record.number)
        measured = verified.record.measurements if verified else record.measurements
        reference = self.baseline.measurements if self.baseline else {}
        end = IntervalEnd.WORSE if verified else IntervalEnd.VALUE
        corrections = {} if verified else record.corrections
        violations = judge(measured, limits, reference, end=end, corrections=corrections).by_text
        judged = replace(record, measurements=measured, violations=violations)
        return JudgedTrial(judged, replace(verified, record=judged) if verified else None)


@dataclass(frozen=True)
class JudgedTrial:
    """A stored trial, judged by limits other than the study's own."""

    record: TrialRecord
    verified: Verified | None
    """The verified model with the same record; None if it was not verified."""

    @property
    def measurements(self) -> Mapping[str, Measurement]:
        return self.verified.measurements if self.verified else self.record.measurements


def study_names(root: Root) -> list[str]:
    """Return the names of the studies under this root, in alphabetical order."""
    folder = root.path / "studies"
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if root.study(path.name).experiment.is_file())


def load_study_view(root: Root, name: str) -> StudyView:
    """Load one study; raises ``UnknownName``, which lists the existing studies, or ``EnvironmentProblem``."""
    check_name(name, "study")
    folder = root.study(name)
    if not folder.experiment.is_file():
        names = study_names(root)
        listed = f"there are {', '.join(names)}" if names else "there is none yet; 'autoopt search' makes one"
        raise UnknownName(f"there is no study '{name}' in {root.path}{did_you_mean(name, names) or ';'} {listed}")
    verify_yaml(folder.experiment)
    experiment = load_experiment(folder.experiment)
    outcome = None
    with suppress(CorruptArtefact):  # It counts as not verified yet, and the next search verifies it again.
        outcome = read_front(folder.front)
    return StudyView(name, folder, experiment, _records(root, experiment), outcome, lock_holder(folder.lock))


def _records(root: Root, experiment: Experiment) -> list[TrialRecord]:
    from autoopt.search.backends.optuna_records import records
    from autoopt.search.backends.optuna_storage import database_url

    address = experiment.storage.address()
    if address is None and not root.optuna_database.is_file():
        return []  # Reading must not create a database.
    try:
        return records(address or database_url(root.optuna_database), experiment.study)
    except UnknownName:
        return []  # Stopped before its first trial.
