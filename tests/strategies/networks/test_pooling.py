"""Pooling: what the head reads, that it stays with the model, and that everything that reads states reads the same."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForSequenceClassification

from autoopt.objectives.loading import load_labelled
from autoopt.objectives.tasks import open_task
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.strategies import saving
from autoopt.strategies.acceleration.early_exit import EarlyExit
from autoopt.strategies.acceleration.onnx_runtime import OnnxRuntime
from autoopt.strategies.acceleration.sequence_length import SequenceLength
from autoopt.strategies.adaptation.linear_probe import LinearProbe
from autoopt.strategies.adaptation.pooling import Pooling
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.catalog import catalog
from autoopt.strategies.compression.distillation import named_teacher
from autoopt.strategies.networks.heads import head_parameters, reads_first_token
from autoopt.strategies.networks.pooling import (
    POOLINGS,
    new_like,
    normalizes,
    pool,
    pooling_edits,
    pooling_of,
    text_vectors,
    with_pooling,
)
from autoopt.strategies.networks.pruning import labelled_sample, loss_of
from autoopt.strategies.networks.sentence_decoder import SentenceDecoder
from autoopt.strategies.stand_ins.structure import structure_digest, weights_digest
from autoopt.strategies.strategy import Family, Strategy
from autoopt.strategies.unsupervised.simcse import contrastive_loss
from autoopt.strategies.unsupervised.tsdae import TSDAE
from tests import tiny, zoo
from tests.tiny_given import made

every_pooling = pytest.mark.parametrize("how", POOLINGS)
STATES = torch.tensor([[[1.0, 5], [2, 3], [9, 9]], [[4.0, 1], [2, 2], [3, 6]]])
MASK = torch.tensor([[1, 1, 0], [1, 1, 1]])
BATCH = {
    "input_ids": torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]),
}


def pooled(how: str = "mean", *, kind: str = "bert", layers: int = 2, unit: bool = False) -> Candidate:
    given = tiny.candidate(kind, layers=layers)
    model = with_pooling(given.model, how, normalizes=unit, seed=3)
    return replace(given, model=model, edits=pooling_edits(model))


@pytest.mark.parametrize(
    ("how", "vectors"),
    [("first", [[1, 5], [4, 1]]), ("mean", [[1.5, 4], [3, 3]]), ("max", [[2, 5], [4, 6]]), ("last", [[2, 3], [3, 6]])],
)
def test_padding_is_never_read(how: str, vectors: list[list[float]]) -> None:
    assert pool(STATES, MASK, how).tolist() == vectors
    assert pool(STATES, MASK.bool(), how).tolist() == vectors
    assert pool(STATES, MASK.float(), how).tolist() == vectors


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(ValueError, match="'middle' is no pooling; choose one of first, mean, max, last"):
        pool(STATES, MASK, "middle")
    with pytest.raises(ValueError, match="'middle' is no pooling"):
        with_pooling(tiny.model(layers=1), "middle")


@pytest.mark.parametrize("kind", zoo.LISTED)
@every_pooling
def test_the_head_is_one_linear_layer_on_the_pooled_states(kind: str, how: str) -> None:
    given = pooled(how, kind=kind)
    model: Any = given.model
    inputs = {
        "input_ids": torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]]),
        "attention_mask": torch.tensor([[1] * 4, [1, 1, 1, 0]]),
    }
    with torch.inference_mode():
        states = model.base_model(**inputs).last_hidden_state
        expected = F.linear(pool(states, inputs["attention_mask"], how), model.classifier.weight, model.classifier.bias)
        assert torch.equal(model(**inputs).logits, expected)
    assert [tuple(parameter.shape) for parameter in head_parameters(model)] == [(2, 32), (2,)]
    assert type(model).__name__ == type(tiny.model(kind, layers=1)).__name__
    assert reads_first_token(model) is (how == "first")


def test_an_answer_does_not_depend_on_the_padding() -> None:
    for how in POOLINGS:
        model: Any = pooled(how).model
        ids, mask = torch.tensor([[2, 5, 6, 3]]), torch.ones(1, 4, dtype=torch.long)
        with torch.inference_mode():
            alone = model(input_ids=ids, attention_mask=mask).logits
            padded = model(input_ids=F.pad(ids, (0, 5)), attention_mask=F.pad(mask, (0, 5))).logits
            assert torch.equal(model(input_ids=ids).logits, alone)
        torch.testing.assert_close(padded, alone)


def test_normalized_vectors_have_one_length() -> None:
    model: Any = pooled(unit=True).model
    seen: list[torch.Tensor] = []
    model.classifier.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    tiny.logits(pooled(), model)
    torch.testing.assert_close(torch.cat(seen).norm(dim=-1), torch.full((12,), 32**0.5))


@pytest.mark.parametrize(
    ("problem", "labels"),
    [
        ("single_label_classification", torch.tensor([0, 1])),
        ("multi_label_classification", torch.tensor([[0.0, 1.0], [1.0, 1.0]])),
        ("regression", torch.tensor([0.5, 2.0])),
        (None, torch.tensor([0, 1])),
        (None, torch.tensor([[0.0, 1.0], [1.0, 1.0]])),
    ],
)
def test_the_loss_is_that_of_transformers(problem: str | None, labels: torch.Tensor) -> None:
    plain = tiny.model(layers=1)
    if problem == "regression":
        plain.config.id2label = {0: "number"}
        plain = type(plain)(plain.config).eval()
    plain.config.problem_type = problem
    model = with_pooling(copy.deepcopy(plain), "first")
    inputs = {"input_ids": torch.tensor([[2, 5, 3], [2, 6, 3]]), "labels": labels}
    # The same logits: the head of the class on what its pooler gives.
    plain.bert.pooler.forward = lambda states: states[:, 0]
    model.classifier = plain.classifier
    torch.testing.assert_close(model(**inputs).loss, plain(**inputs).loss)


def test_the_new_layer_depends_on_the_seed_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (with_pooling(tiny.model(layers=1), "mean", seed=seed).classifier for seed in (1, 1, 2))
    torch.manual_seed(0)
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)
    torch.random.set_rng_state(before)
    with_pooling(tiny.model(layers=1), "mean", seed=1)
    assert not first.bias.any()


@pytest.mark.parametrize("unit", [False, True])
@every_pooling
def test_it_is_saved_with_the_model(how: str, unit: bool, tmp_path: Path) -> None:
    given = pooled(how, unit=unit)
    saving.save(given, tmp_path / "saved")
    loaded = saving.load(tmp_path / "saved", open_task=open_task)
    assert (pooling_of(loaded.model), normalizes(loaded.model)) == (how, unit)
    assert torch.equal(tiny.logits(loaded), tiny.logits(given))
    with pytest.raises(OSError, match=r"no file named model\.safetensors"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")  # It would read the first token.


def test_a_copy_pools_alike_and_is_one_of_its_own() -> None:
    given = pooled("max")
    copied: Any = given.copy_model()
    assert torch.equal(tiny.logits(given, copied), tiny.logits(given))
    copied.classifier.weight.data.zero_()
    assert tiny.logits(given).any()


def test_models_that_pool_differently_are_told_apart() -> None:
    models = [pooled(how, unit=unit).model for how in POOLINGS for unit in (False, True)]
    assert len({structure_digest(model) for model in models}) == len(models)
    assert len({weights_digest(model) for model in models}) == len(models)


def test_another_model_of_the_kind_pools_alike() -> None:
    model: Any = pooled("last", unit=True).model
    config = copy.deepcopy(model.config)
    config.id2label = dict(enumerate("abc"))
    made = new_like(model, config, seed=1)
    assert (pooling_of(made), normalizes(made), made.classifier.out_features) == ("last", True, 3)
    assert pooling_of(new_like(tiny.model(layers=1), config, seed=1)) is None


READS_STATES = [
    pytest.param(cls, id=name, marks=[pytest.mark.slow] * bool(cls.packages))
    for name, cls in catalog().items()
    if cls.needs.isdisjoint({"causal", "tags", "spans"}) and cls.family is not Family.AUGMENTATION and not cls.replaces
]


@pytest.mark.parametrize("strategy", READS_STATES)
def test_every_strategy_keeps_the_pooling_and_saves_it(strategy: type[Strategy], tmp_path: Path) -> None:
    given = replace(pooled("mean", unit=True), teacher=pooled("mean").model)
    if "data" in strategy.requires:
        given = replace(given, other_data=partial(load_labelled, task_type=TextClassification))
    result = made(strategy).apply(given, effort=0.3, seed=0)
    saving.save(result, tmp_path / "saved")
    loaded = saving.load(tmp_path / "saved", open_task=open_task)
    assert torch.equal(tiny.logits(loaded), tiny.logits(result))
    assert result.edits[: len(given.edits)] == given.edits
    inner: Any = getattr(result.model, "model", result.model)
    if strategy.name != OnnxRuntime.name:
        assert pooling_of(inner) == "mean"


@pytest.mark.slow
@every_pooling
def test_a_graph_pools_alike(how: str) -> None:
    pytest.importorskip("onnxscript", reason="comes with autoopt[onnx]")
    given = pooled(how, unit=True)
    exported = OnnxRuntime(precision="fp32").apply(given, effort=1, seed=0)
    torch.testing.assert_close(tiny.logits(exported), tiny.logits(given), atol=1e-4, rtol=1e-4)


def test_a_linear_probe_trains_on_what_the_head_reads() -> None:
    given = pooled("mean")
    features = labelled_sample(given, 24, seed=0)
    trained = LinearProbe().apply(given, effort=1, seed=0)
    assert loss_of(trained, trained.model, features) < 0.97 * loss_of(given, given.model, features)
    assert pooling_of(trained.model) == "mean"


def test_early_exits_read_what_the_head_reads() -> None:
    given = SequenceLength(share=0.8).apply(pooled("mean", layers=3), effort=1, seed=0)
    result = EarlyExit(confidence=0.8).apply(given, effort=1, seed=0)
    model: Any = result.model
    states, mask = torch.rand(2, 4, 32), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    torch.testing.assert_close(model.vectors(states, mask)[1], states[1, :2].mean(0))
    assert tiny.logits(result).isfinite().all()


def test_what_is_learned_without_labels_is_what_the_head_reads() -> None:
    model: Any = pooled("mean").model
    batch = {
        "input_ids": torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]]),
        "attention_mask": torch.tensor([[1] * 4, [1, 1, 1, 0]]),
    }
    states = model.base_model(**batch).last_hidden_state
    vectors = F.normalize(text_vectors(model, states, batch["attention_mask"]), dim=-1)
    expected = F.cross_entropy(vectors @ vectors.T / 0.05, torch.arange(2))
    torch.testing.assert_close(contrastive_loss(model.eval(), batch), expected)
    decoder = SentenceDecoder(model.base_model, pooling="mean").eval()
    ids, mask = batch["input_ids"], batch["attention_mask"]
    first = SentenceDecoder(model.base_model, pooling="first").eval()
    first.load_state_dict(decoder.state_dict())
    assert not torch.isclose(decoder(ids, mask, mask), first(ids, mask, mask))


def test_a_decoder_reconstructs_texts_from_what_the_head_reads() -> None:
    results = [TSDAE().apply(pooled(how), effort=0.3, seed=0) for how in ("mean", "first")]
    mean, first = (result.model.state_dict()["bert.encoder.layer.0.attention.self.query.weight"] for result in results)
    assert not torch.equal(mean, first)


def test_a_teacher_of_transformers_has_the_head_of_its_class(tmp_path: Path) -> None:
    given, teacher = pooled("mean"), tiny.model(layers=2, seed=7)
    teacher.save_pretrained(tmp_path / "teacher")
    given.tokenizer.save_pretrained(tmp_path / "teacher")
    opened, _ = named_teacher(str(tmp_path / "teacher"), given, alike=True)
    assert torch.equal(tiny.logits(given, opened), tiny.logits(given, teacher))


def test_the_strategy_replaces_the_pooling_of_the_model() -> None:
    given = pooled("mean", unit=True)
    changed = Pooling(pooling="max").apply(given, effort=1, seed=0)
    assert changed.edits == ({"strategy": "pooling", "pooling": "max", "normalizes": True},)
    same = Pooling(pooling="mean").apply(given, effort=1, seed=0)
    assert same.model is given.model
    assert same.edits == given.edits
