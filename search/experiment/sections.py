"""Sections of an experiment file: their keys, defaults and limits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from autoopt.search.experiment.fields import Count, Duration, Gpus, Section, Share, Size, TrialTimeout
from autoopt.search.experiment.secrets import check_address, expand_variables, refuse_password
from autoopt.strategies.system.devices import gpu_share


class TargetSection(Section):
    """Where the model will serve; its latency is measured under these conditions."""

    device: Literal["cpu", "cuda"] = "cpu"
    threads: Count = 1
    batch_size: Count = 1
    """Examples per call. Latencies are those of a call, except ``latency_single``, that of one example; throughput is
    that of consecutive calls of this size."""
    sequence_length: Annotated[int, Field(ge=4, le=8192)] = 128
    """In tokens, of the calls with ``lengths: fixed``; by default ``data.max_length``."""
    lengths: Literal["data", "fixed"] = "data"
    """``data``: validation texts are answered, of each length as often as it occurs there; ``fixed``: texts of
    ``sequence_length`` tokens, made of them."""
    prompt: Annotated[int, Field(ge=1, le=131_072)] = 128
    """Tokens of a prompt, for ``ttft``, ``tpot`` and ``tokens_per_second``."""
    output: Annotated[int, Field(ge=1, le=131_072)] = 64
    """Tokens written after it."""
    concurrency: Count = 1
    """Prompts that are answered at the same time."""


class SearchSection(Section):
    """How long to search, and how."""

    trials: Count = 24
    timeout: Duration | None = None
    """Time of the whole command. A fifth of it, at most three minutes, is kept to verify and register the front; before
    that no trial starts that would not end in time."""
    trial_timeout: TrialTimeout = "auto"
    """Time after which a trial is ended: a duration, ``none``, or ``auto``: ten times what the trial is expected to
    take and at least two minutes; for the baseline, ten minutes without progress."""
    max_compute: Duration | None = None
    """Total working time of all trials, waiting for each other included, after which no trial starts."""
    stop_when_gain: Share | None = None
    """The search ends once its last trials add less than this share of the front's hypervolume per hour of work."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    confirm_seeds: Annotated[int, Field(ge=1, le=100)] = 1
    """Number of seeds that the verified front is judged by; its recipes are trained again with each after the first."""
    sampler: Literal["auto", "tpe", "gp", "nsga2", "random"] = "auto"
    """``auto``: a surrogate for two objectives once some trials have finished, ``tpe`` otherwise."""
    scheduler: Literal["halving", "none"] = "halving"
    """``halving``: recovery training that promises less than that of other trials is stopped at its rungs."""
    warm_start: bool = True
    """Whether the best recipes of earlier studies of the same task are tried first."""


def _available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ResourcesSection(Section):
    """Number of concurrent trials, and the resources of each."""

    workers: Annotated[int, Field(ge=1, le=4096)] = Field(default_factory=_available_cores)
    """By default the number of cores available to this process."""
    cpus_per_worker: Count = 1
    """Processors of a worker, and threads that it trains with."""
    gpus_per_worker: Gpus = "auto"
    """GPUs that a worker trains on: 0 for none, 0.5 for one shared by two workers. ``auto``: those that are found are
    shared out. Workers that share one train at once as long as their memory fits."""

    def gpu_share(self, gpu_count: int) -> float:
        """Return the GPUs of each worker, of ``gpu_count`` in all."""
        return gpu_share(gpu_count, self.workers) if self.gpus_per_worker == "auto" else self.gpus_per_worker


class TrackingSection(Section):
    """The MLflow server."""

    uri: Annotated[str, BeforeValidator(refuse_password)] | None = None
    """By default a database under the study's root."""

    def address(self) -> str | None:
        """Return the address with its ``${ENV:NAME}`` expanded; never to be printed."""
        return None if self.uri is None else expand_variables(self.uri, key="tracking.uri")


class StorageSection(Section):
    """Where studies and stages are stored."""

    root: str | None = None
    url: Annotated[str, BeforeValidator(check_address)] | None = None
    """An Optuna database; by default a SQLite file under the root."""
    max_stages: Size | None = 20_000_000_000.0
    """Maximum size of the stage store; the least recently used stages are removed. No limit if null."""

    def address(self) -> str | None:
        """Return the database's address with its ``${ENV:NAME}`` expanded; never to be printed."""
        return None if self.url is None else expand_variables(self.url, key="storage.url")

    def stages_limit(self) -> int | None:
        """Return ``max_stages`` in whole bytes."""
        return None if self.max_stages is None else int(self.max_stages)

    def folder(self) -> Path | None:
        """Return the root if given."""
        return None if self.root is None else Path(self.root).expanduser().absolute()
