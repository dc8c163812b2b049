"""Data, task, base models, target, directions and space of an experiment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from autoopt.objectives.costs import costs
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.judging.budget import direction_of
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.measurement import QUALITY, Direction
from autoopt.objectives.models import decoders
from autoopt.objectives.models.model_folder import ModelFolder, find_model
from autoopt.objectives.models.sentence_modules import pooling_named
from autoopt.objectives.models.tokenizers import has_mask_token, tokenizer_warnings
from autoopt.objectives.target import Calls, Target
from autoopt.objectives.task import Task
from autoopt.objectives.timing.lengths import typical_lengths
from autoopt.objectives.timing.texts import texts_of_length, typical_texts
from autoopt.objectives.weights.finite import check_finite
from autoopt.search.experiment.experiment import Experiment
from autoopt.search.space.architecture_probe import failures
from autoopt.search.space.base_model import BaseModel
from autoopt.search.space.space import Space, build_space
from autoopt.search.space.strategy_choice import StrategyChoice
from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.errors import EnvironmentProblem, ExperimentError, ModelError
from autoopt.strategies.networks.architectures import forward_size, layer_count, situation_of
from autoopt.strategies.networks.pooling import STRATEGY as POOLING
from autoopt.strategies.strategy import Strategy


def open_data(experiment: Experiment) -> TextData:
    """Read, check and split the data. Raises ``DataError``."""
    return load_text_data(experiment.data, experiment.task.task_type, metric=experiment.task.metric)


def task_of(experiment: Experiment, data: TextData) -> Task:
    """Return the task with the classes of the data. Raises ``UsageError`` if its metric does not fit them."""
    task_type, metric = experiment.task.task_type, experiment.task.metric
    task = task_type.of_data(data, max_length=experiment.data.max_length, metric=metric)
    return replace(task, **experiment.task.settings())


def target_of(
    experiment: Experiment, candidate: Candidate, validation: Sequence[Example], calls: Calls = Calls.BATCH
) -> Target:
    """Return where the model will serve, with the lengths of the validation examples if the experiment says so."""
    section = experiment.target
    if calls.writes:
        output = section.output if calls is Calls.DECODE else 0
        return Target(section.device, section.threads, section.concurrency, section.prompt, calls=calls, output=output)
    batch_size = 1 if calls is Calls.SINGLE else section.batch_size
    kind = Calls.FORWARD if calls is Calls.FORWARD else Calls.BATCH
    target = Target(section.device, section.threads, batch_size, section.sequence_length, calls=kind)
    answers = calls is not Calls.FORWARD and "one pass" in experiment.task.task_type.head.facts
    if section.lengths == "fixed":
        return _with_texts_of_one_length(target, candidate, validation) if answers else target
    tokens = [len(features["input_ids"]) for features in candidate.encode(validation)]
    target = target.with_lengths(typical_lengths(tokens, batch_size=batch_size))
    if not answers:
        return target
    if len(tokens) != len(validation):  # A long text is read in several windows.
        tokens = [len(example.text) + len(example.text_pair or "") for example in validation]
    return replace(target, texts=typical_texts(validation, tokens, batch_size=batch_size))


def _with_texts_of_one_length(target: Target, candidate: Candidate, validation: Sequence[Example]) -> Target:
    def count(text: str, second: str | None) -> int:
        return len(candidate.tokenizer(text, second)["input_ids"])

    texts = texts_of_length(validation, target.sequence_length, count, batch_size=target.batch_size)
    return replace(target, texts=texts)


def targets_of(experiment: Experiment, candidate: Candidate, validation: Sequence[Example]) -> dict[Calls, Target]:
    """Return the targets of every kind of calls."""
    return {calls: target_of(experiment, candidate, validation, calls) for calls in Calls}


def check_measurable(experiment: Experiment) -> None:
    """Raise ``EnvironmentProblem`` if the experiment needs a device or a measurement that this machine lacks."""
    _check_device(experiment.target.device)
    for metric in sorted(experiment.metrics() - {QUALITY}):
        costs()[metric].check(Target(device=experiment.target.device))


def _check_device(device: str) -> None:
    if device == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the processor only"
        raise EnvironmentProblem(
            f"target.device is {device}, but torch sees no GPU here (torch {torch.__version__}, built for {build}); "
            "the front is measured on this machine: run on one with a GPU, or set target.device to cpu"
        )


def directions(experiment: Experiment) -> dict[str, Direction]:
    """Return the direction of each objective."""
    return {name: direction_of(name) for name in experiment.objectives}


def facts(experiment: Experiment, data: TextData) -> frozenset[str]:
    """Return what the study has, in the words of ``Strategy.needs``."""
    device = "gpu" if experiment.target.device == "cuda" else "cpu"
    unlabeled = {"unlabeled"} if data.unlabeled else set()
    task_type = experiment.task.task_type
    return task_type.facts(data.train) | task_type.head.facts | {device} | unlabeled


def find_models(experiment: Experiment) -> dict[str, ModelFolder]:
    """Return the base models by label, the baseline's first.

    Raises ``ModelError``, and ``EnvironmentProblem`` if the Hub cannot be reached; of several models, it is named.
    """
    section, names = experiment.task, experiment.base_models
    head = section.task_type.head
    folders = {}
    for label, name in names.items():
        with _naming(name if len(names) > 1 else ""):
            folders[label] = find_model(name, body=head.body, auto_class=head.auto_class, task=section.name)
    return folders


def model_warnings(folders: Mapping[str, ModelFolder]) -> list[str]:
    """Read the weights once and return doubts about the models. Raises ``ModelError`` for weights that are NaN."""
    return [
        warning
        for folder in folders.values()
        for warning in (check_finite(folder), *tokenizer_warnings(folder))
        if warning is not None
    ]


def check_opening(experiment: Experiment, task: Task) -> None:
    """Open each of several base models once, so that no trial of a search finds out that one cannot be opened.

    A single model is opened by the baseline, with which a search begins. Raises ``ModelError`` that names the model.
    """
    names = experiment.base_models.values()
    for name in names if len(names) > 1 else ():
        with _naming(name):
            task.open_model(name)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Put the name of the model before errors that do not have it."""
    try:
        yield
    except (ModelError, EnvironmentProblem) as error:
        if name in str(error):
            raise
        raise type(error)(f"model {name}: {error}") from None


