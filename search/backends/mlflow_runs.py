"""A study's runs in MLflow: one parent, and one child per trial, each written once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, TypeAlias

from autoopt.search.backends import mlflow_record
from autoopt.search.backends.mlflow_client import artifact_location, ensure_experiment, open_client
from autoopt.search.names import check_name
from autoopt.search.paths import Root
from autoopt.search.trial.record import TrialRecord
from autoopt.strategies.system.failpoints import failpoint

TrialKey: TypeAlias = tuple[str, str]
"""Number and recipe id, so that a new study under an old name is not mistaken for the old one."""

_MAX_PARAMETERS_PER_BATCH = 100


class Kind(StrEnum):
    """The tag ``autoopt.kind``: what a run is."""

    STUDY = "study"
    TRIAL = "trial"
    VERIFICATION = "verification"


class Ending(StrEnum):
    """How a search ended, in MLflow's words."""

    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


def trial_key(record: TrialRecord) -> TrialKey:
    """Return the key that identifies a trial's run."""
    return str(record.number), record.recipe.id


class StudyRuns:
    """The runs of one study. For use by one thread; every method may raise the exceptions of ``failures()``.

    ``base_models`` are the labels of the study's base models, the baseline's first.
    """

    def __init__(self, uri: str | None, root: Root, study: str, base_models: Sequence[str] = ()) -> None:
        self._client = open_client(uri, root)
        self._study, self._base_models = check_name(study, "study"), base_models
        self.experiment_id = ensure_experiment(self._client, study, artifact_location(uri, root))
        self.parent_id = ensure_parent_run(self._client, self.experiment_id, study)
        self._finished: set[TrialKey] = set()
        self._unfinished: dict[TrialKey, str] = {}
        self._find_children()

    def reopen(self) -> None:
        """Mark the parent as running."""
        self._client.update_run(self.parent_id, status="RUNNING")

    def write(self, record: TrialRecord) -> bool:
        """Write a finished trial unless it exists already; return whether it was written."""
        key = trial_key(record)
        if key in self._finished:
            return False
        if key not in self._unfinished:
            self._unfinished[key] = self._make_child(record)
            failpoint("after-mlflow-run")
        self._fill_child(self._unfinished[key], record)
        failpoint("after-mlflow-trial")
        self._finished.add(key)
        return True

    def attach(self, name: str, text: str) -> None:
        """Attach a text file to the parent, replacing an earlier one of the same name."""
        self._client.log_text(self.parent_id, text, name)

    def finish(self, ending: Ending) -> None:
        """Set the status of the parent."""
        self._client.set_terminated(self.parent_id, ending.value)

    def _find_children(self) -> None:
        for run in search_all(self._client, self.experiment_id, **{"mlflow.parentRunId": self.parent_id}):
            key = run.data.tags.get("autoopt.trial", ""), run.data.tags.get("autoopt.recipe_id", "")
            if run.data.tags.get("autoopt.kind") != Kind.TRIAL:
                continue
            if run.info.status != "RUNNING":
                self._finished.add(key)
            elif key in self._unfinished:
                # A duplicate: a request that timed out had created its run all the same.
                self._client.delete_run(run.info.run_id)
            else:
                self._unfinished[key] = run.info.run_id

    def _make_child(self, record: TrialRecord) -> str:
        number, recipe_id = trial_key(record)
        run = self._client.create_run(
            self.experiment_id,
            start_time=_now_ms() - int(record.seconds * 1000),
            run_name=f"trial {number}",
            tags={
                "mlflow.parentRunId": self.parent_id,
                "autoopt.kind": Kind.TRIAL.value,
                "autoopt.study": self._study,
                "autoopt.trial": number,
                "autoopt.recipe_id": recipe_id,
            },
        )
        return str(run.info.run_id)

    def _fill_child(self, run_id: str, record: TrialRecord) -> None:
        from mlflow.entities import Metric, Param, RunTag

        # With the run's own start time, so that a repeated attempt overwrites the metrics of an interrupted one.
        timestamp = self._client.get_run(run_id).info.start_time
        metrics = [Metric(name, value, timestamp, 0) for name, value in mlflow_record.metrics(record).items()]
        params = [Param(name, value) for name, value in mlflow_record.parameters(record, self._base_models).items()]
        tags = [RunTag(name, value) for name, value in mlflow_record.tags(record).items()]
        self._client.log_batch(run_id, metrics=metrics, params=params[:_MAX_PARAMETERS_PER_BATCH], tags=tags)
        for start in range(_MAX_PARAMETERS_PER_BATCH, len(params), _MAX_PARAMETERS_PER_BATCH):
            self._client.log_batch(run_id, params=params[start : start + _MAX_PARAMETERS_PER_BATCH])
        if mlflow_record.recipe_is_shortened(record):
            self._client.log_text(run_id, json.dumps(record.recipe.to_json(), indent=1), "recipe.json")
        self._client.set_terminated(run_id, mlflow_record.run_status(record.state))


def ensure_parent_run(client: Any, experiment_id: str, study: str) -> str:
    """Return the id of the study's parent run, the oldest of several; it is created if absent."""
    tags = {"autoopt.study": study, "autoopt.kind": Kind.STUDY.value}
    for run in search_all(client, experiment_id, **tags):
        return str(run.info.run_id)
    return str(client.create_run(experiment_id, run_name=study, tags=tags).info.run_id)


def search_all(client: Any, experiment_id: str, **tags: str) -> Iterator[Any]:
    """Yield every run with these tags, the oldest first."""
    query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], filter_string=query, order_by=["attributes.start_time ASC"], page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
