"""Batches: padded to their own longest, sorted by length, and the answers as if each example had come alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given as for_any
from hypothesis import strategies as st

from autoopt.strategies.candidate import Candidate, Features
from autoopt.strategies.training import batches
from tests import tiny


@pytest.fixture(scope="module")
def given() -> Candidate:
    return tiny.candidate(layers=2)


def item(length: int, **more: Any) -> Features:
    return {"input_ids": list(range(5, 5 + length)), "attention_mask": [1] * length, **more}


def forward(given: Candidate, **settings: Any) -> Iterator[tuple[list[int], dict[str, torch.Tensor], Any]]:
    return batches.forward(given.model, given.features(), pad_token_id=0, **settings)


def test_a_batch_is_as_long_as_its_longest_example() -> None:
    batch = batches.collate([item(3), item(5)], pad_token_id=9)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 9, 9], [5, 6, 7, 8, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]


def test_a_label_for_each_text_stays_a_number() -> None:
    assert batches.collate([item(1, labels=1), item(2, labels=0)], pad_token_id=0)["labels"].tolist() == [1, 0]


def test_labels_for_each_token_are_padded_with_what_the_loss_leaves_out() -> None:
    batch = batches.collate([item(1, labels=[3]), item(2, labels=[3, 4])], pad_token_id=0)
    assert batch["labels"].tolist() == [[3, torch.nn.CrossEntropyLoss().ignore_index], [3, 4]]


@for_any(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=20), pad=st.integers(0, 4))
def test_no_token_is_lost_and_only_padding_is_masked(lengths: list[int], pad: int) -> None:
    features = [item(length) for length in lengths]
    batch = batches.collate(features, pad_token_id=pad)
    assert batch["input_ids"].shape == (len(lengths), max(lengths))
    for row, mask, given in zip(batch["input_ids"], batch["attention_mask"].bool(), features, strict=True):
        assert row[mask].tolist() == given["input_ids"]
        assert set(row[~mask].tolist()) <= {pad}


def test_every_example_is_answered_once_short_ones_first(given: Candidate) -> None:
    features = given.features()
    answered = [position for positions, _, _ in forward(given, batch_size=5) for position in positions]
    assert sorted(answered) == list(range(len(features)))
    lengths = [len(features[position]["input_ids"]) for position in answered]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]


def test_the_company_of_a_batch_does_not_change_an_answer(given: Candidate) -> None:
    together, alone = (torch.zeros(24, 2), torch.zeros(24, 2))
    for answers, size in ((together, 24), (alone, 1)):
        for positions, _, output in forward(given, batch_size=size):
            answers[positions] = output.logits
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_the_batch_has_the_labels_and_the_model_does_not_see_them(given: Candidate) -> None:
    for positions, batch, output in forward(given):
        assert batch["labels"].tolist() == [given.train[position].label for position in positions]
        assert output.loss is None


def test_answers_are_without_dropout_and_without_gradients(given: Candidate) -> None:
    given.model.train()
    first, again = ([output.logits for _, _, output in forward(given)] for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert not any(logits.requires_grad for logits in first)
    assert not given.model.training


def test_hidden_states_come_where_they_are_asked_for(given: Candidate) -> None:
    (_, batch, output), *_ = forward(given, hidden_states=True)
    assert [state.shape for state in output.hidden_states] == [(*batch["input_ids"].shape, 32)] * 3


def drawn(lengths: list[int], seed: int = 0, batch_size: int = 4) -> list[list[Features]]:
    features = [item(length, row=row) for row, length in enumerate(lengths)]
    generator = torch.Generator().manual_seed(seed)
    return list(batches.shuffled_batches(features, batch_size=batch_size, generator=generator))


def rows(drawn: list[list[Features]]) -> list[list[int]]:
    return [[features["row"] for features in batch] for batch in drawn]


@for_any(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=100), batch_size=st.integers(1, 9))
def test_an_epoch_has_every_example_once_in_as_few_batches_as_there_can_be(lengths: list[int], batch_size: int) -> None:
    found = rows(drawn(lengths, batch_size=batch_size))
    assert sorted(row for batch in found for row in batch) == list(range(len(lengths)))
    assert len(found) == -(-len(lengths) // batch_size)
    assert max(map(len, found)) <= batch_size


def test_batches_for_training_waste_little_on_padding() -> None:
    lengths = [5 + row * 37 % 40 for row in range(400)]
    padded = sum(len(batch) * max(len(features["input_ids"]) for features in batch) for batch in drawn(lengths))
    assert padded < 1.1 * sum(lengths)


def test_batches_for_training_are_not_in_the_order_of_their_length() -> None:
    lengths = [5 + row * 37 % 40 for row in range(400)]
    means = [sum(len(features["input_ids"]) for features in batch) / len(batch) for batch in drawn(lengths)]
    assert 0.2 < sum(a < b for a, b in itertools.pairwise(means)) / len(means) < 0.8


def test_a_seed_is_an_order_and_another_seed_another() -> None:
    lengths = [5] * 40
    assert rows(drawn(lengths, seed=1)) == rows(drawn(lengths, seed=1)) != rows(drawn(lengths, seed=2))
