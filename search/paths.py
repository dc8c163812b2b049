"""Paths on disk: a root with the databases, the stage store and one folder per study."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

ROOT_VARIABLE = "AUTOOPT_ROOT"
DEFAULT_ROOT = "autoopt-studies"


def default_root() -> Path:
    """Return ``$AUTOOPT_ROOT``, else ``autoopt-studies`` in the current folder."""
    return Path(os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT).absolute()


@dataclass(frozen=True)
class Root:
    """The folder that holds all studies and what they share."""

    path: Path

    @property
    def optuna_database(self) -> Path:
        return self.path / "optuna.db"

    @property
    def mlflow_database(self) -> Path:
        return self.path / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        return self.path / "mlflow-artifacts"

    @property
    def stages(self) -> Path:
        return self.path / "stages"

    @property
    def shapes(self) -> Path:
        return self.path / "shapes"

    @property
    def tokens(self) -> Path:
        """Tokenized examples, shared by all studies."""
        return self.path / "tokens"

    def as_option(self) -> str:
        """Return what a command needs to find this root, with a blank before it; empty for the default one."""
        return "" if self.path == default_root() else f" --root {shlex.quote(str(self.path))}"

    def study(self, name: str) -> StudyFolder:
        return StudyFolder(self.path / "studies" / name)


@dataclass(frozen=True)
class StudyFolder:
    """The output folder of one study."""

    path: Path

    @property
    def experiment(self) -> Path:
        return self.path / "experiment.resolved.yaml"

    @property
    def origin(self) -> Path:
        """Address in the stage store of the unchanged base model with this study's data."""
        return self.path / "origin"

    def origin_of(self, label: str) -> Path:
        """Like ``origin``, for a base model after the first; empty for the first one itself."""
        return self.path / f"origin-{quote(label, safe='')}" if label else self.origin

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def id(self) -> Path:
        """Id of the study's owner in the database."""
        return self.path / "id"

    @property
    def front(self) -> Path:
        return self.path / "front.json"

    @property
    def trials_table(self) -> Path:
        return self.path / "trials.csv"

    @property
    def models(self) -> Path:
        """Verified models of the front, one folder each."""
        return self.path / "models"

    def kept_model(self, number: int) -> Path:
        """Folder of a verified model of the front."""
        return self.models / f"trial-{number:04d}"

    @property
    def all_predictions(self) -> Path:
        """Folder with one file per verified model."""
        return self.path / "predictions"

    def predictions(self, number: int) -> Path:
        """A verified model's answers on the test split."""
        return self.all_predictions / f"trial-{number:04d}.jsonl"

    def trial(self, number: int) -> Path:
        return self.path / "trials" / f"{number:04d}"

    def result(self, number: int) -> Path:
        """Written atomically by the worker, before the driver learns that the trial has ended."""
        return self.trial(number) / "result.json"

    def seed_result(self, number: int, seed: int) -> Path:
        """Like ``result``, for the same recipe trained with another seed."""
        return self.trial(number) / f"seed-{seed}.json"

    def model(self, number: int) -> Path:
        """Folder of the saved candidate of a trial."""
        return self.trial(number) / "model"
