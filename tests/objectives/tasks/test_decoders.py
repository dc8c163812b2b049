"""A decoder in each task with a head of its own: trained, saved and loaded it answers as before, in any batch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.models.model_folder import find_model
from autoopt.objectives.task import Task
from autoopt.objectives.tasks import find_task, open_task, tasks
from autoopt.objectives.tasks.question_answering.windows import context_windows
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.objectives.tasks.token_classification.windows import word_windows
from autoopt.strategies import saving
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.candidate import Candidate, Example, Span
from autoopt.strategies.networks.pooling import pooling_of
from autoopt.strategies.probe import answers, check_saved
from tests import tiny, tiny_decoder, zoo

KINDS = ("llama", "gpt2")
"""One with grouped heads, and one whose matrices are not linear layers."""
every_kind = pytest.mark.parametrize("kind", KINDS)
WITH_HEAD = [name for name in tasks() if not find_task(name).head.is_pretrained]


def opened(task_type: type[Task], kind: str, folder: Path) -> Candidate:
    """The tiny decoder, opened for the task's sample."""
    path = folder / "sample.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in task_type.sample), encoding="utf-8")
    split = {"train": 2, "validation": 2, "test": 2}
    data: TextData = load_text_data(DataSettings.model_validate({"source": str(path), "split": split}), task_type)
    task = task_type.of_data(data, max_length=96, metric=None)
    return task.open_model(str(tiny_decoder.save(folder / "given", kind, pad=False)), data=data, seed=1)


@every_kind
@pytest.mark.parametrize("task", WITH_HEAD)
def test_a_decoder_learns_the_task_and_answers_alike_after_saving(task: str, kind: str, tmp_path: Path) -> None:
    given = opened(find_task(task), kind, tmp_path)
    assert given.model.config.pad_token_id == given.tokenizer.pad_token_id is not None
    assert given.history[1] == "texts are padded with <|endoftext|>, which is masked"
    trained = FullFinetuning(epochs=1).apply(given, effort=1.0, seed=0)
    assert tiny.digest(trained.model) != tiny.digest(given.model)
    check_saved(trained, open_task=open_task)
    saving.save(trained, tmp_path / "saved")
    loaded = saving.load(tmp_path / "saved", open_task=open_task)
    assert given.task.answer(loaded, given.train) == given.task.answer(trained, given.train)  # type: ignore[attr-defined]
    again = find_task(task).from_json(given.task.to_json()).open_model(str(tmp_path / "saved"))
    weights = trained.model.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in again.model.state_dict().items())


@every_kind
@pytest.mark.parametrize("task", WITH_HEAD)
def test_an_answer_does_not_depend_on_the_batch(task: str, kind: str, tmp_path: Path) -> None:
    given = opened(find_task(task), kind, tmp_path)
    assert len({len(item["input_ids"]) for item in given.features()}) > 1
    alone, (together,) = (answers(given, given.train, size) for size in (1, len(given.features())))
    for row, single in zip(together, alone, strict=True):
        torch.testing.assert_close(row[: single.shape[1]], single[0], rtol=1e-4, atol=1e-4)


@every_kind
def test_the_side_of_the_padding_makes_no_difference(kind: str, tmp_path: Path) -> None:
    given = zoo.classifier(kind, tmp_path)
    texts = [example.text for example in tiny.examples(5)]
    expected = given.task.predict(given, texts)  # type: ignore[attr-defined]
    given.tokenizer.padding_side = "left"
    assert given.task.predict(given, texts) == expected  # type: ignore[attr-defined]


@every_kind
def test_a_head_that_transformers_trained_is_kept_and_computes_the_same(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    folder = tiny_decoder.save(tmp_path / "given", kind)
    labels = {0: "business", 1: "sport"}
    own: Any = AutoModelForSequenceClassification.from_pretrained(folder, id2label=labels, pad_token_id=0).eval()
    own.config.label2id = {name: number for number, name in labels.items()}
    own.save_pretrained(folder)
    given = TextClassification(labels=tiny.LABELS, max_length=48).open_model(str(folder))
    assert pooling_of(given.model) == "last"
    ours, theirs = (answers(replace(given, model=model), tiny.examples(5), 5) for model in (given.model, own))
    torch.testing.assert_close(ours, theirs)


def test_the_texts_of_a_pair_do_not_run_into_each_other(tmp_path: Path) -> None:
    given = opened(find_task("sentence_pair"), "gpt2", tmp_path)
    (features,) = given.task.encode([Example("the cat", text_pair="sat")], given.tokenizer)
    assert given.tokenizer.decode(features["input_ids"]) == "the cat\nsat"
    (single,) = given.task.encode([Example("the cat")], given.tokenizer)
    assert given.tokenizer.decode(single["input_ids"]) == "the cat"


def test_a_decoder_tags_a_word_at_its_last_token(tmp_path: Path) -> None:
    given = opened(find_task("token_classification"), "llama", tmp_path)
    words = ["zebra", "mat"]
    (first,), (last,) = (word_windows([words], given.tokenizer, max_length=48, last=last) for last in (False, True))
    assert (first.tokens[0], last.tokens[0]) == (0, first.tokens[1] - 1)
    (features,) = given.task.encode([Example(" ".join(words), (0, 1))], given.tokenizer)
    assert [place for place, label in enumerate(features["labels"]) if label >= 0] == list(last.tokens.values())
    assert given.task.to_json()["reads_last"] is True


def test_a_decoder_says_at_an_end_token_that_there_is_no_answer(tmp_path: Path) -> None:
    given = opened(find_task("question_answering"), "gpt2", tmp_path)
    examples = [Example("who sat ?", (Span("mat", 8),), "on the  mat"), Example("who ?", (), "the cat " * 40)]
    windows = list(context_windows(examples, given.tokenizer, max_length=24, stride=4))
    assert len(windows) > 3
    for window in windows:
        ids = window.features["input_ids"]
        assert window.null == len(ids) - 1 < 24
        assert ids[-1] == given.tokenizer.eos_token_id
        assert " ?\n" in given.tokenizer.decode(ids)
        assert len(window.features["attention_mask"]) == len(ids)
    assert windows[0].positions((Span("mat", 8),))["end_positions"] == windows[0].null - 1


def test_an_architecture_without_the_head_in_transformers_gets_it_of_its_parts(tmp_path: Path) -> None:
    given = zoo.classifier("granite", tmp_path)
    assert type(given.model).__name__ == "GraniteForSequenceClassification"
    folder = tiny_decoder.save(tmp_path / "tags", "gemma", **zoo.DECODERS["gemma"])
    task = replace(find_task("question_answering")(), max_length=24)
    answering = task.open_model(str(folder))
    assert type(answering.model).__name__ == "GemmaForQuestionAnswering"
    examples = (Example("who ?", text_pair="the cat sat on the mat ."), Example("who sat ?", text_pair="a bird"))
    check_saved(replace(answering, train=examples), open_task=open_task)


def test_a_decoder_is_known_by_its_configuration(tmp_path: Path) -> None:
    assert find_model(str(tiny_decoder.save(tmp_path / "given"))).decodes
