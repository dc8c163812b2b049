"""The next token: how text is packed and prompts are masked, what is learned, and that perplexity is perplexity."""

# ruff: noqa: E501 - in a table of cases each case is a line

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoopt.objectives import likelihood
from autoopt.objectives.data import TextData, load_text_data
from autoopt.objectives.data_settings import DataSettings
from autoopt.objectives.measurement import Direction
from autoopt.objectives.packing import blocks
from autoopt.objectives.tasks import open_task
from autoopt.objectives.tasks.causal_lm import CausalLM
from autoopt.objectives.tasks.text_classification import TextClassification
from autoopt.objectives.written import Form, text_of
from autoopt.strategies import saving
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.batches import IGNORED_LABEL, collate
from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.errors import DataError, Diverged, ModelError, UsageError
from tests import tiny, tiny_decoder

WIKITEXT = Path(__file__).parents[3] / "shared" / "data" / "wikitext2"
TOKENIZERS = (tiny_decoder.tokenizer(), tiny_decoder.tokenizer(start=True))
TOKENIZER = TOKENIZERS[0]
END = TOKENIZER.eos_token_id
TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}<|endoftext|>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
NASTY: list[list[str]] = [
    *([text] for text in ("x", "the", " ", "\n", "\t", "  the  ", "the cat", "the cat\n", "\r\n", "a\nb", "ü", "漢字")),
    *(
        [text]
        for text in (
            "🦊🦊",
            "e\u0301",
            "\u200d",
            "a\u0000b",
            "<|endoftext|>",
            "the<|endoftext|>cat",
            "1e-4",
            "٣",
            "ß" * 9,
        )
    ),
    *([text] for text in ("the cat sat on the mat .\n" * 9, "x" * 60, "ab " * 40, "\n" * 30, "🦊" * 12, " " * 50)),
    *(["\n", "\n", "the\n"], ["the\n", "", "cat\n"], ["the", "", "", "cat"], ["", "the", ""], ["a", "b", "c"]),
    *(["a\n", "b"], ["a", "b\n"], ["a\n", "b\n"], ["\n", "a", "\n"], [" = Title = \n", " \n", " the cat \n"]),
    *(["the cat"] * count for count in (2, 5, 11)),
    *(["the cat sat on the mat .\n"] * count for count in (2, 3, 7)),
    *(["🦊\n", "漢\n", "ü"], ["x" * 31, "y"], ["x" * 32, "y"], ["x" * 33, "y"], ["a"] * 16, ["a\n"] * 16, ["ab"] * 7),
    ["the cat sat on the log .\n", "\n", "no man is an island\n", "🦊"],
]


def documents(texts: Sequence[str]) -> list[str]:
    """What is tokenized as one text: lines up to one that does not end."""
    found, open_lines = [], ""
    for text in texts:
        open_lines += text
        if text and not text.endswith("\n"):
            found.append(open_lines)
            open_lines = ""
    return [*found, *([open_lines] if open_lines else [])]


def packed(texts: Sequence[str], tokenizer: Any = TOKENIZER) -> list[int]:
    start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    return [
        token
        for text in documents(texts)
        for token in [*start, *tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    ]


def loss_by_hand(model: Any, ids: Sequence[int], first: int) -> float:
    """The loss of the tokens from ``first`` on, one after the other, each from a fresh pass over those before it."""
    total = 0.0
    for place in range(first, len(ids)):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids[:place]])).logits[0, -1].double()
        total -= float(logits.log_softmax(-1)[ids[place]])
    return total


def candidate(seed: int = 0, **settings: Any) -> Candidate:
    task = CausalLM(max_length=settings.pop("max_length", 16), form=settings.pop("form", Form.TEXT))
    start = settings.pop("start", False)
    return Candidate(
        model=tiny_decoder.model(seed=seed, **settings), tokenizer=tiny_decoder.tokenizer(start=start), task=task
    )


def examples(texts: Sequence[str]) -> list[Example]:
    return [Example(text) for text in texts]


def load(path: Path, **settings: Any) -> TextData:
    return load_text_data(DataSettings.model_validate({"source": str(path), **settings}), CausalLM)


def jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# The score


