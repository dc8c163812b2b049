"""Assembles a search: its space, Ray for the trials, MLflow for tracking and registry, and its audience."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from autoopt.search.paths import Root, StudyFolder, default_root
from autoopt.strategies.errors import EnvironmentProblem

if TYPE_CHECKING:
    from autoopt.objectives.data.text_data import TextData
    from autoopt.objectives.models.model_folder import ModelFolder
    from autoopt.objectives.summary import DataSummary
    from autoopt.search.experiment.experiment import Experiment
    from autoopt.search.experiment.time_plan import Deadline
    from autoopt.search.identity.fingerprints import Inputs
    from autoopt.search.identity.owner import Holder
    from autoopt.search.space.space import Space
    from autoopt.search.study.driver import Driver
    from autoopt.search.study.lifecycle import Audience, Search
    from autoopt.search.study.outcome import Outcome


def root_of(experiment: Experiment, path: Path | None) -> Root:
    """Return the root at ``path``, else the experiment's, else the default."""
    return Root(path.absolute() if path else experiment.storage.folder() or default_root())


@dataclass(frozen=True)
class Checked:
    """An experiment whose data and models were read, before anything is written."""

    experiment: Experiment
    """With as many examples as there is time for."""
    space: Space
    """The recipes that model and data allow."""
    data: TextData
    models: Mapping[str, ModelFolder]
    summary: DataSummary
    """What was understood of the data."""

    @cached_property
    def inputs(self) -> Inputs:
        """Fingerprints of data and models."""
        from autoopt.search.identity.fingerprints import Inputs

        return Inputs.of(self.experiment, self.data, self.models)


def checked(
    experiment: Experiment, root: Root, warn: Callable[[str], None], *, deadline: Deadline | None = None
) -> Checked:
    """Check model and data before anything is written.

    ``warn`` is called with doubts about the data, and with what the timeout leaves out. The ``deadline`` is by default
    the timeout from now on. Raises ``ModelError``, ``DataError``, ``UsageError`` if the task's metric does not fit the
    labels, and ``EnvironmentProblem`` for a metric that this machine cannot measure.
    """
    from autoopt.objectives.data.samples import sampled
    from autoopt.objectives.summary import DataSummary
    from autoopt.search.experiment.experiment import stored_experiment
    from autoopt.search.experiment.first_pass import as_many_as_fit
    from autoopt.search.experiment.opening import (
        check_measurable,
        check_opening,
        find_models,
        model_warnings,
        open_data,
        space_of,
        task_of,
    )
    from autoopt.search.experiment.time_plan import Deadline
    from autoopt.search.experiment.training_place import training_warning
    from autoopt.strategies.system.devices import gpu_names, hidden_gpu_count

    check_measurable(experiment)
    models = find_models(experiment)
    doubts = model_warnings(models)
    data = open_data(experiment)
    task = task_of(experiment, data)
    check_opening(experiment, task)
    deadline = deadline or Deadline.starting_now(experiment.search.timeout)
    stored = stored_experiment(root.study(experiment.study).experiment)[0]
    experiment, left_out = as_many_as_fit(experiment, data, task, deadline, stored)
    data = sampled(data, experiment.data)
    training = training_warning(experiment.resources, gpu_names(), hidden=hidden_gpu_count())
    for warning in filter(None, (*doubts, *data.warnings, training, left_out)):
        warn(warning)
    return Checked(experiment, space_of(experiment, data, models), data, models, DataSummary.of(task, data))


@contextmanager
def assemble(
    checked: Checked, root: Root, audience: Audience, *, holder: Holder, deadline: Deadline
) -> Iterator[Search]:
    """Yield the search and report to MLflow how it ended. The caller must hold the study's lock."""
    from autoopt.search.backends.mlflow_runs import Ending
    from autoopt.search.backends.mlflow_tracking import MlflowTracker
    from autoopt.search.study.lifecycle import Search

    experiment = checked.experiment
    tracker = MlflowTracker(
        experiment.tracking.address(),
        root,
        experiment.study,
        base_models=list(experiment.base_models),
        warn=audience.say,
    )

    def run(driver: Driver, folder: StudyFolder) -> None:
        from autoopt.search.backends.ray_tune import runner as ray_runner

        meanwhile = partial(tracker.attach, folder.experiment)
        ray_runner.run(driver, folder, resources=experiment.resources, watcher=audience, meanwhile=meanwhile)

    def register(outcome: Outcome, folder: StudyFolder) -> Mapping[int, int]:
        if not tracker.is_reachable:
            later = f"autoopt sync {experiment.study}{root.as_option()}"
            audience.say(f"MLflow does not answer, so no model is registered; to do that later: {later}")
            return {}
        audience.say("registering the front in MLflow")
        return registered_versions(outcome, folder, experiment, root, audience.say)

    ending = Ending.FAILED
    try:
        yield Search(
            experiment,
            root,
            checked.space,
            run,
            register,
            tracker,
            audience,
            checked.inputs,
            holder,
            constant_quality=checked.summary.constant_quality,
            bag_of_words_quality=checked.summary.bag_of_words_quality,
            deadline=deadline,
        )
        ending = Ending.FINISHED
    except KeyboardInterrupt:
        ending = Ending.KILLED
        raise
    finally:
        tracker.close(ending=ending)


def registered_versions(
    outcome: Outcome, folder: StudyFolder, experiment: Experiment, root: Root, say: Callable[[str], None]
) -> Mapping[int, int]:
    """Register the front and return its versions by trial number; empty, with a message, if MLflow is unavailable."""
    from autoopt.search.backends.mlflow_registry import VerifiedModel, register_front

    if not outcome.models:
        return {}
    models = [
        VerifiedModel(
            model.record.number,
            folder.kept_model(model.record.number),
            str(model.record.recipe),
            model.measurements,
            experiment.base_model_of(model.record.recipe.model),
        )
        for model in outcome.models
    ]
    numbers = {model.digest: model.trial for model in models}
    try:
        versions = register_front(
            uri=experiment.tracking.address(),
            root=root,
            study=experiment.study,
            models=models,
            aliases=outcome.named,
        )
    except EnvironmentProblem as problem:
        later = f"autoopt sync {experiment.study}{root.as_option()}"
        say(f"{problem}; the models are kept in {folder.models}; to register them later: {later}")
        return {}
    return {numbers[version.digest]: version.version for version in versions if version.digest in numbers}
