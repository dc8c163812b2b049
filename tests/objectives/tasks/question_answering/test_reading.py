"""Questions with contexts and answers: SQuAD's own files, tables of the Hub's form, and what is wrong with them."""

# ruff: noqa: E501 - in a table of cases each case is a line

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.objectives.data.rows import Reading
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.file_formats import read
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.tables import squad
from autoopt.objectives.tables.bad_rows import check_bad_rows
from autoopt.objectives.tables.table import Table
from autoopt.objectives.tasks.question_answering.reading import read_questions
from autoopt.objectives.tasks.question_answering.task import QuestionAnswering
from autoopt.strategies.candidate import Span
from autoopt.strategies.errors import DataError
from tests.places import DATA

XQUAD = DATA / "xquad-en"
SETTINGS = DataSettings(source="unused")


def question(text: str = "Who?", *answers: tuple[str, int], **more: Any) -> dict[str, Any]:
    return {"question": text, "answers": [{"text": text, "answer_start": start} for text, start in answers], **more}


def document(*questions: dict[str, Any], context: str = "Ann and Bob sing", title: str = "Songs") -> dict[str, Any]:
    return {"version": "v2.0", "data": [{"title": title, "paragraphs": [{"context": context, "qas": list(questions)}]}]}


def articles(count: int) -> dict[str, Any]:
    """Each with two contexts and two questions on each; the second context of an article is that of the next."""
    data = []
    for number in range(count):
        paragraphs = [
            {
                "context": f"It was {place} o'clock, and {place} it was",
                "qas": [question(f"When in {number} and {place}, {i}?", (str(place), 7)) for i in range(2)],
            }
            for place in (number, number + 1)
        ]
        data.append({"title": f"Article {number}", "paragraphs": paragraphs})
    return {"data": data}


def flat(*rows: list[Any], columns: tuple[str, ...] = ("question", "context", "answers")) -> Table:
    return Table("flat", columns, rows, [f"flat: row {place}" for place in range(1, len(rows) + 1)])


def spans(table: Table) -> list[Any]:
    return [row.label for row in strict(table).rows]


def strict(table: Table) -> Reading:
    """Read a table of which no row may be bad."""
    reading = read_questions(table, SETTINGS)
    check_bad_rows(reading.bad_rows, len(table.rows), tolerate=0, source=table.source)
    return reading


def load(path: Path, content: Any, **settings: Any) -> TextData:
    path.write_text(json.dumps(content), encoding="utf-8")
    return load_text_data(DataSettings(source=str(path), **settings), QuestionAnswering)


