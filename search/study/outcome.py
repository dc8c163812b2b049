"""The outcome of a search, and its files in the study's folder: ``front.json`` and ``trials.csv``."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autoopt.objectives.measurement import Measurement
from autoopt.objectives.scoring.bootstrap import Difference
from autoopt.search.paths import StudyFolder
from autoopt.search.study.evidence import Seeds
from autoopt.search.study.verification import Verified
from autoopt.search.trial.record import State, TrialRecord
from autoopt.strategies.errors import CorruptArtefact
from autoopt.strategies.system.checked_files import read_json, write_json
from autoopt.strategies.system.files import whole_file


@dataclass(frozen=True)
class Outcome:
    """The verified front of a study."""

    study: str
    baseline: Verified
    models: tuple[Verified, ...]
    """Verified, feasible and non-dominated models, best quality first."""
    named: Mapping[str, int]
    """Trial numbers by alias: ``champion``, ``fastest``, ``smallest``, ``balanced``."""
    failed: tuple[Verified, ...] = ()
    """Models of the search's front that are infeasible when measured again, the least violating first."""
    beaten: tuple[Verified, ...] = ()
    """Models of the search's front that are feasible but dominated when measured again."""
    versions: Mapping[int, int] = field(default_factory=dict)
    """Version in the registry by trial number."""
    stopped_because: str = ""
    """Why the search ended before its number of trials; empty if it did not."""

    doubt: str = ""
    """Why the results may mean nothing; empty if nothing speaks for it."""
    compute_s: float = 0.0
    """Total compute of all trials, in seconds."""
    saved_s: float = 0.0
    """Additional compute that the trials would have taken without the stage store, in seconds."""
    base_models: tuple[str, ...] = ()
    """Labels of the study's base models, the baseline's first; empty if there is one only."""

    @property
    def tried(self) -> set[int]:
        """Trial numbers of all verified models; the baseline's only if it is on the front."""
        return {model.record.number for model in (*self.models, *self.failed, *self.beaten)}

    @property
    def champion(self) -> Verified | None:
        number = self.named.get("champion")
        return next((model for model in self.models if model.record.number == number), None)

    def to_json(self) -> dict[str, Any]:
        return {
            "study": self.study,
            "baseline": verified_json(self.baseline),
            "models": [verified_json(model) for model in self.models],
            "failed": [verified_json(model) for model in self.failed],
            "beaten": [verified_json(model) for model in self.beaten],
            "named": dict(self.named),
            "versions": {str(number): version for number, version in self.versions.items()},
            "stopped_because": self.stopped_because,
            "doubt": self.doubt,
            "compute_s": self.compute_s,
            "saved_s": self.saved_s,
            "base_models": list(self.base_models),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Outcome:
        return cls(
            study=fields["study"],
            baseline=_verified(fields["baseline"]),
            models=tuple(map(_verified, fields["models"])),
            failed=tuple(map(_verified, fields["failed"])),
            beaten=tuple(map(_verified, fields["beaten"])),
            named=dict(fields["named"]),
            versions={int(number): version for number, version in fields["versions"].items()},
            stopped_because=fields["stopped_because"],
            doubt=fields.get("doubt", ""),
            compute_s=fields["compute_s"],
            saved_s=fields["saved_s"],
            base_models=tuple(fields.get("base_models", ())),
        )


def compute_of(records: Sequence[TrialRecord]) -> tuple[float, float]:
    """Return the compute of the trials and what reusing stages saved, in seconds."""
    return (
        sum(record.seconds for record in records),
        sum(stage.saved for record in records for stage in record.stages),
    )


def write_front(outcome: Outcome, path: Path) -> None:
    """Write the outcome with its digest, atomically."""
    write_json(path, outcome.to_json(), indent=1)


def read_front(path: Path) -> Outcome | None:
    """Return the outcome that was written last; None if there is none yet. Raises ``CorruptArtefact``."""
    if not path.is_file():
        return None
    fields = read_json(path)
    try:
        return Outcome.from_json(fields)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptArtefact(f"{path} holds no front: {error}") from None


def trial_table(records: Sequence[TrialRecord], base_models: Sequence[str] = ()) -> tuple[list[str], list[list[Any]]]:
    """Return column names and one row per trial; with the base model if there are several, the first one's first."""
    metrics = sorted({name for record in records for name in record.measurements})
    model = ["model"] if len(base_models) > 1 else []
    header = ["trial", "state", "feasible", *model, "recipe", *metrics, "seconds", "reused_stages", "reason"]
    return header, [
        [
            *(record.number, record.state.value, record.feasible),
            *([record.recipe.model or base_models[0]] if model else []),
            record.recipe.describe_steps(),
            *(record.measurements[name].value if name in record.measurements else None for name in metrics),
            *(record.seconds, sum(stage.reused for stage in record.stages), record.reason),
        ]
        for record in records
    ]


def write_trials(records: Sequence[TrialRecord], path: Path, base_models: Sequence[str] = ()) -> None:
    """Write ``trial_table``."""
    header, rows = trial_table(records, base_models)
    with whole_file(path) as work, work.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def has_ended_trials(folder: StudyFolder) -> bool:
    """Return whether a trial of the study has ended, by its files alone."""
    if any(folder.path.glob("trials/*/result.json")):
        return True
    with suppress(OSError, csv.Error), folder.trials_table.open(encoding="utf-8", newline="") as file:
        return any(row["state"] != State.RUNNING for row in csv.DictReader(file))
    return False


def verified_json(model: Verified) -> dict[str, Any]:
    """Return the model as JSON, including the gap between validation and test."""
    return {
        "record": model.record.to_json(),
        "test": {name: measured.to_json() for name, measured in model.test.items()},
        "difference": asdict(model.difference) if model.difference else None,
        "gap": model.gap.to_json() if model.gap else None,
        "seeds": model.seeds.to_json() if model.seeds else None,
    }


def _verified(fields: Mapping[str, Any]) -> Verified:
    difference, seeds = fields["difference"], fields["seeds"]
    return Verified(
        record=TrialRecord.from_json(fields["record"]),
        test={name: Measurement.from_json(item) for name, item in fields["test"].items()},
        difference=Difference(**difference) if difference else None,
        seeds=Seeds.from_json(seeds) if seeds else None,
    )
