"""The ``task`` section of an experiment: its keys come from the registry of tasks."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Self

from pydantic import ConfigDict, GetJsonSchemaHandler, ValidationInfo, field_validator, model_validator
from pydantic_core import CoreSchema, InitErrorDetails, ValidationError

from autoopt.objectives.task import Task
from autoopt.objectives.tasks import find_task, tasks
from autoopt.search.experiment.fields import Section, as_validator
from autoopt.strategies.errors import did_you_mean


class TaskSection(Section):
    """The task, the score that counts as quality, and settings of the task."""

    model_config = ConfigDict(extra="allow")  # Checked by ``_check_settings``.

    name: str = "text_classification"
    metric: str | None = None
    """By default the task's first that fits the data."""

    @property
    def task_type(self) -> type[Task]:
        """The task of this name."""
        return find_task(self.name)

    def settings(self) -> dict[str, Any]:
        """Return the settings that are given."""
        return {key: value for key, value in (self.model_extra or {}).items() if value is not None}

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        as_validator(find_task)(name)
        return name

    @field_validator("metric")
    @classmethod
    def _check_metric(cls, metric: str | None, info: ValidationInfo) -> str | None:
        name = info.data.get("name")
        if name is None or metric is None:
            return metric  # An unknown task is reported already.
        allowed = find_task(name).metrics
        if metric not in allowed:
            raise ValueError(
                f"'{metric}' is no metric of {name}{did_you_mean(metric, allowed)}; choose {' or '.join(allowed)}"
            )
        return metric

    @model_validator(mode="after")
    def _check_settings(self) -> Self:
        """Raise a ``ValidationError`` for each key that is not a setting of the task, or has an invalid value."""
        model, extra = self.task_type.settings(), self.model_extra or {}
        allowed = list(model.model_fields)
        unknown = [_unknown_key(self, key, allowed) for key in extra if key not in allowed]
        if unknown:
            raise ValidationError.from_exception_data("task", unknown)
        settings = self.settings()
        parsed = model.model_validate(settings)
        extra.clear()
        extra.update({key: getattr(parsed, key) for key in settings})
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the schema with the names, metrics and settings of all tasks."""
        reference = handler(core_schema)
        schema = handler.resolve_ref_schema(reference)
        types = {name: find_task(name) for name in tasks()}
        metrics = {metric for task_type in types.values() for metric in task_type.metrics}
        schema["additionalProperties"] = False
        schema["properties"]["name"]["enum"] = list(types)
        schema["properties"]["metric"]["anyOf"][0]["enum"] = sorted(metrics)
        schema["properties"].update(_setting_schemas(types))
        return reference


def _setting_schemas(types: dict[str, type[Task]]) -> dict[str, dict[str, Any]]:
    """Return the schema of each setting; of one that several tasks have, any of theirs."""
    schemas: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for name, task_type in types.items():
        for key, schema in task_type.settings().model_json_schema().get("properties", {}).items():
            description = f"Of {name}: {schema.get('description', key)}"
            schemas[key].append({**{k: v for k, v in schema.items() if k != "title"}, "description": description})
    return {key: options[0] if len(options) == 1 else {"anyOf": options} for key, options in schemas.items()}


def _unknown_key(section: TaskSection, key: str, settings: list[str]) -> InitErrorDetails:
    owners = [name for name in tasks() if key in find_task(name).settings().model_fields]
    if owners:
        message = f"a setting of {' and '.join(owners)} that {section.name} does not have; remove it"
    else:
        keys = [*TaskSection.model_fields, *settings]
        message = f"unknown key{did_you_mean(key, keys)}; keys here are {', '.join(keys)}"
    return InitErrorDetails(type="value_error", loc=(key,), input=key, ctx={"error": ValueError(message)})
