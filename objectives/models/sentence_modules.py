"""What a model's sentence-transformers configuration says of its text vectors: pooling, normalization, prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autoopt.objectives.models.json_file import read_json
from autoopt.strategies.errors import ModelError
from autoopt.strategies.networks.pooling import STRATEGY as POOLING
from autoopt.strategies.saving import DESCRIPTION

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
FILES = (MODULES, SETTINGS, "*_Pooling/config.json")
"""Patterns of the files that are read, for downloads."""
PROMPT = "classification"
"""Name of the prompt that is used if the model has it; else its default prompt is."""
_POOLINGS = MappingProxyType({"mean": "mean", "cls": "first", "max": "max", "lasttoken": "last"})
"""Our names by those of sentence-transformers; of several poolings, which it concatenates, the first of these."""
_LEGACY_KEYS = MappingProxyType(
    {
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_cls_token": "cls",
        "pooling_mode_max_tokens": "max",
        "pooling_mode_lasttoken": "lasttoken",
    }
)


@dataclass(frozen=True)
class SentenceModules:
    """How sentence-transformers would make a vector of a text."""

    pooling: str
    """One of ``POOLINGS``."""
    normalizes: bool
    prompt: str
    """Text that precedes every text; empty for none."""


def read_modules(folder: Path) -> SentenceModules | None:
    """Return what the folder's ``modules.json`` describes; None if it has none, or no pooling that is supported.

    Raises ``ModelError`` for files that are damaged or lead out of the folder.
    """
    if not (folder / MODULES).is_file():
        return None
    modules = read_json(folder / MODULES, kind=list)
    types = [str(entry.get("type", "")).rpartition(".")[2] for entry in modules if isinstance(entry, dict)]
    if "Pooling" not in types or len(types) < len(modules):
        return None
    name = str(modules[types.index("Pooling")].get("path", ""))
    if Path(name).name != name:
        raise ModelError(f"{folder / MODULES} has the path '{name}', which is no folder beside it; correct it")
    config_file = folder / name / "config.json"
    pooling = _pooling(read_json(config_file)) if name and config_file.is_file() else None
    if pooling is None:
        return None
    return SentenceModules(pooling, "Normalize" in types, _prompt(folder))


def prompt_of(folder: Path) -> str:
    """Return the text that precedes every text of the model, as sentence-transformers or a saved candidate has it."""
    if (folder / DESCRIPTION).is_file():
        task = read_json(folder / DESCRIPTION).get("task")
        text = task.get("prompt", "") if isinstance(task, dict) else ""
        return text if isinstance(text, str) else ""
    modules = read_modules(folder) if folder.is_dir() else None
    return modules.prompt if modules else ""


def pooling_named(folder: Path) -> str | None:
    """Return the pooling that the model's files name; None if they name none."""
    if (folder / DESCRIPTION).is_file():
        edits = read_json(folder / DESCRIPTION).get("edits")
        poolings = [edit.get(POOLING) for edit in edits if isinstance(edit, dict)] if isinstance(edits, list) else []
        return next((str(pooling) for pooling in poolings if pooling), None)
    modules = read_modules(folder) if folder.is_dir() else None
    return modules.pooling if modules else None


def _pooling(config: Mapping[str, Any]) -> str | None:
    modes = config.get("pooling_mode", [mode for key, mode in _LEGACY_KEYS.items() if config.get(key)])
    names = [modes] if isinstance(modes, str) else modes
    return next((ours for theirs, ours in _POOLINGS.items() if theirs in names), None)


def _prompt(folder: Path) -> str:
    if not (folder / SETTINGS).is_file():
        return ""
    settings = read_json(folder / SETTINGS)
    prompts = settings.get("prompts")
    prompts = {str(name).lower(): text for name, text in prompts.items()} if isinstance(prompts, dict) else {}
    text = prompts.get(PROMPT) or prompts.get(str(settings.get("default_prompt_name")).lower())
    return text if isinstance(text, str) else ""