@pytest.mark.parametrize("texts", NASTY, ids=lambda texts: ascii(texts)[:40])
def test_perplexity_is_that_of_a_loop_over_single_tokens(texts: list[str]) -> None:
    number = NASTY.index(texts)
    kind = "gpt2" if number % 5 == 4 else "llama"
    given = candidate(seed=number % 7, kind=kind, start=number % 2 == 0)
    task: Any = given.task
    ids = packed(texts, given.tokenizer)
    cuts = [*range(0, len(ids), 16), len(ids)]
    if cuts[-1] - cuts[-2] == 1 and len(cuts) > 2:
        cuts[-2] -= 1
    pieces = [ids[start:end] for start, end in pairwise(cuts)]
    loss = sum(loss_by_hand(given.model, piece, 1) for piece in pieces)
    count = sum(len(piece) - 1 for piece in pieces)
    scores = task.score(given, examples(texts))
    assert scores["perplexity"].value == pytest.approx(math.exp(loss / count), rel=1e-4)
    assert scores["quality"].value == pytest.approx(math.exp(-loss / count), rel=1e-4)
    assert sum(tokens for _, tokens, _ in task.answer(given, examples(texts))) == count


def test_there_are_fifty_nasty_inputs() -> None:
    assert len(NASTY) >= 50


def test_quality_is_better_when_higher_and_perplexity_when_lower() -> None:
    task = CausalLM()
    assert {name: task.direction(name) for name in ("quality", *task.statistics)} == {
        "quality": Direction.MAXIMIZE,
        "perplexity": Direction.MINIMIZE,
        "bits_per_byte": Direction.MINIMIZE,
    }
    assert list(task.statistics) == ["perplexity", "bits_per_byte"]


def test_bits_per_byte_count_the_bytes_of_what_was_predicted() -> None:
    given = candidate(max_length=128)
    task: Any = given.task
    text = "the 🦊 sat on\nthe ü .\n"
    first = len(TOKENIZER.decode(packed([text])[:1]).encode())
    loss = loss_by_hand(given.model, packed([text]), 1)
    expected = loss / math.log(2) / (len(text.encode()) - first)
    scores = task.score(given, examples([text]))
    assert scores["bits_per_byte"].value == pytest.approx(expected, rel=1e-4)
    assert scores["bits_per_byte"].unit == "bits"
    by_bytes = replace(task, metric="bits_per_byte").score(given, examples([text]))
    assert by_bytes["quality"].value == pytest.approx(2**-expected, rel=1e-4)


def test_the_interval_holds_the_value_and_narrows_with_more_text() -> None:
    given = candidate(max_length=64)
    task: Any = given.task
    widths = []
    for count in (20, 400):
        scores = task.score(given, examples([tiny_decoder.CORPUS[i * i % 4] for i in range(count)]))
        assert all(item.low <= item.value <= item.high for item in scores.values())
        widths.append(scores["perplexity"].high - scores["perplexity"].low)
    assert 0 < widths[1] < widths[0]


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 9), st.integers(0, 40)), min_size=1, max_size=20))
def test_scores_are_finite_and_each_quality_is_its_loss_turned_round(rows: list[tuple[float, int, int]]) -> None:
    values = np.array([*rows, (1.0, 1, 1)])
    ones = np.ones((1, len(values)))
    perplexity = likelihood.perplexity(values, ones)[0]
    bits = likelihood.bits_per_byte(values, ones)[0]
    assert perplexity >= 1
    assert likelihood.token_probability(values, ones)[0] == pytest.approx(1 / perplexity)
    assert likelihood.byte_probability(values, ones)[0] == pytest.approx(2.0**-bits)
    # A resample may hold no row that has a token.
    assert np.isfinite(likelihood.perplexity(values, np.zeros((1, len(values)))))[0]


def test_a_text_without_a_token_and_a_broken_model_have_no_score() -> None:
    given = candidate()
    task: Any = given.task
    with pytest.raises(DataError, match=r"makes no token of these 2 texts; give other text"):
        task.score(given, examples(["", ""]))
    with torch.no_grad():
        given.model.lm_head.weight.fill_(math.nan)
    with pytest.raises(Diverged, match=r"output is not finite; a lower learning rate"):
        task.score(given, examples(["the cat"]))


# Packing

