"""What a study was started with: fingerprints of its data and of the base models' files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.models import packages
from autoopt.objectives.models.model_folder import ModelFolder
from autoopt.search.experiment.experiment import Experiment
from autoopt.search.trial.stage_store import content_digest
from autoopt.strategies.candidate import Span

MODEL_SUFFIXES = frozenset({".json", ".safetensors", ".txt", ".model", ".jinja", ".gguf"})
"""Suffixes of the files from which a model and its tokenizer are loaded."""


@dataclass(frozen=True)
class Fingerprint:
    """A digest and what it covers."""

    sha256: str
    """Empty for a source that is not on disk, such as a dataset on the Hub."""
    rows: int | None = None
    """Rows of a source as read, or examples of a split; None for a file of the model."""

    def to_json(self) -> dict[str, Any]:
        return {"sha256": self.sha256, "rows": self.rows}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Fingerprint:
        return cls(fields["sha256"], fields["rows"])


Fingerprints = Mapping[str, Fingerprint]


@dataclass(frozen=True)
class Inputs:
    """Fingerprints of all that the trials of a study read."""

    sources: Fingerprints
    """By the address of the data as the experiment gives it."""
    splits: Fingerprints
    """By split: ``train``, ``validation``, ``test``, ``unlabeled``, as the trials see them."""
    model: Fingerprints
    """By the name of a file of the base model; of one after the first, ``LABEL/NAME``."""

    @classmethod
    def of(cls, experiment: Experiment, data: TextData, models: Mapping[str, ModelFolder]) -> Inputs:
        """Fingerprint the data as they were read and the files of the base models, which are given by label."""
        addresses, labels = _addresses(experiment.data), list(data.labels)
        return cls(
            {address: Fingerprint(_file_digest(address), data.sources.get(address)) for address in addresses},
            {
                "train": Fingerprint(_digest([labels, data.train]), len(data.train)),
                "validation": Fingerprint(_digest([labels, data.validation]), len(data.validation)),
                "test": Fingerprint(_digest([labels, data.test]), len(data.test)),
                "unlabeled": Fingerprint(_digest(data.unlabeled), len(data.unlabeled)),
                **({"reserve": Fingerprint(_digest(data.reserve), len(data.reserve))} if data.reserve else {}),
            },
            {name: Fingerprint(content_digest(str(path))) for name, path in _files_of_models(models).items()},
        )

    def to_json(self) -> dict[str, Any]:
        groups = {"sources": self.sources, "splits": self.splits, "model": self.model}
        return {group: {name: item.to_json() for name, item in items.items()} for group, items in groups.items()}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Inputs:
        return cls(
            *(
                {name: Fingerprint.from_json(item) for name, item in fields[group].items()}
                for group in ("sources", "splits", "model")
            )
        )

    def changes_since(self, earlier: Inputs) -> list[str]:
        """Return what differs from ``earlier``, one sentence each; empty if the trials would see the same.

        A source whose bytes changed does not count as long as the splits stay the same.
        """
        model = _changes(earlier.model, self.model, "the model's file {}")
        splits = _changes(earlier.splits, self.splits, "the split {}")
        sources = _changes(earlier.sources, self.sources, "{}") if splits else []
        return [*sources, *splits, *model]


def _changes(before: Fingerprints, now: Fingerprints, subject: str) -> list[str]:
    return [
        f"{subject.format(name)} {_describe(before.get(name), now.get(name))}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]


def _describe(before: Fingerprint | None, now: Fingerprint | None) -> str:
    if before is None or now is None:
        return "is new" if before is None else "is missing"
    if before.rows is None or now.rows is None:
        return "has other content"
    if before.rows != now.rows:
        return f"had {before.rows:,} rows, now {now.rows:,}"
    return f"has as many rows as before, {now.rows:,}, with other content"


def _addresses(settings: DataSettings) -> list[str]:
    addresses = (settings.source, settings.train, settings.validation, settings.test, settings.unlabeled)
    return list(dict.fromkeys(address for address in addresses if address))


def _file_digest(address: str) -> str:
    return content_digest(str(packages.locate(address)) if address.startswith(packages.PREFIX) else address)


def _files_of_models(models: Mapping[str, ModelFolder]) -> dict[str, Path]:
    """Return the files of all base models; the names of the first one's are without its label."""
    prefixes = ["", *(f"{label}/" for label in list(models)[1:])]
    return {
        f"{prefix}{path.name}": path
        for prefix, folder in zip(prefixes, models.values(), strict=True)
        for path in _model_files(folder.path)
    }


def _model_files(path: Path) -> Sequence[Path]:
    if path.is_file():
        return [path]
    return sorted(item for item in path.iterdir() if item.is_file() and item.suffix in MODEL_SUFFIXES)


def _digest(value: Any) -> str:
    content = json.dumps(value, default=_to_json, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def _to_json(value: Any) -> Any:
    if isinstance(value, Span):
        return value.text, value.start
    return value.text, value.text_pair, value.label