def space_of(experiment: Experiment, data: TextData, folders: Mapping[str, ModelFolder] | None = None) -> Space:
    """Return the recipes that the study may try. Raises as ``find_models`` if ``folders`` is not given."""
    folders = folders or find_models(experiment)
    choices = dict(experiment.choices())
    sizes = {label: forward_size(folder.config) for label, folder in folders.items()}
    smaller = _name_teachers(choices, sizes)
    known = facts(experiment, data) | {"causal" if folder.decodes else "bidirectional" for folder in folders.values()}
    offered = [offer.build({}) for offer in build_space(choices, known).offers]
    models = [
        BaseModel(
            label,
            layer_count(folder.config),
            sizes[label],
            situation_of(folder.config, unlabeled=len(data.unlabeled)),
            {**_failures(experiment, data, folder, offered), **smaller[label]},
        )
        for label, folder in folders.items()
    ]
    poolings = {
        pooling_named(folder.path) or (decoders.POOLING if folder.decodes else None) for folder in folders.values()
    }
    if POOLING in choices and len(poolings) == 1:  # The pooling that all models have anyway is not searched.
        choices[POOLING] = choices[POOLING].without(POOLING, poolings.pop())
    if POOLING in choices and all(folder.decodes for folder in folders.values()):  # The first token sees no other.
        choices[POOLING] = choices[POOLING].without(POOLING, "first")
    several = {"several bases"} if len(set(sizes.values())) > 1 else set()
    return build_space(choices, known | several, models)


def _name_teachers(
    choices: dict[str, StrategyChoice], sizes: Mapping[str, float | None]
) -> Mapping[str, Mapping[str, str]]:
    """Set the largest base model as the one that strategies learn from, unless the experiment names one.

    Return, by label, which strategies find no larger model, with the reason. Raises ``ExperimentError`` if there is no
    base model of a given label.
    """
    withheld: dict[str, dict[str, str]] = {label: {} for label in sizes}
    known = {label: size or 0.0 for label, size in sizes.items()}
    for name, choice in choices.items():
        if not (setting := choice.strategy.other_base):
            continue
        teacher = choice.fixed.get(setting) or max(known, key=known.__getitem__)
        if teacher not in sizes:
            raise ExperimentError(
                f"strategies.{name}.{setting}: the study has no base model '{teacher}'; it has {', '.join(sizes)}"
            )
        choices[name] = replace(choice, fixed={**choice.fixed, setting: teacher})
        for label, size in known.items():
            if size >= known[teacher]:
                withheld[label][name] = f"its teacher, {teacher}, is not larger"
    return withheld


def _failures(
    experiment: Experiment, data: TextData, folder: ModelFolder, offered: Sequence[Strategy]
) -> Mapping[str, str]:
    """Return the strategies among ``offered`` that fail on the model's architecture, with the reasons."""
    reasons = failures(folder, task_of(experiment, data), data.train, data.unlabeled, offered)
    masking = [strategy.name for strategy in offered if strategy.needs_mask]
    if masking and not has_mask_token(folder):
        reasons |= dict.fromkeys(masking, f"it needs a mask token, and the tokenizer of {folder.name} has none")
    return reasons
