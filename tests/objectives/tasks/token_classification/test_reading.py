"""Tagged sentences as they come out of files: what is read, what is left out, what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.tasks.token_classification.reading import NO_BREAK_SPACE
from autoopt.objectives.tasks.token_classification.task import TokenClassification
from autoopt.strategies.candidate import Example
from autoopt.strategies.errors import DataError
from tests.places import DATA

WNUT = DATA / "wnut17"


def write(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def load(**settings: Any) -> TextData:
    return load_text_data(DataSettings.model_validate(settings), TokenClassification)


def sentences(count: int) -> list[dict[str, Any]]:
    return [{"tokens": ["Peter", f"number{i}"], "ner_tags": ["B-PER", "O"]} for i in range(count)]


def everything(data: TextData) -> list[Example]:
    return sorted(data.train + data.validation + data.test, key=lambda example: example.text)


def test_lists_of_words_and_tags_are_read_and_a_blank_within_a_word_does_not_break_it(tmp_path: Path) -> None:
    rows = [*sentences(40), {"tokens": ["New York", " is\n", 5], "ner_tags": ["S-LOC", "O", "O"]}]
    data = load(source=write(tmp_path / "a.jsonl", rows))
    assert data.labels == ("O", "B-PER", "S-LOC")
    assert data.notes[0] == "words from the column 'tokens', tags from 'ner_tags'"
    example = everything(data)[0]
    assert example.text.split(" ") == [f"New{NO_BREAK_SPACE}York", "is", "5"]
    assert example.label == (2, 0, 0)
    assert "New\u00a0York is 5" in data.unlabeled or example not in data.train


def test_a_file_of_conll_and_a_table_of_lists_give_the_same_examples(tmp_path: Path) -> None:
    rows = sentences(40)
    lines = [f"{word}\t{tag}" for row in rows for word, tag in [*zip(*row.values(), strict=True), ("", "")]]
    (tmp_path / "a.conll").write_text("\n".join(line.strip() for line in lines), encoding="utf-8")
    conll, table = load(source=str(tmp_path / "a.conll")), load(source=write(tmp_path / "b.jsonl", rows))
    assert (conll.train, conll.validation, conll.test) == (table.train, table.validation, table.test)


def test_the_columns_may_be_named(tmp_path: Path) -> None:
    rows = [{**row, "pos": ["X", "Y"], "lemmas": ["a", f"b{i}"]} for i, row in enumerate(sentences(40))]
    data = load(source=write(tmp_path / "a.jsonl", rows), text="lemmas", label="pos")
    assert data.labels == ("X", "Y")
    assert everything(data)[0].text == "a b0"


def test_numbers_are_tags_and_0_is_said_to_be_none(tmp_path: Path) -> None:
    rows = [{**row, "ner_tags": [10, 0]} for row in sentences(40)]
    data = load(source=write(tmp_path / "a.jsonl", [*rows, {"tokens": ["a", "b"], "ner_tags": [9, 0]}]))
    assert data.labels == ("0", "9", "10")
    assert "the tags in the column 'ner_tags' are numbers without names; 0 is taken for no entity" in data.notes
    assert TokenClassification(labels=data.labels).scheme.outside == "0"


@pytest.mark.parametrize("name", ["document", "doc_id"])
def test_the_sentences_of_a_document_stay_together(tmp_path: Path, name: str) -> None:
    rows = [{**row, name: i // 5} for i, row in enumerate(sentences(100))]
    data = load(source=write(tmp_path / "a.jsonl", rows))
    document_of = {row["tokens"][1]: row[name] for row in rows}
    documents = [{document_of[e.text.split(" ")[1]] for e in part} for part in (data.train, data.validation, data.test)]
    assert sum(map(len, documents)) == 20
    assert not documents[0] & documents[1] | documents[0] & documents[2] | documents[1] & documents[2]


def test_a_single_document_is_split_as_if_it_were_none(tmp_path: Path) -> None:
    rows = [{**row, "document": 1} for row in sentences(40)]
    assert len(load(source=write(tmp_path / "a.jsonl", rows)).test) == 6


def test_sentences_without_words_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [*sentences(40), {"tokens": [], "ner_tags": []}, {"tokens": None, "ner_tags": None}]
    data = load(source=write(tmp_path / "a.jsonl", rows))
    assert len(everything(data)) == 40
    assert any("left out 2 of 42 rows with a blank text, the first at" in note for note in data.notes)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"ner_tags": ["O"]}, r"a\.jsonl:3: 2 words in the column 'tokens' and 1 tags in 'ner_tags'; give each word"),
        ({"tokens": ["a", " "]}, r"a\.jsonl:3: the column 'tokens' has an empty word; remove it and its tag"),
        ({"tokens": ["a", None]}, r"a\.jsonl:3: a list in the column 'tokens' holds None \(NoneType\), no word"),
        ({"tokens": ["a", "\ud800"]}, r"a\.jsonl:3: the column 'tokens' has half of a character"),
        ({"tokens": "a b"}, r"a\.jsonl:3: the column 'tokens' holds 'a b' \(str\), no list; .* with data\.text"),
        ({"ner_tags": ["O", "B-"]}, r"a\.jsonl:3: the column 'ner_tags' holds the tag 'B-'; a tag is 'O', a type"),
        ({"ner_tags": ["O", "-PER"]}, r"holds the tag '-PER'"),
        ({"ner_tags": ["O", ""]}, r"holds the tag ''"),
        ({"ner_tags": ["O", -1]}, r"holds the tag -1"),
        ({"ner_tags": ["O", True]}, r"holds the tag True"),
        ({"ner_tags": ["O", "B-\x07"]}, r"holds the tag 'B-\\x07'"),
    ],
)
def test_what_is_no_tagged_sentence_is_named_with_its_place(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    rows = sentences(40)
    rows[2] |= row
    with pytest.raises(DataError, match=message):
        load(source=write(tmp_path / "a.jsonl", rows))


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ({"ner_tags": ["O", "O"]}, {}, r"has no entities: all 80 words have the tag 'O'; choose another column"),
        ({}, {"text": "tokenz"}, r"no column 'tokenz', which data\.text names; did you mean 'tokens'\?; its columns"),
        ({}, {"label": "x"}, r"no column 'x', which data\.label names; its columns are 'tokens', 'ner_tags'"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(
    tmp_path: Path, change: dict[str, Any], settings: dict[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(source=write(tmp_path / "a.jsonl", [{**row, **change} for row in sentences(40)]), **settings)


def test_a_table_without_lists_names_its_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"known to hold lists of words; its columns are 'text', 'label'; name one"):
        load(source=write(tmp_path / "a.jsonl", [{"text": "a", "label": "b"}] * 3))


def test_a_tag_that_was_never_trained_is_named_with_its_place(tmp_path: Path) -> None:
    strange = [{"tokens": ["a", "b"], "ner_tags": ["O", "B-PERS"]}]
    paths = {"train": write(tmp_path / "a.jsonl", sentences(40)), "test": write(tmp_path / "b.jsonl", strange)}
    with pytest.raises(DataError, match=r"b\.jsonl:1: the class 'B-PERS' \(1 rows of test\) does not occur .* 'B-PER'"):
        load(**paths)


@pytest.mark.skipif(not WNUT.is_dir(), reason="the data of WNUT-17 is not beside the repository")
def test_wnut_is_read_with_its_six_types() -> None:
    data = load(**{name: str(WNUT / f"{name}.conll") for name in ("train", "validation", "test")})
    task = TokenClassification.of_data(data, max_length=128, metric=None)
    assert task.scheme.types == ("corporation", "creative-work", "group", "location", "person", "product")
    assert len(data.labels) == 13
    assert len(data.test) == 1287
    assert all(len(e.text.split(" ")) == len(e.label) for e in data.train)  # type: ignore[arg-type]
