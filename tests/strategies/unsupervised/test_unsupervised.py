"""What is special to each way of learning from unlabeled texts, besides masked language modeling."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.networks.calibration import without_labels
from autoopt.strategies.networks.sentence_decoder import SentenceDecoder
from autoopt.strategies.training import precision
from autoopt.strategies.training.batches import collate
from autoopt.strategies.training.loop import Schedule, train
from autoopt.strategies.unsupervised.causal_language_modeling import CausalLanguageModeling
from autoopt.strategies.unsupervised.self_training import SelfTraining
from autoopt.strategies.unsupervised.simcse import SimCSE, contrastive_loss
from autoopt.strategies.unsupervised.tsdae import TSDAE
from tests import tiny, tiny_decoder

TEXTS = tuple(example.text for example in tiny.examples(200, seed=2))


@pytest.fixture(scope="module")
def given() -> Candidate:
    return replace(tiny.candidate(seed=5), train=tiny.examples(16, seed=1), unlabeled=TEXTS)


def unseen(candidate: Candidate) -> dict[str, Any]:
    features = candidate.task.encode(tiny.examples(60, seed=3), candidate.tokenizer)
    return collate(without_labels(features), pad_token_id=0)


def test_simcse_learns_to_tell_texts_apart(given: Candidate) -> None:
    def confusion(candidate: Candidate) -> float:
        torch.manual_seed(0)
        with torch.inference_mode():
            return float(contrastive_loss(candidate.copy_model().train(), unseen(candidate)))

    learned = SimCSE().model_copy(update={"learning_rate": 1e-3, "epochs": 20}).apply(given, effort=1, seed=0)
    assert confusion(learned) < 0.8 * confusion(given)
    assert torch.equal(learned.model.get_parameter("classifier.weight"), given.model.get_parameter("classifier.weight"))


@pytest.mark.slow
def test_tsdae_learns_to_write_texts_again_from_their_vectors(given: Candidate) -> None:
    def loss_of_fresh_decoder(candidate: Candidate) -> float:
        """After the same training of a decoder on top of the trunk, which stays as it is."""
        torch.manual_seed(0)
        model: Any = candidate.copy_model()
        decoder = SentenceDecoder(model.base_model)
        own = [parameter for name, parameter in decoder.named_parameters() if not name.startswith("trunk.")]
        features = without_labels(candidate.task.encode(tiny.examples(60, seed=4), candidate.tokenizer))

        def loss(decoder: Any, batch: dict[str, Any]) -> torch.Tensor:
            return decoder(batch["input_ids"], batch["attention_mask"], batch["attention_mask"])  # type: ignore[no-any-return]

        schedule = Schedule(learning_rate=1e-2, epochs=30)
        train(decoder, features, schedule, pad_token_id=0, effort=1, seed=0, loss=loss, parameters=own)
        with torch.inference_mode():
            return float(loss(decoder, unseen(candidate)))

    strategy = TSDAE(hidden=0.4).model_copy(update={"learning_rate": 1e-3, "epochs": 12})
    assert loss_of_fresh_decoder(strategy.apply(given, effort=1, seed=0)) < loss_of_fresh_decoder(given)


def test_self_training_learns_from_what_it_labelled_itself(given: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "training_precision", lambda _: torch.float32)  # So small a test hangs on rounding.
    strategy = SelfTraining(confidence=0.7).model_copy(update={"learning_rate": 2e-3, "epochs": 15, "batch_size": 4})
    learned = strategy.apply(given, effort=1, seed=0)
    labelled = re.search(r"(\d+) texts labelled", learned.history[-1])
    assert labelled is not None
    assert int(labelled[1]) > 50
    assert learned.train == given.train
    alone = strategy.apply(replace(given, unlabeled=()), effort=1, seed=0)
    assert alone.history[-1].endswith(" 0 texts labelled")
    assert tiny.accuracy(learned) > max(0.8, tiny.accuracy(alone))


def test_self_training_takes_no_label_that_it_is_not_sure_of(given: Candidate) -> None:
    """A model that has learned nothing is sure of nothing."""
    unsure = SelfTraining(confidence=0.95).apply(given, effort=0.01, seed=0)
    assert unsure.history[-1].endswith(" 0 texts labelled")


def test_self_training_labels_no_text_whose_label_it_was_given(given: Candidate) -> None:
    known = tuple(example.text for example in given.train)
    learned = SelfTraining().apply(replace(given, unlabeled=known * 3), effort=1, seed=0)
    assert learned.history[-1].endswith(" 0 texts labelled")


def test_causal_language_modeling_makes_such_text_likelier() -> None:
    given = replace(tiny_decoder.candidate(), unlabeled=tiny_decoder.CORPUS * 4)
    after = CausalLanguageModeling(learning_rate=2e-3, epochs=5, block=16, batch_size=2).apply(given, effort=1, seed=0)
    text = tiny_decoder.packed(tiny_decoder.CORPUS[:1], given.tokenizer)
    assert tiny_decoder.loss(after.model, text, 1) < 0.7 * tiny_decoder.loss(given.model, text, 1)


def test_causal_language_modeling_packs_whole_texts_with_an_end_after_each() -> None:
    given = replace(tiny_decoder.candidate(), unlabeled=tiny_decoder.CORPUS)
    blocks = CausalLanguageModeling(block=7)._pack_blocks(given, seed=0)
    ids = [token for block in blocks for token in block["input_ids"]]
    assert {len(block["input_ids"]) for block in blocks[:-1]} == {7}
    texts = str(given.tokenizer.decode(ids)).split(tiny_decoder.END)
    assert sorted(texts[: len(tiny_decoder.CORPUS)]) == sorted(tiny_decoder.CORPUS)
    assert all(block["labels"] == block["input_ids"] for block in blocks)
