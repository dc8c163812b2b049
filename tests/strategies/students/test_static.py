"""Static embeddings: what they learn, that serving computes what training did, and that model2vec opens them."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoopt.objectives.tasks.sentence_pair.task import SentencePair
from autoopt.strategies import saving
from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.compression.static_embeddings import StaticEmbeddings
from autoopt.strategies.errors import ModelError, UsageError
from autoopt.strategies.stand_ins.contract import text_logits
from autoopt.strategies.students.model2vec_folder import export_model2vec, is_static
from autoopt.strategies.students.static_reader import StaticReader
from autoopt.strategies.students.static_training import (
    Shape,
    StaticNetwork,
    _features,
    _variant,
    student_tokenizer,
)
from autoopt.strategies.students.token_vectors import token_vectors
from autoopt.strategies.training.batches import collate
from tests import tiny


def given() -> Candidate:
    return replace(tiny.candidate(layers=2), teacher=tiny.model(layers=2, seed=7))


@cache
def student(**settings: Any) -> Candidate:
    return StaticEmbeddings(**settings).apply(given(), effort=1, seed=0)


def test_it_learns_the_task() -> None:
    assert tiny.accuracy(student(weight=0.0)) == 1.0


def test_it_learns_what_the_teacher_answers_rather_than_the_labels() -> None:
    opposite = replace(given(), teacher=student_teacher())
    answers = tiny.logits(StaticEmbeddings(weight=1.0, epochs=40).apply(opposite, effort=1, seed=0)).argmax(1)
    wanted = tiny.logits(opposite, opposite.teacher).argmax(1)
    assert (answers == wanted).float().mean() > 0.8


def student_teacher() -> Any:
    """A trunk that gives each text the other class."""
    from autoopt.strategies.adaptation.full_finetuning import FullFinetuning

    swapped = tuple(replace(one, label=1 - tiny.class_of(one)) for one in tiny.examples(80, seed=5))
    learner = FullFinetuning.model_validate({"learning_rate": 1.5e-4, "epochs": 5})
    strong = replace(tiny.candidate(layers=2), train=swapped * 4)
    return learner.apply(strong, effort=1, seed=0).model


@pytest.mark.parametrize("settings", [{}, {"bigrams": 16384}, {"hidden": 256, "token_weights": False}])
def test_serving_computes_what_was_trained(settings: dict[str, Any]) -> None:
    """But for the precision in which vectors are stored."""
    candidate = given()
    shape = Shape(
        dimension=64,
        bigram_rows=settings.get("bigrams", 0),
        weighted=settings.get("token_weights", True),
        hidden=settings.get("hidden", 0),
        pairs=False,
        outputs=2,
    )
    vectors = token_vectors(candidate.model, candidate.tokenizer, dimension=64, seen=())
    network = StaticNetwork(shape, vectors, seed=0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        network.vectors[0] = 0
    examples = tiny.examples(12, seed=3)
    features = _features(candidate, examples, shape)
    compact = [{**item, "input_ids": [token + 1 for token in item["input_ids"]]} for item in features]
    expected = network(collate(compact, pad_token_id=0)).detach().numpy()
    arrays = {key: value.numpy() for key, value in network.folded(len(vectors), range(len(vectors)), vectors).items()}
    made: Any = StaticEmbeddings(**settings).apply(candidate, effort=0, seed=0).model
    arrays["tokenizer"] = made.arrays["tokenizer"]
    reader = StaticReader(arrays, {"max_length": 16, "pairs": False, "unknown": 1})
    assert np.allclose(reader.text_logits([one.text for one in examples]), expected, atol=0.02)


def test_the_vectors_are_the_trunks_answers_to_single_tokens() -> None:
    """In the coordinates of their principal components: distances are the same but for the weight of each token."""
    candidate = given()

    def alone(token: int) -> Any:
        inputs = torch.tensor([[2, token, 3]])
        with torch.inference_mode():
            return candidate.model(input_ids=inputs, output_hidden_states=True).hidden_states[-1].mean(1)

    whole = token_vectors(candidate.model, candidate.tokenizer, dimension=32, seen=())
    ranks = 1 / torch.arange(2, len(whole) + 2, dtype=torch.float32)
    shares = ranks / ranks.sum()
    plain = whole / (1e-4 / (1e-4 + shares))[:, None]
    ratios = [(alone(one) - alone(9)).norm() / (plain[one] - plain[9]).norm() for one in (12, 17, 20)]
    assert max(ratios) == pytest.approx(float(min(ratios)), rel=0.02)
    variances = plain.var(0)
    assert bool((variances[:-1] >= variances[1:] - 1e-3).all())
    assert token_vectors(candidate.model, candidate.tokenizer, dimension=8, seen=()).shape == (len(tiny.VOCABULARY), 8)


def test_a_token_without_text_gets_the_vector_that_its_word_embedding_suggests(monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = given()
    whole = token_vectors(candidate.model, candidate.tokenizer, dimension=32, seen=())
    monkeypatch.setattr("autoopt.strategies.students.token_vectors.FREQUENT", 3)
    some = token_vectors(candidate.model, candidate.tokenizer, dimension=32, seen=range(5, len(whole) - 2))
    assert some.shape == whole.shape
    distances, expected = (torch.cdist(vectors[9:20], vectors[9:20]) for vectors in (some, whole))
    correlation = torch.corrcoef(torch.stack([distances.flatten(), expected.flatten()]))[0, 1]
    assert correlation > 0.95
    assert bool(torch.isfinite(some).all())
    assert some[-1].norm() > 0


def test_an_answer_does_not_depend_on_the_other_texts_nor_on_unknown_words() -> None:
    model: Any = student().model
    alone = model.text_logits(["shares fell today"])
    assert np.allclose(model.text_logits(["the cup", "shares fell zzz today", ""])[1], alone[0], atol=1e-5)
    assert np.isfinite(model.text_logits([""])).all()


def test_it_reads_no_more_tokens_than_the_task_allows() -> None:
    model: Any = student().model
    text = " ".join(["cup"] * 16)
    assert np.array_equal(model.text_logits([text]), model.text_logits([f"{text} shares bank"]))


def test_pairs_are_compared() -> None:
    words = ["cup", "goal", "bank", "sales", "match", "coach"]
    chance = random.Random(0)
    examples = []
    for _ in range(60):
        first, second = chance.choice(words), chance.choice(words)
        examples.append(Example(f"the {first} today", int(first == second), text_pair=f"a {second} said"))
        examples.append(Example(f"the {first} today", 1, text_pair=f"a {first} said"))
    candidate = replace(given(), task=SentencePair(labels=("differs", "same"), max_length=16), train=tuple(examples))
    made = StaticEmbeddings(hidden=256, weight=0.0, epochs=40).apply(candidate, effort=1, seed=0)
    answers = text_logits(made.model, examples).argmax(1)  # type: ignore[arg-type]
    assert (answers == [one.label for one in examples]).mean() > 0.95


@pytest.mark.parametrize("problem", ["multi_label_classification", "regression"])
def test_it_learns_several_classes_and_numbers(problem: str) -> None:
    from autoopt.objectives.tasks.text_classification.task import TextClassification

    candidate = given()
    several = problem.startswith("multi")
    labels = tuple(
        replace(one, label=(tiny.class_of(one),) if several else float(tiny.class_of(one))) for one in candidate.train
    )
    models: list[Any] = [candidate.model, candidate.teacher]
    for model in models:
        model.config.problem_type = problem
        if not several:
            model.config.num_labels = 1
            model.num_labels = 1
            model.classifier = torch.nn.Linear(32, 1)
    task = TextClassification(labels=tiny.LABELS if several else (), max_length=16, kind=problem)  # type: ignore[arg-type]
    made = StaticEmbeddings(weight=0.1, epochs=40).apply(replace(candidate, task=task, train=labels), effort=1, seed=0)
    logits = text_logits(made.model, tiny.examples(12, seed=3))  # type: ignore[arg-type]
    truth = np.array([one.label for one in tiny.examples(12, seed=3)])
    answers = logits.argmax(1) if several else logits[:, 0] > 0.5
    assert (answers == truth).mean() > 0.8


def test_a_variant_has_words_of_the_texts_and_no_label() -> None:
    chance = random.Random(0)
    one, other = Example("a b c d e f", 1), Example("g h i j", 0)
    variants = [_variant(one, [other], chance) for _ in range(40)]
    assert {variant.label for variant in variants} == {None}
    assert "a b c i j" in {variant.text for variant in variants}
    assert all(set(variant.text.split()) <= set("abcdefghij") and variant.text for variant in variants)
    pair = _variant(Example("a b c d", 1, text_pair="e f g h"), [one], chance)
    assert set(pair.text_pair or "") <= set("efgh ")


def test_what_lacks_a_trunk_or_a_tokenizer_of_the_library_is_told_so() -> None:
    with pytest.raises(UsageError, match="no trunk to learn from"):
        StaticEmbeddings().apply(replace(given(), teacher=None), effort=1, seed=0)
    with pytest.raises(ModelError, match="needs a tokenizer of the library tokenizers"):
        StaticEmbeddings().apply(replace(given(), tokenizer=object()), effort=1, seed=0)  # type: ignore[arg-type]


def test_model2vec_opens_the_exported_folder_with_the_same_vectors(tmp_path: Path) -> None:
    model2vec = pytest.importorskip("model2vec")
    saving.save(student(), tmp_path / "saved")
    export_model2vec(tmp_path / "saved", tmp_path / "exported")
    opened = model2vec.StaticModel.from_pretrained(tmp_path / "exported")
    reader = student().model._open()  # type: ignore[operator]
    texts = [one.text for one in tiny.examples(12, seed=3)]
    assert np.allclose(opened.encode(texts), reader.text_vectors(texts), atol=1e-5)


def test_the_exported_folder_has_the_layout_of_model2vec(tmp_path: Path) -> None:
    import json

    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    saving.save(student(), tmp_path / "saved")
    assert is_static(tmp_path / "saved")
    export_model2vec(tmp_path / "saved", tmp_path / "exported")
    tensors = load_file(tmp_path / "exported" / "model.safetensors")
    tokenizer = Tokenizer.from_file(str(tmp_path / "exported" / "tokenizer.json"))
    assert list(tensors) == ["embeddings"]
    assert tensors["embeddings"].shape == (tokenizer.get_vocab_size(), 256)
    config = json.loads((tmp_path / "exported" / "config.json").read_text(encoding="utf-8"))
    assert (config["labels"], config["max_length"], config["normalize"]) == (list(tiny.LABELS), 16, False)
    ids = tokenizer.encode("shares fell today", add_special_tokens=False).ids
    head = load_file(tmp_path / "exported" / "head.safetensors")
    hidden = np.maximum(tensors["embeddings"][ids].mean(0) @ head["weight0"] + head["bias0"], 0)
    logits = hidden @ head["weight1"] + head["bias1"]
    assert np.allclose(logits, student().model.text_logits(["shares fell today"])[0], atol=1e-4)  # type: ignore[operator]


def test_vectors_of_pairs_are_not_exported(tmp_path: Path) -> None:
    saving.save(student(bigrams=16384), tmp_path / "saved")
    with pytest.raises(ModelError, match="vectors for pairs of tokens"):
        export_model2vec(tmp_path / "saved", tmp_path / "exported")


def test_the_tokenizer_is_that_of_the_trunk() -> None:
    texts = [one.text for one in tiny.examples(6, seed=3)]
    tokenizer = student_tokenizer(given())
    expected = [given().tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    assert [tokenizer.encode(text, add_special_tokens=False).ids for text in texts] == expected
