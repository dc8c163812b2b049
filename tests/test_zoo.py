"""Every architecture of the zoo opens, answers and is saved; what is known to be withheld is withheld, nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.task import Task
from autoopt.objectives.tasks import find_task, open_task
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.compression.layer_drop import LayerDrop
from autoopt.strategies.errors import ModelError
from autoopt.strategies.networks.pooling import pooling_of
from autoopt.strategies.probe import answers, check_saved
from tests import tiny, tiny_decoder, zoo

every_kind = pytest.mark.parametrize("kind", zoo.ENCODERS)
RECORDED = json.loads((Path(__file__).parent / "benchmarks" / "architectures.json").read_text(encoding="utf-8"))


def check_strategies(kind: str, given: Candidate, *, least: int) -> None:
    """At least so many strategies work; the others are withheld for a reason that names what the model lacks.

    What works has answered after saving and loading as before, at each length alone and in a batch.
    """
    works, withheld = zoo.counts(given)
    recorded = RECORDED[kind][given.task.name]
    assert works >= max(least, recorded["works"])
    assert all(withheld.values())
    assert {name: why for name, why in withheld.items() if "its answers" in why} == {}
    failed = {name for name, why in withheld.items() if why.startswith("it fails on this architecture")}
    assert failed <= recorded["withheld"].keys(), "more fails than the page strategies/ARCHITECTURES.md says"


@every_kind
def test_it_opens_with_a_new_head_and_answers_alike_after_saving(kind: str, tmp_path: Path) -> None:
    opened = zoo.opened(kind, tmp_path)
    assert opened.model.config.id2label == {0: "a", 1: "b"}
    check_saved(opened, open_task=open_task)


@every_kind
def test_an_answer_does_not_depend_on_its_batch(kind: str) -> None:
    given = zoo.candidate(kind)
    alone, together = (torch.cat(answers(given, tiny.examples(6), size)) for size in (1, 6))
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", zoo.DECODERS)
def test_a_decoder_is_saved_after_a_layer_less_and_answers_alike(kind: str) -> None:
    check_saved(LayerDrop().apply(zoo.decoder(kind), effort=0, seed=0), open_task=open_task)


WITHOUT_QUESTIONS = ("nomic_bert", "eurobert", "gte", "t5")
"""transformers has no class of these that answers questions."""


def pretrained(kind: str, folder: Path) -> Path:
    """Write a model of the zoo with its tokenizer as a person would give them."""
    if kind in zoo.DECODERS:
        return tiny_decoder.save(folder, kind, **zoo.DECODERS[kind])
    return zoo.save_pretrained(kind, folder)


@pytest.mark.parametrize("task", ["sentence_pair", "token_classification", "question_answering"])
@pytest.mark.parametrize("kind", [*zoo.ENCODERS, *zoo.DECODERS])
def test_it_learns_the_other_tasks_and_answers_alike_after_saving(kind: str, task: str, tmp_path: Path) -> None:
    folder = pretrained(kind, tmp_path / "given")
    if task == "question_answering" and kind in WITHOUT_QUESTIONS:
        with pytest.raises(ModelError, match=r"question_answering needs|does not open with AutoModelForQuestionAnswer"):
            opened_for(find_task(task), folder)
        return
    if task == "question_answering" and kind == "longformer":
        pytest.skip("it wants the three separators of its own tokenizer; the zoo's puts two")
    given = opened_for(find_task(task), folder)
    trained = FullFinetuning(epochs=1).apply(given, effort=1.0, seed=0)
    assert tiny.digest(trained.model) != tiny.digest(given.model)
    check_saved(trained, open_task=open_task)


def opened_for(task_type: type[Task], folder: Path) -> Candidate:
    """The model, opened for the task's sample."""
    path = folder.with_name("sample.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in task_type.sample), encoding="utf-8")
    split = {"train": 2, "validation": 2, "test": 2}
    data = load_text_data(DataSettings.model_validate({"source": str(path), "split": split}), task_type)
    task = task_type.of_data(data, max_length=28, metric=None)
    return task.open_model(str(folder), data=data, seed=1)


@pytest.mark.slow  # Fifty strategies on each of the architectures.
@every_kind
def test_a_strategy_works_or_is_withheld_with_a_reason(kind: str) -> None:
    given = zoo.candidate(kind)
    assert len({len(item["input_ids"]) for item in given.features()[:8]}) >= 3
    check_strategies(kind, given, least=35 if kind == "t5" else 40)


@pytest.mark.parametrize("kind", zoo.DECODERS)
def test_a_decoder_classifies_and_its_answers_depend_neither_on_the_batch_nor_on_saving(
    kind: str, tmp_path: Path
) -> None:
    given = zoo.classifier(kind, tmp_path)
    assert pooling_of(given.model) == "last"
    check_saved(given, open_task=open_task)
    assert len({len(item["input_ids"]) for item in given.features()[:8]}) >= 3
    alone, together = (torch.cat(answers(given, given.train[:8], size)) for size in (1, 8))
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)


@pytest.mark.slow  # Forty strategies on each of the architectures.
@pytest.mark.parametrize("kind", zoo.DECODERS)
def test_a_decoder_that_classifies_has_a_strategy_or_a_reason(kind: str, tmp_path: Path) -> None:
    check_strategies(kind, zoo.classifier(kind, tmp_path), least=20)


@pytest.mark.slow  # Twenty strategies on each of the architectures.
@pytest.mark.parametrize("kind", zoo.DECODERS)
def test_a_decoder_has_a_strategy_or_a_reason(kind: str) -> None:
    check_strategies(kind, zoo.decoder(kind), least=8)