written = st.text(st.characters(codec="utf-8"), max_size=30)
lines = st.lists(st.one_of(written, written.map(lambda text: text + "\n"), st.just("\n"), st.just("")), max_size=12)


@given(lines, st.integers(4, 20), st.sampled_from(TOKENIZERS))
def test_packing_loses_no_token_and_repeats_none(texts: list[str], max_length: int, tokenizer: Any) -> None:
    found = blocks(examples(texts), tokenizer, max_length=max_length, form=Form.TEXT)
    assert [token for block in found for token in block.tokens.ids] == packed(texts, tokenizer)
    assert all(2 <= len(block.tokens.ids) <= max_length for block in found)
    assert sum(len(block.tokens.ids) < max_length for block in found) <= 2


@given(lines)
def test_every_byte_is_credited_and_examples_keep_their_order(texts: list[str]) -> None:
    found = blocks(examples(texts), TOKENIZER, max_length=8, form=Form.TEXT)
    owners = [owner for block in found for owner in block.tokens.owners]
    assert sum(size for block in found for size in block.tokens.sizes) == sum(len(text.encode()) for text in texts)
    assert owners == sorted(owners)
    assert set(owners) <= set(range(len(texts)))


def test_each_line_has_the_tokens_that_it_is_written_with() -> None:
    texts = ["the cat sat\n", "\n", "on the mat"]
    found = blocks(examples(texts), TOKENIZER, max_length=100, form=Form.TEXT)
    (tokens,) = (block.tokens for block in found)
    own = [
        TOKENIZER.decode([token for token, owner in zip(tokens.ids, tokens.owners, strict=True) if owner == place])
        for place in range(3)
    ]
    assert own == [texts[0], texts[1], f"{texts[2]}{tiny_decoder.END}"]


def test_a_document_of_many_lines_is_tokenized_in_pieces_and_ends_once() -> None:
    texts = [tiny_decoder.CORPUS[0]] * 9_000
    assert sum(map(len, texts)) > 200_000
    found = blocks(examples(texts), tiny_decoder.tokenizer(start=True), max_length=1_000, form=Form.TEXT)
    ids = [token for block in found for token in block.tokens.ids]
    assert (ids.count(END), ids[0], ids.count(1)) == (1, 1, 1)
    assert TOKENIZER.decode(ids[1:-1]) == "".join(texts)


def test_the_labels_are_the_tokens_as_the_models_of_transformers_expect() -> None:
    given = candidate()
    features = given.task.encode(examples(["the cat", "the dog sat"]), TOKENIZER)
    assert all(item["labels"] == item["input_ids"] for item in features)
    batch = collate(features, pad_token_id=TOKENIZER.pad_token_id)
    rows = given.task.answer(given, examples(["the cat", "the dog sat"]))  # type: ignore[attr-defined]
    mean = sum(loss for loss, _, _ in rows) / sum(tokens for _, tokens, _ in rows)
    assert given.model(**batch).loss.item() == pytest.approx(mean, rel=1e-4)


# Prompts and dialogues

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
    ("form", "template", "given_examples"),
    [(Form.PROMPT, None, PROMPT), (Form.DIALOGUE, None, DIALOGUE), (Form.DIALOGUE, TEMPLATE, DIALOGUE)],
    ids=["prompts", "dialogues", "dialogues by a template"],
)


def answering(form: Form, template: str | None, **settings: Any) -> Candidate:
    made = candidate(form=form, max_length=48, **settings)
    made.tokenizer.chat_template = template
    return made


@forms
@pytest.mark.parametrize("start", [False, True])
def test_only_the_response_is_learned_and_scored(
    form: Form, template: str | None, given_examples: list[Example], start: bool
) -> None:
    given = answering(form, template, start=start)
    task: Any = given.task
    features = task.encode(given_examples, given.tokenizer)
    for example, item, (loss, tokens, _) in zip(
        given_examples, features, task.answer(given, given_examples), strict=True
    ):
        known = item["labels"].count(IGNORED_LABEL)
        assert item["labels"][known:] == item["input_ids"][known:]
        assert 1 <= known < len(item["labels"]) <= 48
        assert tokens == len(item["labels"]) - known
        assert loss == pytest.approx(loss_by_hand(given.model, item["input_ids"], known), rel=1e-4)
        response = given.tokenizer.decode(item["input_ids"][known:]).removesuffix(tiny_decoder.END).strip("\ufffd ")
        assert response
        assert str(example.text_pair).startswith(response)


