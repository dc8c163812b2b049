"""Heads of every kind that start from the linear solution, and those that stay as they are."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.objectives.tasks.token_classification.task import TokenClassification
from autoopt.strategies.augmentation.class_weights import ClassWeights
from autoopt.strategies.candidate import Candidate, Example, Features
from autoopt.strategies.networks import solved_head
from autoopt.strategies.networks.pooling import pooling_of
from autoopt.strategies.networks.solved_head import frozen_rows, last_linear, solve_head, with_solved_head
from autoopt.strategies.training.batches import IGNORED_LABEL, collate
from tests import tiny, tiny_decoder

TAGS = ("O", "B-ORG", "B-TEAM")


def solved(candidate: Candidate) -> Candidate:
    model = candidate.copy_model()
    assert solve_head(candidate, model)
    return replace(candidate, model=model)


def of_class(auto_class: str, candidate: Candidate, labels: tuple[str, ...], **settings: Any) -> Any:
    import transformers

    config = copy.deepcopy(candidate.model.config)
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: number for number, name in enumerate(labels)}
    for name, value in settings.items():
        setattr(config, name, value)
    torch.manual_seed(0)
    model: Any = getattr(transformers, auto_class)(config)
    model.base_model.load_state_dict(candidate.model.base_model.state_dict(), strict=False)
    return model.eval()


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra", "distilbert"])
def test_only_the_last_linear_layer_of_the_head_changes_and_the_task_is_learned(kind: str) -> None:
    given = tiny.candidate(kind, layers=1, seed=5)
    after = solved(given)
    before = given.model.state_dict()
    changed = {name for name, tensor in after.model.state_dict().items() if not torch.equal(tensor, before[name])}
    layer = "classifier.out_proj" if kind in ("roberta", "electra") else "classifier"
    assert changed == {f"{layer}.weight", f"{layer}.bias"}
    assert loss(after) < loss(given)


def loss(candidate: Candidate) -> float:
    """Of the training examples."""
    batch: Any = collate(candidate.features(), pad_token_id=0)
    with torch.inference_mode():
        return float(candidate.model(**batch).loss)


def test_texts_that_were_not_trained_on_are_answered() -> None:
    given = tiny.candidate(layers=1, seed=5)
    assert tiny.accuracy(solved(given)) > 0.7 > tiny.accuracy(given)


def test_several_classes_for_a_text_are_learned_one_by_one() -> None:
    given = tiny.candidate(layers=1, seed=5)
    model = of_class("BertForSequenceClassification", given, tiny.LABELS, problem_type="multi_label_classification")
    alone = tuple(replace(example, label=(tiny.class_of(example),)) for example in given.train)
    task = TextClassification(labels=tiny.LABELS, max_length=16, kind="multi_label_classification")  # type: ignore[arg-type]
    after = solved(replace(given, model=model, task=task, train=alone))
    texts = [replace(example, label=None) for example in tiny.examples(40, seed=3)]
    answers = task.answer(after, texts)
    truths = [(tiny.class_of(example),) for example in tiny.examples(40, seed=3)]
    assert sum(answer == truth for answer, truth in zip(answers, truths, strict=True)) > 24


def test_numbers_are_predicted() -> None:
    given = tiny.candidate(layers=1, seed=5)
    model = of_class("BertForSequenceClassification", given, ("number",), problem_type="regression")
    numbers = tuple(replace(example, label=10.0 + 5 * tiny.class_of(example)) for example in given.train)
    task = TextClassification(labels=(), max_length=16, kind="regression")  # type: ignore[arg-type]
    after = solved(replace(given, model=model, task=task, train=numbers))
    batch: Any = collate(task.encode(tiny.examples(12, seed=3), after.tokenizer), pad_token_id=0)
    batch.pop("labels")
    with torch.inference_mode():
        predicted = after.model(**batch).logits[:, 0]
    truth = torch.tensor([10.0 + 5 * tiny.class_of(example) for example in tiny.examples(12, seed=3)])
    assert torch.corrcoef(torch.stack([predicted, truth]))[0, 1] > 0.5
    assert 10 < predicted.mean() < 15


def tagged(seed: int) -> tuple[Example, ...]:
    """Texts whose words have the tag of the topic that they belong to."""
    tag_of = {word: 1 + topic for topic in (0, 1) for word in tiny.TOPIC_WORDS[topic]}
    return tuple(
        Example(example.text, tuple(tag_of.get(word, 0) for word in example.text.split(" ")))
        for example in tiny.examples(seed=seed)
    )


def test_tags_are_learned_from_labelled_tokens_alone() -> None:
    given = tiny.candidate(layers=1, seed=5)
    model = of_class("BertForTokenClassification", given, TAGS)
    candidate = replace(given, model=model, task=TokenClassification(labels=TAGS, max_length=16), train=tagged(1))
    features = candidate.features()
    inputs, labels = frozen_rows(model, features, pad_token_id=0)
    count = sum(label != IGNORED_LABEL for item in features for label in item["labels"])
    assert inputs.shape == (count, 32)
    assert labels.tolist() == [label for item in features for label in item["labels"] if label != IGNORED_LABEL]
    batch: Any = collate(candidate.task.encode(tagged(3), candidate.tokenizer), pad_token_id=0)
    after = solved(candidate)
    with torch.inference_mode():
        answers = after.model(**batch).logits.argmax(-1)
    of_words = batch["labels"] != IGNORED_LABEL
    assert (answers == batch["labels"])[of_words].float().mean() > 0.75


def test_recorded_rows_are_what_the_layer_is_given() -> None:
    given = tiny.candidate(layers=1, seed=5)
    layer: Any = last_linear(given.model)
    inputs, labels = frozen_rows(given.model, given.features(), pad_token_id=0)
    batch: Any = collate(given.features(), pad_token_id=0)
    with torch.inference_mode():
        expected = given.model(**batch).logits
    torch.testing.assert_close(layer(inputs), expected, atol=2e-2, rtol=2e-2)
    assert labels.tolist() == [example.label for example in given.train]


def test_the_same_model_and_examples_are_recorded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given = tiny.candidate(seed=6)
    recorded: list[int] = []
    record = solved_head._record

    def counting(model: Any, features: list[Features], pad_token_id: int) -> Any:
        recorded.append(len(features))
        return record(model, features, pad_token_id)

    monkeypatch.setattr(solved_head, "_record", counting)
    solved(given)
    solved(given)
    solved(replace(given, train=given.train[:20]))
    assert recorded == [24, 20]


def test_the_loss_is_the_candidates() -> None:
    """Weights against the frequencies of a lopsided set move the answers towards the rare class."""
    given = tiny.candidate(layers=1, seed=5)
    many = tiny.examples(80, seed=1)
    lopsided = replace(given, train=(*many[::2], *many[1:21:2]))
    plain, weighted = (solved(candidate) for candidate in (lopsided, ClassWeights().apply(lopsided, effort=1, seed=0)))
    rare = [float(tiny.logits(candidate).softmax(-1)[:, 1].mean()) for candidate in (plain, weighted)]
    assert rare[1] > rare[0] + 0.05


def test_a_head_that_already_does_better_is_kept() -> None:
    given = tiny.candidate(layers=1, seed=5)
    model: Any = given.copy_model()
    layer: Any = last_linear(model)
    inputs, labels = frozen_rows(model, given.features(), pad_token_id=0)
    with torch.no_grad():  # Learned by heart.
        targets = torch.nn.functional.one_hot(labels).double() * 40 - 20
        weight = torch.linalg.lstsq(torch.cat([inputs, torch.ones(24, 1)], 1).double(), targets).solution.T
        layer.weight.copy_(weight[:, :-1])
        layer.bias.copy_(weight[:, -1])
    before = layer.weight.clone()
    assert not solve_head(given, model)
    assert torch.equal(layer.weight, before)


def test_the_mean_is_read_in_place_of_a_pooler_that_says_less() -> None:
    given = tiny.candidate(layers=1, seed=5)
    silent: Any = given.copy_model()
    with torch.no_grad():
        silent.bert.pooler.dense.weight.zero_()
    model, is_solved = with_solved_head(replace(given, model=silent), silent, seed=0)
    assert is_solved
    assert pooling_of(model) == "mean"
    assert tiny.accuracy(replace(given, model=model)) > 0.7


def test_a_pooler_that_says_more_than_the_mean_is_kept() -> None:
    given = tiny.candidate(layers=1, seed=5)
    own: Any = given.copy_model()
    told = replace(
        given, train=tuple(replace(example, label=number_of(own, example, given)) for example in given.train)
    )
    model, is_solved = with_solved_head(told, own, seed=0)
    assert is_solved
    assert model is own
    assert pooling_of(model) is None


def number_of(model: Any, example: Example, given: Candidate) -> int:
    """The sign of one of the pooler's outputs."""
    batch: Any = collate(given.encode([replace(example, label=None)]), pad_token_id=0)
    with torch.inference_mode():
        return int(model.bert(**batch).pooler_output[0, 0] > 0)


def test_a_training_may_start_from_a_more_regular_solution() -> None:
    given = tiny.candidate(layers=1, seed=5)
    models = [given.copy_model(), given.copy_model()]
    for model, least in zip(models, (0.0, 1000.0), strict=True):
        solve_head(given, model, least_strength=least)
    free, regular = (last_linear(model).weight.norm() for model in models)  # type: ignore[union-attr]
    assert regular < 0.5 * free


def test_heads_without_a_linear_solution_are_left_alone() -> None:
    decoder = tiny_decoder.candidate()
    assert last_linear(decoder.model) is None
    assert not solve_head(decoder, decoder.copy_model())
    given = tiny.candidate()
    assert last_linear(of_class("BertForQuestionAnswering", given, tiny.LABELS)) is None
    assert not solve_head(replace(given, train=()), given.copy_model())
