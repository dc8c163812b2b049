"""The linear bag: as good as scikit-learn's, for classes, several classes, numbers and pairs."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autoopt.objectives.tasks.sentence_pair.task import SentencePair
from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.compression.linear_bag import LinearBag
from autoopt.strategies.stand_ins.contract import text_logits
from autoopt.strategies.students import svm
from autoopt.strategies.texts.terms import Vocabulary
from tests import tiny


def noisy_texts(count: int, seed: int) -> tuple[list[str], list[int]]:
    """Texts of five classes that share most of their words."""
    chance = random.Random(seed)
    words = [f"word{number}" for number in range(60)]
    classes = [chance.randrange(5) for _ in range(count)]
    return [" ".join(chance.choices(words[8 * c : 8 * c + 20], k=6)) for c in classes], classes


def test_it_answers_as_the_support_vector_machines_of_scikit_learn() -> None:
    from scipy.sparse import csr_array
    from sklearn.svm import LinearSVC

    texts, classes = noisy_texts(200, 0)
    new, _ = noisy_texts(200, 1)
    vocabulary = Vocabulary.of([(text, None) for text in texts])

    def matrix(of: list[str]) -> Any:
        rows = [vocabulary.row((text, None)) for text in of]
        starts = np.cumsum([0, *(len(columns) for columns, _ in rows)])
        columns, values = (np.concatenate([row[part] for row in rows]) for part in (0, 1))
        return csr_array(
            (values, columns.astype(np.int32), starts.astype(np.int32)), shape=(len(of), len(vocabulary.weights))
        )

    targets = np.where(np.eye(5)[classes] > 0, 1.0, -1.0)
    rows = [vocabulary.row((text, None)) for text in texts]
    weights, bias = svm.fit(rows, targets, columns=len(vocabulary.weights), cost=1.0, seed=0)
    ours = matrix(new) @ weights + bias
    theirs = LinearSVC(C=1.0, loss="squared_hinge", intercept_scaling=1.0, tol=1e-6).fit(matrix(texts), classes)
    assert np.abs(ours - theirs.decision_function(matrix(new))).mean() < 0.03
    assert (ours.argmax(1) == theirs.predict(matrix(new))).mean() > 0.97


def test_numbers_are_fitted_as_by_ridge_regression() -> None:
    generator = np.random.default_rng(0)
    dense = generator.normal(size=(50, 4)).astype(np.float32)
    truth = dense @ np.array([1.0, -2.0, 0.5, 0.0]) + 3
    rows = [([0, 1, 2, 3], row.tolist()) for row in dense]
    weights, bias = svm.fit(rows, truth[:, None], columns=4, cost=50.0, seed=0, numbers=True)
    assert np.allclose(weights[:, 0], [1.0, -2.0, 0.5, 0.0], atol=0.1)
    assert bias[0] == pytest.approx(3, abs=0.1)


def made(candidate: Candidate, **settings: Any) -> Any:
    return LinearBag(**settings).apply(candidate, effort=1, seed=0).model


def test_it_learns_the_task_without_a_trunk() -> None:
    candidate = replace(tiny.candidate(), train=tiny.examples(60, seed=1))
    assert tiny.accuracy(LinearBag().apply(candidate, effort=1, seed=0)) > 0.9


def test_it_learns_from_the_examples_that_networks_have_no_time_for() -> None:
    examples = tiny.examples(200, seed=1)
    few = replace(tiny.candidate(), train=examples[:2])
    more = replace(few, reserve=examples[2:])
    alone, limited, every = (
        LinearBag(most_examples=most).apply(candidate, effort=1, seed=0)
        for candidate, most in ((few, 50_000), (more, 1), (more, 50_000))
    )
    assert tiny.accuracy(alone) == tiny.accuracy(limited) < 0.9 < tiny.accuracy(every)
    assert "of 200 examples" in every.history[-1]
    assert "of 2 examples" in limited.history[-1], "never fewer than the networks"


def test_its_probabilities_are_as_sure_as_it_is_right() -> None:
    texts, classes = noisy_texts(600, 0)
    examples = tuple(Example(text, label) for text, label in zip(texts, classes, strict=True))
    task = replace(tiny.candidate().task, labels=tuple("abcde"))  # type: ignore[type-var]
    candidate = replace(tiny.candidate(), task=task, train=examples)
    candidate.model.config.id2label = dict(enumerate("abcde"))
    new, truth = noisy_texts(600, 1)
    answered = task.predict(LinearBag().apply(candidate, effort=1, seed=0), new)  # type: ignore[attr-defined]
    right = np.mean([one["label"] == "abcde"[label] for one, label in zip(answered, truth, strict=True)])
    assert np.mean([one["score"] for one in answered]) == pytest.approx(right, abs=0.1)


def test_pairs_are_told_apart_by_what_they_have_in_common() -> None:
    chance = random.Random(0)
    words = [f"w{number}" for number in range(40)]

    def example(same: int) -> Example:
        first = chance.sample(words, 5)
        second = chance.sample(first, 4) if same else chance.sample([w for w in words if w not in first], 4)
        return Example(" ".join(first), same, text_pair=" ".join(second))

    train, new = ([example(number % 2) for number in range(count)] for count in (80, 40))
    task = SentencePair(labels=("differs", "same"), max_length=16)
    model = made(replace(tiny.candidate(), task=task, train=tuple(train)))
    assert (text_logits(model, new).argmax(1) == [one.label for one in new]).mean() == 1.0


def test_several_classes_and_numbers_are_learned() -> None:
    candidate = replace(tiny.candidate(), train=tiny.examples(60, seed=1))
    new = tiny.examples(12, seed=3)
    truth = np.array([tiny.class_of(one) for one in new])
    candidate.model.config.problem_type = "multi_label_classification"
    several = tuple(replace(one, label=(tiny.class_of(one),)) for one in candidate.train)
    logits = text_logits(made(replace(candidate, train=several)), new)
    assert ((logits > 0) == np.eye(2)[truth]).mean() > 0.9
    candidate.model.config.problem_type = "regression"
    candidate.model.config.num_labels = 1
    numbers = tuple(replace(one, label=float(10 + tiny.class_of(one))) for one in candidate.train)
    answers = text_logits(made(replace(candidate, train=numbers)), new)[:, 0]
    assert np.abs(answers - 10 - truth).mean() < 0.25


def test_long_texts_have_no_groups_of_characters() -> None:
    long = tuple(replace(one, text=f"{one.text} " * 8) for one in tiny.examples(40))
    assert made(replace(tiny.candidate(), train=tiny.examples(40))).settings["characters"]
    assert not made(replace(tiny.candidate(), train=long)).settings["characters"]
    assert not made(replace(tiny.candidate(), train=tiny.examples(40)), characters="no").settings["characters"]


def test_a_text_without_a_known_term_gets_the_bias() -> None:
    model = made(replace(tiny.candidate(), train=tiny.examples(40)), characters="no")
    assert np.array_equal(model.text_logits(["zzz"])[0], model.text_logits([""])[0])