def test_what_a_prompt_says_next_is_no_part_of_the_loss() -> None:
    given = answering(Form.PROMPT, None)
    (item,) = given.task.encode(PROMPT[:1], given.tokenizer)
    known = item["labels"].count(IGNORED_LABEL)
    loss = given.model(**collate([item], pad_token_id=END)).loss.item()
    assert loss == pytest.approx(
        loss_by_hand(given.model, item["input_ids"], known) / (len(item["labels"]) - known), rel=1e-4
    )
    learned = {**item, "labels": item["input_ids"]}  # As if the prompt were learned too.
    assert given.model(**collate([learned], pad_token_id=END)).loss.item() != pytest.approx(loss, rel=1e-3)


def test_a_prompt_that_is_too_long_loses_its_beginning_and_a_response_its_end() -> None:
    features = answering(Form.PROMPT, None).task.encode(PROMPT, TOKENIZER)
    long_prompt, long_response, both = (item["labels"].count(IGNORED_LABEL) for item in features[2:])
    whole = len(TOKENIZER("the cat")["input_ids"]) + 1
    assert long_prompt == min(48 - whole, len(TOKENIZER("x" * 90 + "\n")["input_ids"]))
    assert TOKENIZER.decode(features[2]["input_ids"][:long_prompt]).endswith("x\n")
    assert long_response == len(TOKENIZER("the\n")["input_ids"])
    assert both == 24
    assert [len(item["input_ids"]) for item in features[3:]] == [48, 48]


@pytest.mark.parametrize("start", [False, True])
def test_a_chat_template_writes_the_dialogue_and_its_beginning(start: bool) -> None:
    given = answering(Form.DIALOGUE, TEMPLATE, start=start)
    (item,) = given.task.encode(DIALOGUE[:1], given.tokenizer)
    assert given.tokenizer.decode(item["input_ids"]) == "<user>the cat<|endoftext|><assistant>sat on<|endoftext|>"
    assert item["input_ids"].count(END) == 2


def test_without_a_template_a_dialogue_is_written_plainly() -> None:
    given = answering(Form.DIALOGUE, None)
    (_, item) = given.task.encode(DIALOGUE, given.tokenizer)
    assert given.tokenizer.decode(item["input_ids"]) == "system: no\nuser: ü\n\nassistant: the 🦊 sat<|endoftext|>"


def test_a_template_that_refuses_a_dialogue_is_named_with_its_reason() -> None:
    given = answering(Form.DIALOGUE, "{{ raise_exception('no system role') }}")
    with pytest.raises(DataError, match=r"refuses the dialogue .*the cat.*: no system role; leave such dialogues out"):
        given.task.encode(DIALOGUE, given.tokenizer)


def test_texts_with_and_without_a_response_are_not_mixed() -> None:
    with pytest.raises(UsageError, match="some of these have a response and some have none"):
        CausalLM().encode([Example("a"), Example("b", text_pair="c")], TOKENIZER)


# Reading


def test_lines_are_read_as_they_stand_and_split_into_stretches(tmp_path: Path) -> None:
    texts = [" = Title = \n", " \n", " the cat sat \r\n", " \n", "x\n", "x\n", " = Title = \n", "\n", *["y\n"] * 12]
    (tmp_path / "a.txt").write_bytes("".join(texts).encode())
    data = load(tmp_path / "a.txt", split={"validation": 3, "test": 2})
    parts = [[example.text for example in part] for part in (data.train, data.validation, data.test)]
    assert list(chain(*parts)) == [text.replace("\r\n", "\n") for text in texts]
    assert list(map(len, parts)) == [15, 3, 2]
    assert data.notes[0] == "running text from the column 'text'"
    assert CausalLM.of_data(data, max_length=8, metric=None).form is Form.TEXT


