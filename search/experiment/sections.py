"""The sections of an experiment file, each with its keys, their defaults and what is legal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from autoopt.objectives.tasks import find_task
from autoopt.search.experiment.fields import Count, Duration, Share, Size, as_validator
from autoopt.search.experiment.secrets import check_address, expand_variables, refuse_password
from autoopt.strategies.errors import did_you_mean


class Section(BaseModel):
    """A frozen part of the experiment that refuses unknown keys and takes no value for another kind of value."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TaskSection(Section):
    """The task, and the score that counts as quality."""

    name: str = "text_classification"
    metric: str | None = None
    """The task's first that fits the data where it is not given."""
    stride: Count | None = None
    """Of question answering, in tokens: what two windows on one context share; a third of ``data.max_length``."""
    max_answer_tokens: Count | None = None
    """Of question answering: the longest answer; 30 tokens."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        as_validator(find_task)(name)
        return name

    @field_validator("metric")
    @classmethod
    def _of_the_task(cls, metric: str | None, info: ValidationInfo) -> str | None:
        name = info.data.get("name")
        if name is None or metric is None:
            return metric  # The task itself is unknown, which is said already.
        allowed = find_task(name).metrics
        if metric not in allowed:
            raise ValueError(
                f"'{metric}' is no metric of {name}{did_you_mean(metric, allowed)}; choose {' or '.join(allowed)}"
            )
        return metric

    @field_validator("stride", "max_answer_tokens")
    @classmethod
    def _setting_of_the_task(cls, value: int | None, info: ValidationInfo) -> int | None:
        name = info.data.get("name")
        if value is not None and name is not None and info.field_name not in find_task(name).settings:
            raise ValueError(f"{name} has no such setting; leave it out")
        return value

    def settings(self) -> dict[str, Any]:
        """What is set of the task beside its metric."""
        given = {"stride": self.stride, "max_answer_tokens": self.max_answer_tokens}
        return {name: value for name, value in given.items() if value is not None}


class TargetSection(Section):
    """Where the model will serve: what its latency is measured on."""

    device: Literal["cpu", "cuda"] = "cpu"
    threads: Count = 1
    batch_size: Count = 1
    """Examples that one call answers. Latencies are those of a call, but ``latency_single``, which is that of one
    example; throughput is what calls of this size, one after the other, answer."""
    sequence_length: Annotated[int, Field(ge=4, le=8192)] = 128
    """In tokens; ``data.max_length`` where it is not given."""
    lengths: Literal["fixed", "data"] = "fixed"
    """``data``: not one length, but those of the validation texts, each as often as it occurs there."""


class SearchSection(Section):
    """How long and how to look."""

    trials: Count = 24
    timeout: Duration | None = None
    """Wall-clock time until no trial begins; those that run then have a tenth of it more, and are cut off after it."""
    max_compute: Duration | None = None
    """No trial begins once all trials together have worked so long, waiting for each other included."""
    stop_when_gain: Share | None = None
    """The search ends once its last trials add less than this share of the front's hypervolume an hour of work."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    confirm_seeds: Annotated[int, Field(ge=1, le=100)] = 1
    """How many seeds the verified front is judged by; its recipes are trained again with those beyond the first."""
    sampler: Literal["auto", "tpe", "gp", "nsga2", "random"] = "auto"
    """``auto``: a surrogate for two objectives once some trials are known, until then and otherwise ``tpe``."""
    scheduler: Literal["halving", "none"] = "halving"
    """``halving``: recovery training that does not promise as much as that of others is stopped at its rungs."""
    warm_start: bool = True
    """Whether what was best in earlier studies of the same task is tried first."""


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ResourcesSection(Section):
    """How many trials run at a time, and what each gets."""

    workers: Annotated[int, Field(ge=1, le=4096)] = Field(default_factory=_cores)
    """As many as this process may use cores, where it is not given."""
    cpus_per_worker: Count = 1
    gpus_per_worker: Annotated[float, Field(ge=0)] = 0


class TrackingSection(Section):
    """Where MLflow is."""

    uri: Annotated[str, BeforeValidator(refuse_password)] | None = None
    """A database under the study's root where it is not given."""

    def address(self) -> str | None:
        """The address with its ``${ENV:NAME}`` filled in; never to be printed."""
        return None if self.uri is None else expand_variables(self.uri, key="tracking.uri")


class StorageSection(Section):
    """Where studies are kept."""

    root: str | None = None
    url: Annotated[str, BeforeValidator(check_address)] | None = None
    """An Optuna database; a SQLite file under the root where it is not given."""
    max_stages: Size | None = 20_000_000_000.0
    """What the stage store may take; what was used longest ago goes first. No limit where it is null."""

    def address(self) -> str | None:
        """The database's address with its ``${ENV:NAME}`` filled in; never to be printed."""
        return None if self.url is None else expand_variables(self.url, key="storage.url")

    def stages_limit(self) -> int | None:
        """In bytes."""
        return None if self.max_stages is None else int(self.max_stages)

    def folder(self) -> Path | None:
        """The root, if given."""
        return None if self.root is None else Path(self.root).expanduser().absolute()
