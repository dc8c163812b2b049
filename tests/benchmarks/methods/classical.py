"""What takes seconds: a bag of words with a linear SVM, and frozen features with logistic regression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from autoopt.objectives.models.model_folder import find_model
from autoopt.objectives.models.pretrained import open_pretrained
from autoopt.strategies.candidate import Candidate, Example, Features
from autoopt.strategies.training.batches import IGNORED_LABEL, forward
from tests.benchmarks.methods.data_sets import MODEL, Splits, splits_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Model: TypeAlias = Callable[[Sequence[Example]], list[Any]]
"""Answers examples."""
POOLINGS = ("first", "mean", "max", "last")
STRENGTHS = (1.0, 10.0, 100.0)
"""Values of C, chosen on validation; vectors have length 1."""


def tfidf_svm(splits: Splits) -> list[Any]:
    """Return the answers to the test texts of a linear SVM on TF-IDF of words and characters."""
    return bag_of_words(splits)(splits.data.test)


def bag_of_words(splits: Splits) -> Model:
    """Return a linear SVM on TF-IDF of words and characters.

    Of a longer text it reads the part that the model reads, ``max_length`` tokens: all methods have the same input. Of
    pairs the vectors of both texts, their difference and their product are given.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import FeatureUnion
    from sklearn.svm import LinearSVC

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    vectorizer = FeatureUnion([("words", words), ("characters", characters)])
    train = _as_read(splits.data.train, splits.task.max_length)
    vectorizer.fit([text for example in train for text in _texts(example)])
    machine = LinearSVC(C=1.0).fit(_vectors(vectorizer, train), [example.label for example in train])

    def answers(examples: Sequence[Example]) -> list[Any]:
        read = _as_read(examples, splits.task.max_length)
        return machine.predict(_vectors(vectorizer, read)).tolist()  # type: ignore[no-any-return]

    return answers


def _as_read(examples: Sequence[Example], max_length: int) -> list[Example]:
    """Return the examples with each text cut to this many tokens."""

    def cut(text: str) -> str:
        offsets = _base()[1](text, truncation=True, max_length=max_length, return_offsets_mapping=True)
        return text[: max(end for _, end in offsets["offset_mapping"])]

    return [example.edited(cut) for example in examples]


def _texts(example: Example) -> list[str]:
    return [example.text] if example.text_pair is None else [example.text, example.text_pair]


def _vectors(vectorizer: Any, examples: Sequence[Example]) -> Any:
    from scipy.sparse import hstack

    first = vectorizer.transform([example.text for example in examples])
    if examples[0].text_pair is None:
        return first
    second = vectorizer.transform([example.text_pair for example in examples])
    return hstack([first, second, abs(first - second), first.multiply(second)], format="csr")


def frozen(pooling: str) -> Callable[[Splits], list[Any]]:
    """Return the method: logistic regression on the base model's last states, pooled like this."""

    def method(splits: Splits) -> list[Any]:
        train, validation, test = (
            _pooled(splits.name, splits.seed, part)[pooling] for part in ("train", "validation", "test")
        )
        return fitted(splits, train, validation).predict(test).tolist()  # type: ignore[no-any-return]

    return method


def frozen_pairs(splits: Splits) -> list[Any]:
    """Return the answers of logistic regression on the mean-pooled vectors of both texts, difference and product."""
    import numpy as np

    features = []
    for part in ("train", "validation", "test"):
        examples = getattr(splits.data, part)
        first, second = (
            pool(states_of(splits, [Example(text or "") for text in texts], *_base()))["mean"]
            for texts in ([example.text for example in examples], [example.text_pair for example in examples])
        )
        features.append(np.concatenate([first, second, abs(first - second), first * second], axis=1))
    return fitted(splits, features[0], features[1]).predict(features[2]).tolist()  # type: ignore[no-any-return]


def frozen_tokens(splits: Splits) -> list[Any]:
    """Return the tags of logistic regression on the state of each word's first token."""
    import numpy as np
    import torch
    from sklearn.linear_model import LogisticRegression

    candidate = plainly_opened(splits)
    features = candidate.features()
    states = _last_states(features, candidate.model.base_model, candidate.tokenizer)
    rows, labels = np.concatenate(states), np.concatenate([item["labels"] for item in features])
    known = labels != IGNORED_LABEL
    model = LogisticRegression(C=STRENGTHS[0], max_iter=300).fit(rows[known], labels[known])
    head: Any = candidate.model.classifier
    with torch.no_grad():
        head.bias.fill_(-1e4)  # Of classes that training does not have.
        head.weight.zero_()
        head.weight[model.classes_] = torch.tensor(model.coef_, dtype=torch.float32)
        head.bias[model.classes_] = torch.tensor(model.intercept_, dtype=torch.float32)
    return splits.task.answer(candidate, splits.data.test)


def fitted(splits: Splits, train: NDArray[Any], validation: NDArray[Any]) -> Any:
    """Return logistic regression with the strength that is best on validation."""
    from sklearn.linear_model import LogisticRegression

    labels = [example.label for example in splits.data.train]
    truth = [example.label for example in splits.data.validation]
    models = [LogisticRegression(C=strength, max_iter=300).fit(train, labels) for strength in STRENGTHS]
    return max(models, key=lambda model: model.score(validation, truth))


@cache
def _pooled(name: str, seed: int, part: str) -> dict[str, NDArray[Any]]:
    if part != "train" and seed:
        return _pooled(name, 0, part)  # They are the same for all seeds.
    splits = splits_of(name, seed)
    return pool(states_of(splits, getattr(splits.data, part), *_base()))


def pool(states: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return by pooling (examples, width), each row of length 1, of states (length, width)."""
    import numpy as np

    pooled = {
        "first": np.stack([state[0] for state in states]),
        "mean": np.stack([state.mean(axis=0) for state in states]),
        "max": np.stack([state.max(axis=0) for state in states]),
        "last": np.stack([state[-1] for state in states]),
    }
    return {name: rows / np.linalg.norm(rows, axis=1, keepdims=True) for name, rows in pooled.items()}


def states_of(splits: Splits, examples: Sequence[Example], model: Any, tokenizer: Any) -> list[NDArray[Any]]:
    """Return the last states of each text, (length, width)."""
    unlabelled = [replace(example, label=None) for example in examples]
    return _last_states(splits.task.encode(unlabelled, tokenizer), model, tokenizer)


def _last_states(features: Sequence[Features], model: Any, tokenizer: Any) -> list[NDArray[Any]]:
    states: list[Any] = [None] * len(features)
    for positions, batch, output in forward(model, features, pad_token_id=tokenizer.pad_token_id):
        for position, state, mask in zip(positions, output.last_hidden_state, batch["attention_mask"], strict=True):
            states[position] = state[: int(mask.sum())].numpy().copy()
    return states


def plainly_opened(splits: Splits) -> Candidate:
    """Return the base model with the head that transformers gives it."""
    task = splits.task
    network, tokenizer = open_pretrained(
        find_model(MODEL),
        head=replace(task.head, pools=False),
        labels=task.labels,
        problem_type=task.problem_type,
        max_length=task.max_length,
        seed=splits.seed,
    )
    return Candidate(model=network, tokenizer=tokenizer, task=task, train=splits.data.train)


def new_base() -> tuple[Any, Any]:
    """Return the base model without a head, and its tokenizer."""
    from transformers import AutoModel, AutoTokenizer

    path = find_model(MODEL).path
    return AutoModel.from_pretrained(path), AutoTokenizer.from_pretrained(path)


_base = cache(new_base)
