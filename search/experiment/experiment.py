"""The experiment: a YAML file, validated and frozen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, ValidationInfo, WithJsonSchema, field_validator, model_validator

from autoopt.objectives.costs import costs
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.judging.budget import Limit, other_names
from autoopt.objectives.measurement import QUALITY
from autoopt.search.experiment import examples
from autoopt.search.experiment.error_messages import error_lines
from autoopt.search.experiment.fields import BudgetLimit, ModelNames, ObjectiveName, Section, StudyName
from autoopt.search.experiment.overrides import apply_overrides, resolve_paths
from autoopt.search.experiment.sections import (
    ResourcesSection,
    SearchSection,
    StorageSection,
    TargetSection,
    TrackingSection,
)
from autoopt.search.experiment.task_section import TaskSection
from autoopt.search.experiment.yaml_file import Document, dump_yaml, read_yaml
from autoopt.search.space import base_model
from autoopt.search.space.strategy_choice import InvalidStrategies, StrategyChoice, choose_all
from autoopt.strategies.catalog import catalog
from autoopt.strategies.errors import CorruptArtefact, ExperimentError, UnknownName, did_you_mean
from autoopt.strategies.system.checked_files import verify_yaml

OTHERS = "others"
"""Key under ``strategies``: whether strategies that are not named are used."""
CHANGEABLE_ON_RESUME = frozenset(
    {
        "search.trials",
        "search.timeout",
        "search.trial_timeout",
        "search.max_compute",
        "search.stop_when_gain",
        "search.confirm_seeds",
        "resources",
        "tracking",
        "storage",
    }
)
"""Keys that may change when a study is resumed; all others decide what its trials mean."""


Strategies = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["boolean", "object"]}}),
]


class Experiment(Section):
    """An experiment with all defaults."""

    study: StudyName
    task: TaskSection = TaskSection()
    model: ModelNames
    """A folder, ``package://name/path``, or a name on the Hub; or a list of them, the baseline's first."""
    data: DataSettings
    target: TargetSection = TargetSection()
    objectives: Annotated[tuple[ObjectiveName, ...], Field(strict=False, min_length=1)] = (QUALITY, "latency_p50")
    """Measurements that span the front."""
    budget: Annotated[tuple[BudgetLimit, ...], Field(strict=False)] = ()
    """Limits that a feasible model keeps."""
    search: SearchSection = SearchSection()
    strategies: Strategies = Field(default_factory=dict, validate_default=True)
    """For each strategy ``false``, ``true`` or its settings; ``others: false`` excludes those that are not named."""
    resources: ResourcesSection = Field(default_factory=ResourcesSection)
    tracking: TrackingSection = TrackingSection()
    storage: StorageSection = StorageSection()

    @model_validator(mode="before")
    @classmethod
    def _expand_short_forms(cls, values: Any) -> Any:
        """Expand ``task: NAME``, and default the target's length to the data's."""
        if not isinstance(values, Mapping):
            return values
        # A section with all lines commented out is null: it has its defaults.
        full = {key: value for key, value in values.items() if value is not None}
        if isinstance(full.get("task"), str):
            full["task"] = {"name": full["task"]}
        target, data = full.get("target", {}), full.get("data")
        if isinstance(target, Mapping) and isinstance(data, Mapping) and isinstance(data.get("max_length"), int):
            full["target"] = {"sequence_length": data["max_length"], **target}
        return full

    @field_validator("objectives")
    @classmethod
    def _check_unique(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        duplicates = sorted({name for name in names if names.count(name) > 1})
        if duplicates:
            aliases = [alias for alias, name in other_names().items() if name == duplicates[0]]
            meaning = f" ({', '.join(aliases)} is {duplicates[0]})" if aliases else ""
            raise ValueError(f"'{duplicates[0]}' is listed twice{meaning}; list each objective once")
        return names

    @field_validator("objectives", "budget")
    @classmethod
    def _check_written(cls, values: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        """Refuse the time of a token for models that write none."""
        task = info.data.get("task")
        names = {value.metric if isinstance(value, Limit) else value for value in values}
        of_writing = sorted(name for name in names & costs().keys() if costs()[name].calls.writes)
        if of_writing and task is not None and not task.task_type.writes:
            raise ValueError(
                f"'{of_writing[0]}' is a cost of models that write text (task causal_lm), and this task is "
                f"{task.name}; use latency_p50 or throughput"
            )
        return values

    @field_validator("strategies", mode="before")
    @classmethod
    def _name_every_strategy(cls, values: Any) -> Any:
        """Add the strategies that are not named, with the value of ``others``."""
        if not isinstance(values, Mapping):
            return values
        others = values.get(OTHERS, True)
        if not isinstance(others, bool):
            raise InvalidStrategies([((OTHERS,), f"expected true or false, got {others!r}")])
        return {OTHERS: others, **dict.fromkeys(catalog(), others), **values}

    @field_validator("strategies")
    @classmethod
    def _check_strategies(cls, values: dict[str, Any]) -> dict[str, Any]:
        choose_all({name: settings for name, settings in values.items() if name != OTHERS})
        return values

    @property
    def base_models(self) -> dict[str, str]:
        """Names of the base models by their labels, the baseline's first."""
        names = (self.model,) if isinstance(self.model, str) else self.model
        return dict(zip(base_model.labels(names), names, strict=True))

    def base_model_of(self, label: str) -> str:
        """Return the name of a recipe's base model, by the label in the recipe, which is empty for the first one."""
        return self.base_models[label] if label else next(iter(self.base_models.values()))

    def recipe_model(self, label: str) -> str:
        """Return ``Recipe.model`` of the recipes that start from the base model of this label."""
        return "" if label == next(iter(self.base_models)) else label

    def choices(self) -> dict[str, StrategyChoice]:
        """Return the strategies in use, in the order of the catalog, with their fixed and searched settings."""
        return choose_all({name: settings for name, settings in self.strategies.items() if name != OTHERS})

    def metrics(self) -> frozenset[str]:
        """Return the names of all measurements that matter: the objectives and those with a limit."""
        return frozenset(self.objectives) | {limit.metric for limit in self.budget}

    def to_json(self) -> dict[str, Any]:
        """Return plain data that validates to the same experiment; secrets remain ``${ENV:NAME}``."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_yaml(self) -> str:
        """Return the experiment as a file."""
        return dump_yaml(self.to_json())

    def fingerprint(self) -> dict[str, Any]:
        """Return the values that must not change when the study is resumed, by dotted key."""
        return {
            key: value
            for key, value in _flatten(self.to_json())
            if not any(key == changeable or key.startswith(changeable + ".") for changeable in CHANGEABLE_ON_RESUME)
        }

    def differences(self, other: Experiment | Mapping[str, Any]) -> list[str]:
        """Return what differs in ``other``, an experiment or a fingerprint: ``data.split.train: 300 -> 400``."""
        ours, theirs = self.fingerprint(), other.fingerprint() if isinstance(other, Experiment) else other
        return [
            f"{key}: {_shown(ours, key)} -> {_shown(theirs, key)}"
            for key in dict.fromkeys([*ours, *theirs])
            if ours.get(key) != theirs.get(key)
        ]


def load_experiment(path_or_example: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment file, or the built-in example of this name if there is no such file.

    ``overrides`` are ``key.sub=value``, parsed as YAML. Paths in the file are relative to its folder, in overrides
    to the current one. Raises ``ExperimentError`` with a line for each error: file, line, key and remedy.
    """
    path = _resolve(str(path_or_example))
    document = read_yaml(path)
    if not isinstance(document.data, dict):
        raise ExperimentError(
            f"{path}:1: an experiment file holds keys such as 'study:', 'model:' and 'data:'; this one has none"
        )
    resolved = resolve_paths(document.data, path.absolute().parent)
    return validate(apply_overrides(Document(document.source, resolved, document.positions), overrides))


def stored_experiment(path: Path) -> tuple[Experiment | None, str]:
    """Return the experiment in a study's folder, None if there is none, and what is wrong with a damaged file."""
    try:
        verify_yaml(path)
        return load_experiment(path, ()), ""
    except FileNotFoundError:
        return None, ""
    except (CorruptArtefact, ExperimentError) as error:
        return None, str(error).splitlines()[0]


def validate(document: Document) -> Experiment:
    """Validate a document. Raises ``ExperimentError`` as ``load_experiment``."""
    try:
        return Experiment.model_validate(document.data)
    except ValidationError as error:
        raise ExperimentError("\n".join(error_lines(error, document, Experiment))) from None


def example_names() -> list[str]:
    """Return the names of the built-in examples."""
    return sorted(path.stem for path in _examples_folder().glob("*.yaml"))


def _resolve(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise ExperimentError(f"{path} is a folder; give an experiment file, or the name of an example: {_listed()}")
    if name in example_names():
        return _examples_folder() / f"{name}.yaml"
    near = did_you_mean(name, example_names())
    raise UnknownName(
        f"there is no experiment file '{name}', and no example of this name{near}; examples are {_listed()}"
    )


def _listed() -> str:
    return ", ".join(example_names())


def _examples_folder() -> Path:
    return Path(next(iter(examples.__path__)))


def _shown(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key, "not set")
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict) or not value:
        yield prefix, value
        return
    for key, inner in value.items():
        yield from _flatten(inner, f"{prefix}.{key}" if prefix else key)
