"""From what an experiment says to the things that work: data, task, target, directions, space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autoopt.objectives.costs.energy import ENERGY, meter_of
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.judging.budget import HIGHER_IS_BETTER
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.measurement import Direction
from autoopt.objectives.models.model_folder import ModelFolder, find_model
from autoopt.objectives.target import Target
from autoopt.objectives.task import Task
from autoopt.objectives.tasks import find_task
from autoopt.objectives.timing.lengths import typical_lengths
from autoopt.search.experiment.experiment import Experiment
from autoopt.search.space.space import Space, build_space
from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.networks.architectures import layer_count


def open_data(experiment: Experiment) -> TextData:
    """Read, check and split the data; raises ``DataError``."""
    return load_text_data(experiment.data, find_task(experiment.task.name), metric=experiment.task.metric)


def task_of(experiment: Experiment, data: TextData) -> Task:
    """The task with the classes that the data has; raises ``UsageError`` where its metric does not fit them."""
    kind = find_task(experiment.task.name)
    task = kind.of_data(data, max_length=experiment.data.max_length, metric=experiment.task.metric)
    return replace(task, **experiment.task.settings())


def target_of(experiment: Experiment, candidate: Candidate, validation: Sequence[Example]) -> Target:
    """Where the model will serve; over the lengths of the validation examples where the experiment says so."""
    return _target(experiment, candidate, validation, batch_size=experiment.target.batch_size)


def single_target_of(experiment: Experiment, candidate: Candidate, validation: Sequence[Example]) -> Target:
    """The same for one example at a time."""
    return _target(experiment, candidate, validation, batch_size=1)


def _target(experiment: Experiment, candidate: Candidate, validation: Sequence[Example], *, batch_size: int) -> Target:
    place = experiment.target
    target = Target(place.device, place.threads, batch_size, place.sequence_length)
    if place.lengths == "fixed":
        return target
    tokens = [len(features["input_ids"]) for features in candidate.encode(validation)]
    return target.of_lengths(typical_lengths(tokens, batch_size=batch_size))


def check_measurable(experiment: Experiment) -> None:
    """Raise ``EnvironmentProblem`` where the experiment asks for something that this machine does not count."""
    if ENERGY in experiment.metrics():
        meter_of(Target(device=experiment.target.device))


def directions(experiment: Experiment) -> dict[str, Direction]:
    """The objectives with the direction in which each is better."""
    return {
        name: Direction.MAXIMIZE if name in HIGHER_IS_BETTER else Direction.MINIMIZE for name in experiment.objectives
    }


def facts(experiment: Experiment, data: TextData) -> frozenset[str]:
    """What the study has, in the words in which strategies say what they need."""
    device = "gpu" if experiment.target.device == "cuda" else "cpu"
    unlabeled = {"unlabeled"} if data.unlabeled else set()
    task = find_task(experiment.task.name)
    return task.facts | {task.head.body, device} | unlabeled | _kind(data.train)


def _kind(train: Sequence[Example]) -> set[str]:
    """What the examples are, by the first of them."""
    if not train:
        return set()
    classes = {"classes"} if isinstance(train[0].label, int) else set()
    single = {"single"} if train[0].text_pair is None else set()
    unanswerable = {"unanswerable"} if any(example.label == () for example in train) else set()
    return classes | single | unanswerable


def model_of(experiment: Experiment) -> ModelFolder:
    """Where the base model is; raises ``ModelError``, and ``EnvironmentProblem`` where the Hub cannot be reached."""
    task = experiment.task.name
    return find_model(experiment.model, body=find_task(task).head.body, task=task)


def space_of(experiment: Experiment, data: TextData, model: ModelFolder | None = None) -> Space:
    """The recipes that the study may try; raises what ``model_of`` raises where the model is not given."""
    folder = model or model_of(experiment)
    return build_space(experiment.choices(), facts(experiment, data), layer_count(folder.config))
