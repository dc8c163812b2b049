"""How text becomes tokens: packed without loss, and of a prompt with its response only the response is learned."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.objectives.tasks.causal_lm.packing import pack
from autoopt.objectives.tasks.causal_lm.reading import Form
from autoopt.objectives.tasks.causal_lm.task import CausalLM
from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.errors import DataError, UsageError
from autoopt.strategies.training.batches import IGNORED_LABEL, collate
from tests import tiny_decoder

TOKENIZERS = (tiny_decoder.tokenizer(), tiny_decoder.tokenizer(start=True))
TOKENIZER = TOKENIZERS[0]
END = TOKENIZER.eos_token_id
TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}<|endoftext|>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)

any_text = st.text(st.characters(codec="utf-8"), max_size=30)
lines = st.lists(
    st.one_of(any_text, any_text.map(lambda text: text + "\n"), st.just("\n"), st.just("")),
    max_size=12,
)


@given(lines, st.integers(4, 20), st.sampled_from(TOKENIZERS))
def test_packing_loses_no_token_and_repeats_none(texts: list[str], max_length: int, tokenizer: Any) -> None:
    blocks = pack(tiny_decoder.examples(texts), tokenizer, max_length=max_length, form=Form.TEXT)
    assert [token for block in blocks for token in block.tokens.ids] == tiny_decoder.packed(texts, tokenizer)
    assert all(2 <= len(block.tokens.ids) <= max_length for block in blocks)
    assert sum(len(block.tokens.ids) < max_length for block in blocks) <= 2


@given(lines)
def test_every_byte_is_credited_and_examples_keep_their_order(texts: list[str]) -> None:
    blocks = pack(tiny_decoder.examples(texts), TOKENIZER, max_length=8, form=Form.TEXT)
    owners = [owner for block in blocks for owner in block.tokens.owners]
    assert sum(size for block in blocks for size in block.tokens.sizes) == sum(len(text.encode()) for text in texts)
    assert owners == sorted(owners)
    assert set(owners) <= set(range(len(texts)))


def test_each_line_has_the_tokens_that_it_is_written_with() -> None:
    texts = ["the cat sat\n", "\n", "on the mat"]
    blocks = pack(tiny_decoder.examples(texts), TOKENIZER, max_length=100, form=Form.TEXT)
    (tokens,) = (block.tokens for block in blocks)
    own = [
        TOKENIZER.decode([token for token, owner in zip(tokens.ids, tokens.owners, strict=True) if owner == index])
        for index in range(3)
    ]
    assert own == [texts[0], texts[1], f"{texts[2]}{tiny_decoder.END}"]


def test_a_document_of_many_lines_is_tokenized_in_pieces_and_ends_once() -> None:
    texts = [tiny_decoder.CORPUS[0]] * 9_000
    assert sum(map(len, texts)) > 200_000
    blocks = pack(tiny_decoder.examples(texts), tiny_decoder.tokenizer(start=True), max_length=1_000, form=Form.TEXT)
    ids = [token for block in blocks for token in block.tokens.ids]
    assert (ids.count(END), ids[0], ids.count(1)) == (1, 1, 1)
    assert TOKENIZER.decode(ids[1:-1]) == "".join(texts)


def test_the_labels_are_the_tokens_as_the_models_of_transformers_expect() -> None:
    candidate = tiny_decoder.candidate()
    features = candidate.task.encode(tiny_decoder.examples(["the cat", "the dog sat"]), TOKENIZER)
    assert all(item["labels"] == item["input_ids"] for item in features)
    batch = collate(features, pad_token_id=TOKENIZER.pad_token_id)
    rows = candidate.task.answer(candidate, tiny_decoder.examples(["the cat", "the dog sat"]))  # type: ignore[attr-defined]
    mean = sum(loss for loss, _, _ in rows) / sum(tokens for _, tokens, _ in rows)
    assert candidate.model(**batch).loss.item() == pytest.approx(mean, rel=1e-4)


PROMPT = [
    Example("the cat", text_pair="sat on the mat ."),
    Example("the dog sat on the log .\n", text_pair="x"),
    Example("x" * 90, text_pair="the cat"),
    Example("the", text_pair="🦊" * 30),
    Example("y" * 40, text_pair="🦊" * 30),
]
DIALOGUE = [
    Example('[{"role": "user", "content": "the cat"}]', text_pair="sat on"),
    Example('[{"role": "system", "content": "no"}, {"role": "user", "content": "ü\\n"}]', text_pair="the 🦊 sat"),
]
forms = pytest.mark.parametrize(
    ("form", "template", "examples"),
    [(Form.PROMPT, None, PROMPT), (Form.DIALOGUE, None, DIALOGUE), (Form.DIALOGUE, TEMPLATE, DIALOGUE)],
    ids=["prompts", "dialogues", "dialogues by a template"],
)


def answering(form: Form, template: str | None, **settings: Any) -> Candidate:
    candidate = tiny_decoder.candidate(form=form, max_length=48, **settings)
    candidate.tokenizer.chat_template = template
    return candidate


@forms
@pytest.mark.parametrize("start", [False, True])
def test_only_the_response_is_learned_and_scored(
    form: Form, template: str | None, examples: list[Example], start: bool
) -> None:
    candidate = answering(form, template, start=start)
    task: Any = candidate.task
    features = task.encode(examples, candidate.tokenizer)
    for example, item, (loss, tokens, _) in zip(examples, features, task.answer(candidate, examples), strict=True):
        prompt_length = item["labels"].count(IGNORED_LABEL)
        assert item["labels"][prompt_length:] == item["input_ids"][prompt_length:]
        assert 1 <= prompt_length < len(item["labels"]) <= 48
        assert tokens == len(item["labels"]) - prompt_length
        assert loss == pytest.approx(tiny_decoder.loss(candidate.model, item["input_ids"], prompt_length), rel=1e-4)
        response = str(candidate.tokenizer.decode(item["input_ids"][prompt_length:]))
        response = response.removesuffix(tiny_decoder.END).strip("\ufffd ")
        assert response
        assert str(example.text_pair).startswith(response)


def test_what_a_prompt_says_next_is_no_part_of_the_loss() -> None:
    candidate = answering(Form.PROMPT, None)
    (item,) = candidate.task.encode(PROMPT[:1], candidate.tokenizer)
    prompt_length = item["labels"].count(IGNORED_LABEL)
    loss = candidate.model(**collate([item], pad_token_id=END)).loss.item()
    assert loss == pytest.approx(
        tiny_decoder.loss(candidate.model, item["input_ids"], prompt_length) / (len(item["labels"]) - prompt_length),
        rel=1e-4,
    )
    learned = {**item, "labels": item["input_ids"]}  # As if the prompt were learned too.
    assert candidate.model(**collate([learned], pad_token_id=END)).loss.item() != pytest.approx(loss, rel=1e-3)


def test_a_prompt_that_is_too_long_loses_its_beginning_and_a_response_its_end() -> None:
    features = answering(Form.PROMPT, None).task.encode(PROMPT, TOKENIZER)
    long_prompt, long_response, both = (item["labels"].count(IGNORED_LABEL) for item in features[2:])
    response_length = len(TOKENIZER("the cat")["input_ids"]) + 1
    assert long_prompt == min(48 - response_length, len(TOKENIZER("x" * 90 + "\n")["input_ids"]))
    assert TOKENIZER.decode(features[2]["input_ids"][:long_prompt]).endswith("x\n")
    assert long_response == len(TOKENIZER("the\n")["input_ids"])
    assert both == 24
    assert [len(item["input_ids"]) for item in features[3:]] == [48, 48]


@pytest.mark.parametrize("start", [False, True])
def test_a_chat_template_writes_the_dialogue_and_its_beginning(start: bool) -> None:
    candidate = answering(Form.DIALOGUE, TEMPLATE, start=start)
    (item,) = candidate.task.encode(DIALOGUE[:1], candidate.tokenizer)
    assert candidate.tokenizer.decode(item["input_ids"]) == "<user>the cat<|endoftext|><assistant>sat on<|endoftext|>"
    assert item["input_ids"].count(END) == 2


def test_a_template_that_opens_a_turn_with_more_than_it_keeps_is_ended_all_the_same() -> None:
    candidate = answering(Form.DIALOGUE, TEMPLATE.replace("<assistant>{% endif", "<assistant><think>{% endif"))
    (item,) = candidate.task.encode(DIALOGUE[:1], candidate.tokenizer)
    prompt_length = item["labels"].count(IGNORED_LABEL)
    assert str(candidate.tokenizer.decode(item["input_ids"][:prompt_length])).endswith("<assistant><think>")
    assert candidate.tokenizer.decode(item["input_ids"][prompt_length:]) == f"sat on{tiny_decoder.END}"


def test_without_a_template_a_dialogue_is_written_plainly() -> None:
    candidate = answering(Form.DIALOGUE, None)
    (_, item) = candidate.task.encode(DIALOGUE, candidate.tokenizer)
    assert candidate.tokenizer.decode(item["input_ids"]) == "system: no\nuser: ü\n\nassistant: the 🦊 sat<|endoftext|>"


def test_a_template_that_refuses_a_dialogue_is_named_with_its_reason() -> None:
    candidate = answering(Form.DIALOGUE, "{{ raise_exception('no system role') }}")
    with pytest.raises(DataError, match=r"refuses the dialogue .*the cat.*: no system role; leave such dialogues out"):
        candidate.task.encode(DIALOGUE, candidate.tokenizer)


def test_texts_with_and_without_a_response_are_not_mixed() -> None:
    with pytest.raises(UsageError, match="some of these have a response and some have none"):
        CausalLM().encode([Example("a"), Example("b", text_pair="c")], TOKENIZER)