def test_documents_of_a_table_are_read_in_order_too(tmp_path: Path) -> None:
    rows = [{"id": place, "text": text} for place, text in enumerate([" b ", "a", "a", "", "c\r\n", "d"] * 4)]
    data = load(jsonl(tmp_path / "a.jsonl", rows), split={"train": 10, "validation": 4, "test": 4})
    texts = [str(row["text"]).replace("\r", "") for row in rows]
    assert [example.text for example in data.train] == texts[:10]
    assert [example.text for example in data.test] == texts[14:18]


def test_text_that_is_given_in_files_keeps_what_they_have_in_common(tmp_path: Path) -> None:
    for name, text in (("train", "a\n\nb\n"), ("validation", "\nb\nc\n"), ("test", "a\n\n")):
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    files = {name: str(tmp_path / f"{name}.txt") for name in ("train", "validation", "test")}
    data = load_text_data(DataSettings.model_validate({**files, "split": {"validation": 2}}), CausalLM)
    assert [example.text for example in data.train] == ["a\n", "\n", "b\n"]
    assert [example.text for example in data.validation] == ["\n", "b\n"]
    assert [example.text for example in data.test] == ["a\n", "\n"]


TALK = [
    {"role": "system", "content": "be kind"},
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "hello"},
    {"role": "user", "content": "why ü?"},
    {"role": "assistant", "content": "so"},
]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": " p ", "response": "r\n"}, ("p", "r")),
        ({"prompt": "p", "completion": "r"}, ("p", "r")),
        ({"instruction": "p", "input": "", "output": "r"}, ("p", "r")),
        ({"instruction": "p", "input": "about", "output": "r", "text": "all of it"}, ("p\nabout", "r")),
        ({"Question": "p", "Answer": "r"}, ("p", "r")),
    ],
)
def test_columns_of_prompts_and_responses_are_found(
    tmp_path: Path, row: dict[str, str], expected: tuple[str, str]
) -> None:
    first = next(iter(row))
    rows = [{**row, first: f"{row[first].strip()} {place}"} for place in range(20)]
    data = load(jsonl(tmp_path / "a.jsonl", [*rows, rows[0]]))
    found = {(example.text, example.text_pair) for example in data.train + data.validation + data.test}
    prompt, response = expected
    assert found == {(prompt.replace("p", f"p {place}", 1), response) for place in range(20)}
    assert "left out 1 of 21 texts as exact duplicates" in data.notes
    assert CausalLM.of_data(data, max_length=8, metric=None).form is Form.PROMPT


def test_named_columns_win(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "response": "r", "a": f"a {place}", "b": "b"} for place in range(10)]
    path = jsonl(tmp_path / "a.jsonl", rows)
    assert {example.text_pair for example in load(path, text="a", text_pair="b").train} == {"b"}
    assert {example.text_pair for example in load(path, text="a").train} == {None}


def test_a_dialogue_gives_an_example_for_each_answer_and_stays_in_one_split(tmp_path: Path) -> None:
    talks = [[{**said, "content": f"{said['content']} {place}"} for said in TALK] for place in range(20)]
    data = load(jsonl(tmp_path / "a.jsonl", [{"messages": talk} for talk in talks]))
    parts = [data.train, data.validation, data.test]
    assert sum(map(len, parts)) == 40
    for part in parts:
        assert {str(example.text_pair).split()[1] for example in part if str(example.text_pair).startswith("so")} == {
            str(example.text_pair).split()[1] for example in part if str(example.text_pair).startswith("hello")
        }
    longest = max(data.train, key=lambda example: len(example.text))
    place = longest.text_pair.split()[1]  # type: ignore[union-attr]
    assert json.loads(longest.text) == talks[int(place)][:4]
    assert "why ü?" in longest.text
    assert CausalLM.of_data(data, max_length=8, metric=None).form is Form.DIALOGUE


