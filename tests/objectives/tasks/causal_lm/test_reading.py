"""Text that is to be continued, out of files and tables: every line in its order, prompts, dialogues, and what is none."""

# ruff: noqa: E501 - in a table of cases each case is a line

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.tasks.causal_lm.reading import Form
from autoopt.objectives.tasks.causal_lm.task import CausalLM
from autoopt.strategies.errors import DataError
from tests.places import DATA

WIKITEXT = DATA / "wikitext2"


def load(path: Path, **settings: Any) -> TextData:
    return load_text_data(DataSettings.model_validate({"source": str(path), **settings}), CausalLM)


def jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


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
    rows = [{**row, first: f"{row[first].strip()} {number}"} for number in range(20)]
    data = load(jsonl(tmp_path / "a.jsonl", [*rows, rows[0]]))
    pairs = {(example.text, example.text_pair) for example in data.train + data.validation + data.test}
    prompt, response = expected
    assert pairs == {(prompt.replace("p", f"p {number}", 1), response) for number in range(20)}
    assert "left out 1 of 21 texts as exact duplicates" in data.notes
    assert CausalLM.of_data(data, max_length=8, metric=None).form is Form.PROMPT


def test_named_columns_win(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "response": "r", "a": f"a {place}", "b": "b"} for place in range(10)]
    path = jsonl(tmp_path / "a.jsonl", rows)
    assert {example.text_pair for example in load(path, text="a", text_pair="b").train} == {"b"}
    assert {example.text_pair for example in load(path, text="a").train} == {None}


def test_a_dialogue_gives_an_example_for_each_answer_and_stays_in_one_split(tmp_path: Path) -> None:
    talks = [[{**message, "content": f"{message['content']} {place}"} for message in TALK] for place in range(20)]
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