def test_a_squad_file_gives_a_row_and_a_place_for_each_question(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    first, second = question("Who sings?", ("Ann", 0), ("Bob", 8), id="q1"), question("Why?", is_impossible=True)
    path.write_text(json.dumps(document(first, second)), encoding="utf-8")
    table = read(path)
    assert table.columns == ("id", "question", "context", "answers", "title")
    assert table.rows[0] == ["q1", "Who sings?", "Ann and Bob sing", first["answers"], "Songs"]
    assert table.rows[1] == [None, "Why?", "Ann and Bob sing", [], "Songs"]
    assert table.places == [f"{path}: data[0].paragraphs[0].qas[{number}]" for number in range(2)]
    assert spans(table) == [(Span("Ann", 0), Span("Bob", 8)), ()]


@pytest.mark.parametrize(
    ("content", "is_one"),
    [
        (document(), True),
        ({"data": [{"text": "a"}, {"paragraphs": []}]}, True),
        ({"data": [{"text": "a"}]}, False),
        ({"data": {"paragraphs": []}}, False),
        ([{"paragraphs": []}], False),
        ({"paragraphs": []}, False),
    ],
)
def test_squad_is_known_by_its_articles_with_paragraphs(content: Any, is_one: bool) -> None:
    assert squad.is_squad(content) is is_one


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "no list of paragraphs": ({"data": [{"paragraphs": {}}]}, r"a\.json: data\[0\]\.paragraphs holds \{\} where a list is needed; the form is"),
    "a text for an article": ({"data": ["a", {"paragraphs": []}]}, r"a\.json: data\[0\] is 'a' where an object is needed"),
    "no context": ({"data": [{"paragraphs": [{"qas": []}]}]}, r"a\.json: data\[0\]\.paragraphs\[0\]: 'context' is nothing where a text is needed"),
    "no questions": ({"data": [{"paragraphs": [{"context": "a"}]}]}, r"data\[0\]\.paragraphs\[0\]\.qas holds nothing where a list is needed"),
    "no question": (document({"answers": []}), r"qas\[0\]: 'question' is nothing where a text is needed"),
    "no answers": (document({"question": "Who?"}), r"qas\[0\]\.answers holds nothing where a list is needed"),
    "a text for an answer": (document({"question": "Who?", "answers": ["Ann"]}), r"qas\[0\]\.answers\[0\] is 'Ann' where an object is needed"),
    "impossible with answers": (document(question("Who?", ("Ann", 0), is_impossible=True)), r"qas\[0\]: 'is_impossible' is true, and the question has 1 answers; remove them, or write false"),
    "possible without": (document(question(is_impossible=False)), r"qas\[0\]: 'is_impossible' is false, and the question has no answer; add one"),
    "impossible in words": (document(question(is_impossible="yes")), r"qas\[0\]: 'is_impossible' is 'yes'; it is true, false or left out"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_a_file_without_the_form_of_squad_is_refused_with_the_place(content: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        squad.question_table(Path("a.json"), content)


def test_a_question_that_is_impossible_needs_no_list_of_answers() -> None:
    table = squad.question_table(
        Path("a.json"), document({"question": "Who?", "is_impossible": True, "plausible_answers": []})
    )
    assert spans(table) == [()]


def test_the_forms_of_the_hub_and_of_squad_say_the_same() -> None:
    listed = [{"text": "Bob", "answer_start": 8}, {"text": "Ann", "answer_start": 0}]
    columns = {"text": ["Bob", "Ann"], "answer_start": [8, 0]}
    table = flat(["Who?", "Ann and Bob", listed], ["Who?", "Ann and Bob", columns])
    assert spans(table) == [(Span("Bob", 8), Span("Ann", 0))] * 2
    nothing = flat(["Who?", "Ann", []], ["Who?", "Ann", {"text": [], "answer_start": []}])
    assert spans(nothing) == [(), ()]
    assert read_questions(nothing, SETTINGS).notes == ("2 of 2 questions have no answer in their context",)


def test_parquet_and_json_lines_are_read_alike(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [
        {"question": f"Who is {i}?", "context": f"Ann {i} sings", "answers": {"text": ["Ann"], "answer_start": [0]}}
        for i in range(30)
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    lines, parquet = (
        load_text_data(DataSettings(source=str(tmp_path / name)), QuestionAnswering)
        for name in ("a.jsonl", "a.parquet")
    )
    assert lines.fingerprint == parquet.fingerprint
    assert lines.train[0].label == (Span("Ann", 0),)


def test_columns_may_have_other_names() -> None:
    table = flat(["Ann", "Who?", {"text": ["Ann"], "answer_start": [0]}], columns=("story", "ask", "reply"))
    settings = DataSettings(source="unused", text="ask", text_pair="story", label="reply")
    (row,) = read_questions(table, settings).rows
    assert (row.text, row.text_pair, row.label) == ("Who?", "Ann", (Span("Ann", 0),))
    with pytest.raises(
        DataError, match=r"no column that is known to hold questions; its columns are 'story', .*'text: C"
    ):
        read_questions(table, SETTINGS)
    with pytest.raises(DataError, match=r"no column 'storey', which data\.text_pair names; did you mean 'story'\?"):
        read_questions(table, DataSettings(source="unused", text="ask", text_pair="storey"))


def test_a_context_keeps_its_blanks_since_starts_count_them() -> None:
    (row,) = read_questions(flat(["  Who?", "\n  Ann", [{"text": "Ann", "answer_start": 3}]]), SETTINGS).rows
    assert (row.text, row.text_pair, row.label) == ("Who?", "\n  Ann", (Span("Ann", 3),))


def test_a_start_counts_characters_and_neither_bytes_nor_halves() -> None:
    context = "naïve 😀 Ångström"
    assert spans(flat(["Who?", context, [{"text": "Ångström", "answer_start": 8}]])) == [(Span("Ångström", 8),)]


WRONG: dict[str, tuple[list[Any], str]] = {
    "no question": ([None, "Ann", []], r"row 2: the column 'question' is blank; fill it in.*data\.text"),
    "a blank context": (["Who?", " \n", []], r"row 2: the column 'context' is blank; fill it in.*data\.text_pair"),
    "a number for a context": (["Who?", 5, []], r"row 2: the column 'context' holds 5, no text"),
    "half a character": (["Who?", "Ann \ud800", []], r"row 2: the column 'context' has half of a character at place 5"),
    "an endless context": (["Who?", "x" * 1_000_001, []], r"row 2: the text has 1,000,001 characters, at most"),
    "no answers": (["Who?", "Ann", None], r"row 2: the column 'answers' holds None where answers are needed, such as"),
    "a text for answers": (["Who?", "Ann", "Ann"], r"row 2: .* holds 'Ann' where answers are needed, such as \{.text"),
    "two texts and one start": (["Who?", "Ann", {"text": ["A", "n"], "answer_start": [0]}], r"row 2: .* has 2 texts and 1 starts"),
    "an answer without text": (["Who?", "Ann", [{"text": "", "answer_start": 0}]], r"row 2: .*an answer without text; write it, or give empty lists"),
    "no start": (["Who?", "Ann", [{"text": "Ann"}]], r"row 2: the answer 'Ann' starts at None; 'answer_start' is the number of characters"),
    "half a start": (["Who?", "Ann", [{"text": "Ann", "answer_start": 0.5}]], r"row 2: the answer 'Ann' starts at 0\.5"),
    "a start beyond the end": (["Who?", "Ann", [{"text": "Ann", "answer_start": 3}]], r"row 2: the answer 'Ann' starts at 3, outside the context of 3 ch"),
    "a start before the beginning": (["Who?", "Ann", [{"text": "Ann", "answer_start": -1}]], r"row 2: .*starts at -1, outside the context"),
    "an answer that is nowhere": (["Who?", "Ann", [{"text": "Bob", "answer_start": 0}]], r"row 2: the answer 'Bob' does not occur in its context"),
    "an answer that is elsewhere": (["Who?", "An Ann", [{"text": "Ann", "answer_start": 0}]], r"row 2: the answer's text is not at its start .* in 1 of 2 questions.*not bytes or words"),
}  # fmt: skip


@pytest.mark.parametrize(("row", "message"), WRONG.values(), ids=WRONG)
def test_a_row_that_cannot_be_used_is_named_with_the_remedy(row: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        strict(flat(["Who?", "Ann", [{"text": "Ann", "answer_start": 0}]], row))


def test_a_flat_table_may_say_what_is_impossible() -> None:
    columns = ("question", "context", "answers", "is_impossible")
    assert spans(flat(["Who?", "Ann", None, True], columns=columns)) == [()]
    with pytest.raises(DataError, match=r"row 1: 'is_impossible' is true, and the question has 1 answers"):
        spans(flat(["Who?", "Ann", [{"text": "Ann", "answer_start": 0}], True], columns=columns))


@pytest.mark.parametrize(("start", "nearest"), [(0, 2), (2, 2), (6, 8), (9, 8), (13, 14), (16, 14)])
def test_a_few_answers_that_are_elsewhere_move_to_the_nearest_place(start: int, nearest: int) -> None:
    good = [["Who?", f"Ann {i}", [{"text": "Ann", "answer_start": 0}]] for i in range(19)]
    moved = ["Who?", "a bob a bob a bob", [{"text": "bob", "answer_start": start}]]
    reading = read_questions(flat(*good, moved), SETTINGS)
    assert reading.rows[-1].label == (Span("bob", nearest),)
    note = "moved the answers of 1 of 20 questions to where their text stands, the first at flat: row 20"
    assert reading.notes == (() if start == nearest else (note,))


@given(st.text("ab", min_size=1, max_size=12), st.data())
def test_a_moved_answer_is_at_the_nearest_of_all_places(context: str, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(context) - 1))
    text = context[first : data.draw(st.integers(first + 1, len(context)))]
    start = data.draw(st.integers(0, len(context) - 1))
    places = [place for place in range(len(context)) if context.startswith(text, place)]
    good = [["Who?", "Ann", [{"text": "Ann", "answer_start": 0}]]] * 19
    ((span,),) = spans(flat(*good, ["Who?", context, [{"text": text, "answer_start": start}]]))[-1:]
    assert span.start in places
    assert abs(span.start - start) == min(abs(place - start) for place in places)


def contexts(data: TextData) -> Counter[str | None]:
    parts = (data.train, data.validation, data.test)
    return Counter(context for part in parts for context in {example.text_pair for example in part})


@pytest.mark.parametrize("titled", [True, False])
def test_no_context_is_in_two_splits(tmp_path: Path, titled: bool) -> None:
    content = articles(20)
    for article in content["data"]:
        article["title"] = article["title"] if titled else ""
    data = load(tmp_path / "train.json", content)
    assert min(len(data.validation), len(data.test)) >= 8
    assert set(contexts(data).values()) == {1}
    assert not {example.text_pair for example in data.validation} & set(data.unlabeled)


def test_an_article_is_in_one_split_alone(tmp_path: Path) -> None:
    content = articles(20)
    for article in content["data"]:
        second = {"context": f"More of {article['title']}", "qas": [question("What?", ("More", 0))]}
        article["paragraphs"] = [article["paragraphs"][0], second]
    data = load(tmp_path / "train.json", content)
    for part in (data.train, data.validation, data.test):
        own = {example.text_pair for example in part}
        assert sum(str(text).startswith("More") for text in own) == sum(str(text).startswith("It") for text in own)


def test_a_single_title_does_not_keep_everything_together(tmp_path: Path) -> None:
    content = articles(20)
    for article in content["data"]:
        article["title"] = "All of it"
    assert set(contexts(load(tmp_path / "train.json", content)).values()) == {1}


@pytest.mark.skipif(not XQUAD.is_dir(), reason="the data of XQuAD is not beside the repository")
def test_xquad_is_read_whole() -> None:
    paths = {name: str(XQUAD / f"{name}.json") for name in ("train", "validation", "test")}
    data = load_text_data(DataSettings.model_validate(paths), QuestionAnswering)
    assert [len(data.train), len(data.validation), len(data.test)] == [877, 138, 175]
    for example in (*data.train, *data.validation, *data.test):
        assert isinstance(example.label, tuple)
        for span in example.label:
            assert isinstance(span, Span)
            assert str(example.text_pair).startswith(span.text, span.start)
    assert not QuestionAnswering.of_data(data, max_length=64, metric=None).unanswerable