BAD: dict[str, tuple[list[dict[str, Any]], str]] = {
    "a text that is a number": ([{"text": "a"}, {"text": 3}], r"a.jsonl:2: the column 'text' holds 3 \(int\), no text"),
    "no text at all": ([{"text": ""}, {"text": " "}], r"a.jsonl has no text in its column 'text'; choose the column"),
    "no column of texts": ([{"a": "b"}], r"has no column that is known to hold texts; its columns are 'a'; name one"),
    "half of a character": ([{"text": "a\ud83d"}], r"a.jsonl:1: the column 'text' has half of a character at place 2"),
    "blank responses": ([{"prompt": "a", "response": " "}] * 3, r"a.jsonl:1: the column 'prompt' is blank in 3 of 3 rows"),
    "a response that is a list": ([{"prompt": "a", "response": ["b"]}], r"a.jsonl:1: the column 'response' holds \['b'\]"),
    "messages that are text": ([{"messages": "hi"}], r"a.jsonl:1: the column 'messages' holds 'hi', no dialogue; write a list"),
    "a message without a role": ([{"messages": [{"content": "a"}]}], r"holds \[\{'content': 'a'\}\], no dialogue"),
    "content that is no text": ([{"messages": [{"role": "user", "content": None}]}], r"'content': None\}\], no dialogue"),
    "nobody answers": ([{"messages": TALK[:2]}], r"a.jsonl:1: the dialogue .* has no answer of the role 'assistant'"),
    "an answer to nothing": ([{"messages": TALK[2:3]}], r"has no answer of the role 'assistant' after another message"),
}  # fmt: skip


@pytest.mark.parametrize(("rows", "message"), BAD.values(), ids=BAD)
def test_what_is_no_text_to_go_on_with_is_refused_with_its_place(
    tmp_path: Path, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(jsonl(tmp_path / "a.jsonl", rows))


def test_validation_of_another_form_is_refused(tmp_path: Path) -> None:
    train = jsonl(tmp_path / "a.jsonl", [{"prompt": "a", "response": "b"}])
    (tmp_path / "b.txt").write_text("a\n", encoding="utf-8")
    files = {"train": str(train), "validation": str(tmp_path / "b.txt")}
    with pytest.raises(
        DataError, match=r"b.txt was read as running text .*, and the training data as prompts with resp"
    ):
        load_text_data(DataSettings.model_validate(files), CausalLM)


def test_a_text_that_is_too_short_to_be_split_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\nb\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"a.txt has 2 lines or texts, which leaves none for train; give more"):
        load(tmp_path / "a.txt")


@pytest.mark.skipif(not WIKITEXT.is_dir(), reason="WikiText-2 is not beside the repository")
def test_wikitext_is_read_with_every_line() -> None:
    files = {name: str(WIKITEXT / f"{name}.txt") for name in ("train", "validation", "test")}
    data = load_text_data(DataSettings.model_validate(files), CausalLM)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [3760, 2227, 2131]
    for name, part in (("train", data.train), ("validation", data.validation), ("test", data.test)):
        assert "".join(example.text for example in part) == (WIKITEXT / f"{name}.txt").read_text("utf-8")
    assert any(example.text == " = No. 20 Squadron RAAF = \n" for example in data.test)


# The model

LEARN = FullFinetuning(learning_rate=2e-4, epochs=5, batch_size=4)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_decoder_opens_learns_and_is_saved_bit_for_bit(tmp_path: Path, kind: str, tied: bool) -> None:
    task = CausalLM(max_length=24)
    folder = tiny_decoder.save(tmp_path / "given", kind, tied=tied)
    train = tuple(examples(tiny_decoder.CORPUS * 25))
    opened = replace(task.open_model(str(folder)), train=train)
    held_out = examples([*tiny_decoder.CORPUS[1:], tiny_decoder.CORPUS[0]])
    before = task.score(opened, held_out)["perplexity"].value
    trained = FullFinetuning(learning_rate=2e-4, epochs=5, batch_size=2).apply(opened, effort=1, seed=0)
    after = task.score(trained, held_out)
    assert after["perplexity"].value < before / 2
    saving.save(trained, tmp_path / "saved")
    loaded = saving.load(tmp_path / "saved", open_task=open_task)
    assert loaded.task == task
    assert tiny.digest(loaded.model) == tiny.digest(trained.model)
    assert loaded.task.score(loaded, held_out) == after  # type: ignore[attr-defined]
    output, embedding = (loaded.model.get_output_embeddings(), loaded.model.get_input_embeddings())
    assert (output.weight is embedding.weight) is tied  # type: ignore[union-attr]


