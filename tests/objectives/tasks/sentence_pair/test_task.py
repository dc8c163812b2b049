"""Classes and numbers for pairs of texts, and several classes for one text: what is read, learned and scored."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.task import Task
from autoopt.objectives.tasks import open_task
from autoopt.objectives.tasks.sentence_pair.task import SentencePair
from autoopt.objectives.tasks.sequence_classification import Problem
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.strategies import saving
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.compression.distillation import Distillation
from autoopt.strategies.errors import DataError, UsageError
from tests import tiny
from tests.places import DATA

SICK = DATA / "sick"


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def pairs(count: int) -> list[dict[str, Any]]:
    return [
        {"premise": f"one {i}", "hypothesis": f"two {i}", "relatedness": 1 + i % 9 / 2, "label": "AB"[i % 2]}
        for i in range(count)
    ]


def load(kind: type[Task], *, metric: str | None = None, **settings: Any) -> TextData:
    return load_text_data(DataSettings.model_validate(settings), kind, metric=metric)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_labels_with_fractions_are_numbers_and_others_are_classes(tmp_path: Path, suffix: str) -> None:
    source = write(tmp_path / f"pairs{suffix}", pairs(60))
    classes, numbers = load(SentencePair, source=source), load(SentencePair, source=source, label="relatedness")
    assert classes.labels == ("A", "B")
    assert numbers.labels == ()
    assert {type(example.label) for example in numbers.train} == {float}
    assert all(example.text_pair == example.text.replace("one", "two") for example in numbers.train)
    task = SentencePair.of_data(numbers, max_length=16, metric=None)
    assert (task.kind, list(task.statistics)) == (Problem.NUMBER, ["pearson", "spearman"])


def test_whole_numbers_are_numbers_where_a_correlation_is_asked_for(tmp_path: Path) -> None:
    rows = [{**row, "score": place % 5} for place, row in enumerate(pairs(60))]
    source = write(tmp_path / "pairs.csv", rows)
    assert load(SentencePair, source=source, label="score").labels == ("0", "1", "2", "3", "4")
    assert load(SentencePair, source=source, label="score", metric="spearman").labels == ()


def test_validation_labels_are_what_the_training_labels_are(tmp_path: Path) -> None:
    rows = [{**row, "relatedness": 3} for row in pairs(90)[60:]]
    paths = {"train": write(tmp_path / "a.csv", pairs(60)), "validation": write(tmp_path / "b.csv", rows)}
    data = load(SentencePair, **paths, label="relatedness")
    assert {example.label for example in data.validation} == {3.0}


def test_a_metric_that_does_not_fit_the_labels_names_those_that_do(tmp_path: Path) -> None:
    data = load(SentencePair, source=write(tmp_path / "pairs.csv", pairs(60)), label="relatedness")
    with pytest.raises(UsageError, match=r"'accuracy' does not fit these labels, which are numbers.*pearson or spearm"):
        SentencePair.of_data(data, max_length=16, metric="accuracy")


def test_one_column_of_texts_is_no_pair(tmp_path: Path) -> None:
    source = write(tmp_path / "texts.csv", [{"text": f"text {i}", "label": "AB"[i % 2]} for i in range(40)])
    with pytest.raises(
        DataError, match=r"one column of texts, 'text', and this task needs two; .* 'text_pair: COLUMN'"
    ):
        load(SentencePair, source=source)


def test_a_word_among_numbers_is_named_with_its_place(tmp_path: Path) -> None:
    rows = pairs(60)
    rows[7]["relatedness"] = "much"
    with pytest.raises(DataError, match=r"pairs\.csv:9: the column 'relatedness' holds 'much', no finite number"):
        load(SentencePair, source=write(tmp_path / "pairs.csv", rows), label="relatedness", metric="pearson")


def test_the_same_number_everywhere_is_nothing_to_learn(tmp_path: Path) -> None:
    rows = [{**row, "relatedness": 2.5} for row in pairs(60)]
    with pytest.raises(DataError, match=r"the same number, 2\.5, in all 60 rows"):
        load(SentencePair, source=write(tmp_path / "pairs.csv", rows), label="relatedness")


def test_lists_and_separated_names_are_several_classes(tmp_path: Path) -> None:
    several = [[], ["red"], ["red", "blue"], ["blue", "blue"]]
    listed = [{"text": f"text {i}", "label": several[i % 4]} for i in range(80)]
    separated = [{**row, "label": "|".join(row["label"])} for row in listed]
    from_lists = load(TextClassification, source=write(tmp_path / "a.jsonl", listed))
    from_names = load(TextClassification, source=write(tmp_path / "b.csv", separated), label_separator="|")
    assert from_lists.labels == from_names.labels == ("blue", "red")
    assert {example.label for example in from_lists.train} == {(), (1,), (1, 0), (0,)}
    assert {example.text: example.label for example in from_lists.train + from_lists.test + from_lists.validation} == {
        example.text: example.label for example in from_names.train + from_names.test + from_names.validation
    }


LEARN = FullFinetuning(learning_rate=2e-3, epochs=15)
TRAIN, UNSEEN = tiny.examples(48, seed=1), tiny.examples(24, seed=3)


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("body") / "tiny"
    saving.save(tiny.candidate(), folder)
    return folder


def opened(task: Task, folder: Path, examples: Sequence[Example]) -> Candidate:
    return replace(task.open_model(str(folder), seed=0), train=tuple(examples))


def as_numbers(examples: Sequence[Example]) -> list[Example]:
    """1 or 2 by the class, and a second text that says nothing."""
    return [replace(example, label=1.0 + (example.label == 1), text_pair="the a said") for example in examples]


def as_sets(examples: Sequence[Example]) -> list[Example]:
    """The classes of two texts in one."""
    pairs = list(zip(examples, [*examples[1:], examples[0]], strict=True))
    alone = [replace(example, label=(tiny.class_of(example),)) for example in examples]
    return [*alone, *(Example(f"{first.text} {second.text}", (0, 1)) for first, second in pairs)]


NUMBERS = SentencePair(max_length=24, kind=Problem.NUMBER)
SETS = TextClassification(labels=tiny.LABELS, max_length=32, kind=Problem.CLASSES)


def test_a_number_is_learned_and_its_correlation_scored(body: Path) -> None:
    candidate = LEARN.apply(opened(NUMBERS, body, as_numbers(TRAIN)), effort=1, seed=0)
    scores = NUMBERS.score(candidate, as_numbers(UNSEEN))
    assert candidate.model.config.problem_type == "regression"
    assert scores["quality"].value == scores["pearson"].value > 0.6
    assert scores["pearson"].low <= scores["pearson"].value <= scores["pearson"].high
    (answer,) = NUMBERS.predict(candidate, [("chelsea goal", "the a said")])
    assert float(answer["label"]) == pytest.approx(answer["score"], rel=1e-3)


def test_several_classes_are_learned_and_answered_together(body: Path) -> None:
    candidate = LEARN.apply(opened(SETS, body, as_sets(TRAIN)), effort=1, seed=0)
    scores = SETS.score(candidate, as_sets(UNSEEN))
    assert set(scores) == {"quality", "micro_f1", "macro_f1", "accuracy"}
    assert scores["quality"].value == scores["micro_f1"].value > 0.8
    answers = SETS.predict(candidate, [example.text for example in as_sets(UNSEEN)])
    assert {"business", "sport", "business, sport"} == {answer["label"] for answer in answers} - {""}
    for answer in answers:
        likely = [chance for chance in answer["scores"].values() if chance >= 0.5]
        assert answer["score"] == min(likely or answer["scores"].values())
        assert answer["label"].count(",") == max(0, len(likely) - 1)


@pytest.mark.parametrize(("task", "convert"), [(NUMBERS, as_numbers), (SETS, as_sets)], ids=["numbers", "sets"])
def test_distillation_follows_a_teacher_of_numbers_and_of_several_classes(
    task: Task, convert: Callable[[Sequence[Example]], list[Example]], body: Path
) -> None:
    student = opened(task, body, convert(TRAIN))
    teacher = LEARN.apply(student, effort=1, seed=0)
    pupil = replace(student, teacher=teacher.model)
    taught = Distillation(learning_rate=2e-3, epochs=15, weight=0.9).apply(pupil, effort=1, seed=0)

    def distance(candidate: Candidate) -> float:
        texts = [(e.text, e.text_pair) if e.text_pair else e.text for e in convert(UNSEEN)]
        ours, theirs = (torch.tensor([a["score"] for a in task.predict(c, texts)]) for c in (candidate, teacher))
        return float((ours - theirs).abs().mean())

    assert distance(taught) < distance(student) / 2


@pytest.mark.parametrize(
    "task",
    [
        SentencePair(max_length=16, kind=Problem.NUMBER, metric="spearman"),
        TextClassification(labels=("a",), max_length=16, kind=Problem.CLASSES),
        TextClassification(labels=("a", "b"), max_length=16, metric="mcc"),
    ],
)
def test_a_task_survives_its_json(task: Task) -> None:
    assert open_task(json.loads(json.dumps(task.to_json()))) == task


def test_f1_is_that_of_the_second_of_two_classes_and_offered_for_two_alone() -> None:
    two = TextClassification(labels=("no", "yes"), metric="f1")
    scores = two.judge(two.outcomes([Example("", label) for label in (0, 1, 1)], [0, 1, 0]))
    assert scores["quality"].value == pytest.approx(2 / 3)
    with pytest.raises(UsageError, match="'f1' is no metric of text_classification"):
        TextClassification(labels=("a", "b", "c"), metric="f1")


@pytest.mark.skipif(not SICK.is_dir(), reason="the data of SICK is not beside the repository")
def test_sick_is_read_as_classes_and_as_numbers() -> None:
    paths = {name: str(SICK / f"{name}.csv") for name in ("train", "validation", "test")}
    classes, numbers = load(SentencePair, **paths), load(SentencePair, **paths, label="relatedness")
    assert len(classes.labels) == 3
    assert all(isinstance(example.label, float) and 1 <= example.label <= 5 for example in numbers.train)