@pytest.mark.parametrize("form", [Form.PROMPT, Form.DIALOGUE])
def test_responses_are_learned_and_given(tmp_path: Path, form: Form) -> None:
    task = CausalLM(max_length=24, form=form)
    asked = ["the cat", "a bird"]
    if form is Form.DIALOGUE:
        asked = [text_of([{"role": "user", "content": text}]) for text in asked]
    pairs = [Example(text, text_pair=said) for text, said in zip(asked, ("sat", "sang"), strict=True)]
    opened = replace(task.open_model(str(tiny_decoder.save(tmp_path / "given"))), train=tuple(pairs * 40))
    trained = FullFinetuning(learning_rate=2e-4, epochs=5, batch_size=1).apply(opened, effort=1, seed=0)
    assert [answer["label"] for answer in task.predict(trained, ["the cat", "a bird"])] == ["sat", "sang"]
    assert task.score(trained, pairs)["perplexity"].value < 1.5


def test_a_text_is_continued_as_transformers_would_do_it() -> None:
    given = candidate(start=True)
    task: Any = given.task
    prompt = given.tokenizer("the cat", return_tensors="pt")
    length = prompt["input_ids"].shape[1]
    expected = given.model.generate(**prompt, max_new_tokens=50, do_sample=False, pad_token_id=0, eos_token_id=END)[0]
    first, again, short = task.predict(given, ["the cat", "the cat", ""])
    assert first["label"] == given.tokenizer.decode(expected[length:], skip_special_tokens=True) != ""
    assert (first, first["scores"]) == (again, {})
    assert 0 < first["score"] <= 1
    assert short["label"] != first["label"]


def test_a_long_prompt_is_continued_from_its_end() -> None:
    for kind in ("llama", "gpt2"):
        given = candidate(kind=kind, positions=32)
        task: Any = given.task
        (answer,) = task.predict(given, ["the cat sat on the mat .\n" * 50])
        assert answer["label"]


def test_a_pair_is_not_continued() -> None:
    given = candidate()
    with pytest.raises(UsageError, match="causal_lm goes on with a single text, and was given a pair"):
        CausalLM().predict(given, [("a", "b")])


def test_a_tokenizer_without_padding_pads_with_the_end(tmp_path: Path) -> None:
    opened = CausalLM(max_length=24).open_model(str(tiny_decoder.save(tmp_path / "given", pad=False)))
    assert opened.tokenizer.pad_token_id == END
    saving.save(opened, tmp_path / "saved")
    assert saving.load(tmp_path / "saved", open_task=open_task).tokenizer.pad_token_id == END


def test_a_tokenizer_that_cannot_end_a_text_is_refused(tmp_path: Path) -> None:
    folder = tiny_decoder.save(tmp_path / "given")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "eos_token": None}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"has no token that ends a text; set eos_token"):
        CausalLM(max_length=24).open_model(str(folder))


def test_a_decoder_whose_head_is_missing_is_refused(tmp_path: Path) -> None:
    folder = tiny_decoder.save(tmp_path / "given", tied=False)
    tiny_decoder.model(tied=False).model.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"do not fit its config.json: they lack lm_head.weight"):
        CausalLM(max_length=24).open_model(str(folder))


def test_an_encoder_and_a_decoder_are_told_apart(tmp_path: Path) -> None:
    decoder = tiny_decoder.save(tmp_path / "decoder")
    saving.save(tiny.candidate(), tmp_path / "encoder")
    with pytest.raises(ModelError, match=r"encoder' is an encoder \(bert\); causal_lm needs a decoder such as llama"):
        CausalLM(max_length=24).open_model(str(tmp_path / "encoder"))
    with pytest.raises(ModelError, match=r"is a decoder \(llama\); text_classification needs an encoder such as bert"):
        TextClassification(labels=("a", "b"), max_length=24).open_model(str(decoder))


@pytest.mark.parametrize("task", [CausalLM(), CausalLM(max_length=9, metric="bits_per_byte", form=Form.DIALOGUE)])
def test_a_task_survives_its_json(task: CausalLM) -> None:
    assert open_task(json.loads(json.dumps(task.to_json()))) == task


def test_an_unknown_metric_names_those_that_there_are() -> None:
    with pytest.raises(UsageError, match=r"'perplexty' is no metric of causal_lm; did you mean 'perplexity'\?"):
        CausalLM(metric="perplexty")
