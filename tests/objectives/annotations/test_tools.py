"""Exports of Prodigy, doccano, Label Studio and spaCy, for classes and for entities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.file_formats import read
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.task import Task
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.objectives.tasks.token_classification.task import TokenClassification
from autoopt.strategies.errors import DataError

MOODS = ("glad", "sad")


def write(path: Path, records: list[Any]) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps(records, indent=1), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def load(path: Path, task: type[Task] = TextClassification, **settings: Any) -> TextData:
    return load_text_data(DataSettings.model_validate({"source": str(path), **settings}), task)


def by_text(data: TextData) -> dict[str, Any]:
    examples = (*data.train, *data.validation, *data.test)
    return {
        example.text: [data.labels[number] for number in example.label]  # type: ignore[index]
        if isinstance(example.label, tuple)
        else data.labels[example.label]  # type: ignore[index]
        for example in examples
    }


def prodigy(number: int, **keys: Any) -> dict[str, Any]:
    return {"text": f"text {number}", "_input_hash": number, "_task_hash": -number, "answer": "accept", **keys}


# Classes


def test_choices_of_prodigy_are_classes_and_what_was_not_accepted_is_left_out(tmp_path: Path) -> None:
    options = [{"id": mood, "text": mood.title()} for mood in MOODS]
    records = [prodigy(number, options=options, accept=[MOODS[number % 2]]) for number in range(40)]
    records += [prodigy(40, options=options, accept=["glad"], answer="reject"), prodigy(41, answer="ignore")]
    data = load(write(tmp_path / "a.jsonl", records))
    assert data.labels == MOODS
    assert by_text(data) == {f"text {number}": MOODS[number % 2] for number in range(40)}
    assert data.warnings == (
        "left out 2 of 42 rows that Prodigy's user answered with 1 'reject' and 1 'ignore', which is no label",
    )


def test_several_choices_of_prodigy_are_several_classes(tmp_path: Path) -> None:
    records = [prodigy(number, accept=[["glad"], ["glad", "sad"], []][number % 3]) for number in range(60)]
    assert by_text(load(write(tmp_path / "a.jsonl", records)))["text 1"] == ["glad", "sad"]


def test_a_rejected_class_of_prodigy_is_no_label_where_there_are_several(tmp_path: Path) -> None:
    records = [prodigy(number, label=MOODS[number % 2]) for number in range(40)]
    records += [prodigy(40, label="glad", answer="reject")]
    data = load(write(tmp_path / "a.jsonl", records))
    assert (len(by_text(data)), data.labels) == (40, MOODS)
    assert data.warnings == ("left out 1 of 41 rows that Prodigy's user answered with 1 'reject', which is no label",)


def test_a_rejected_class_of_prodigy_is_a_negative_where_it_is_the_only_one(tmp_path: Path) -> None:
    records = [prodigy(number, label="spam", answer=("accept", "reject")[number % 2]) for number in range(40)]
    records += [prodigy(40, label="spam", answer="ignore")]
    data = load(write(tmp_path / "a.jsonl", records))
    assert data.labels == ("spam",)
    assert (by_text(data)["text 0"], by_text(data)["text 1"]) == (["spam"], [])
    assert "a rejected text does not have the class 'spam'" in data.notes
    assert data.warnings == ("left out 1 of 41 rows that Prodigy's user answered with 1 'ignore', which is no label",)


def test_a_column_answer_of_other_data_is_no_answer_of_prodigy(tmp_path: Path) -> None:
    records = [{"text": f"text {number}", "answer": "accept" if number else "42", "label": 1} for number in range(2)]
    assert len(read(write(tmp_path / "a.jsonl", records)).rows) == 2


@pytest.mark.parametrize("column", ["label", "labels"])
def test_lists_of_one_class_of_doccano_are_single_classes(tmp_path: Path, column: str) -> None:
    records = [
        {"id": number, "text": f"text {number}", column: [MOODS[number % 2]], "Comments": []} for number in range(40)
    ]
    records += [{"id": 40, "text": "not yet", column: [], "Comments": []}]
    data = load(write(tmp_path / "a.jsonl", records))
    assert by_text(data) == {f"text {number}": MOODS[number % 2] for number in range(40)}
    assert data.warnings == (
        f"left out 1 of 41 rows without a label in the column '{column}', the first at {tmp_path}/a.jsonl:41",
    )


def task(number: int, *results: dict[str, Any], **keys: Any) -> dict[str, Any]:
    annotation = {"id": number, "was_cancelled": False, "result": list(results), **keys}
    return {"id": number, "data": {"text": f"text {number}"}, "annotations": [annotation], "predictions": []}


def choice(*names: str, question: str = "sentiment") -> dict[str, Any]:
    return {"from_name": question, "to_name": "text", "type": "choices", "value": {"choices": list(names)}}


def test_choices_of_label_studio_are_classes(tmp_path: Path) -> None:
    records = [task(number, choice(MOODS[number % 2])) for number in range(40)]
    records += [task(40), task(41, choice("sad"), was_cancelled=True), {**task(42), "annotations": []}]
    twice = task(43, choice("glad"))
    twice["annotations"].append({"id": 9, "result": [choice("sad")]})
    data = load(write(tmp_path / "a.json", [*records, twice]))
    assert by_text(data) == {f"text {number}": MOODS[number % 2] for number in range(40)} | {"text 43": "glad"}
    assert data.warnings == (
        "left out 3 of 44 tasks of Label Studio that have no annotation",
        "1 of 44 tasks have several annotations; the first of each was taken",
    )


def test_questions_of_label_studio_are_columns_where_there_are_several(tmp_path: Path) -> None:
    records = [
        task(number, choice(MOODS[number % 2]), choice("ab"[number // 2 % 2], question="topic_of"))
        for number in range(40)
    ]
    path = write(tmp_path / "a.json", records)
    assert load(path).labels == MOODS
    assert load(path, label="topic_of").labels == ("a", "b")


def test_the_short_export_of_label_studio_has_classes_and_lists_of_them(tmp_path: Path) -> None:
    records = [
        {"text": f"text {number}", "id": number, "topic": ["a", {"choices": ["a", "b"]}][number % 2], "annotator": 1}
        for number in range(40)
    ]
    assert by_text(load(write(tmp_path / "a.json", records)))["text 1"] == ["a", "b"]
    single = [{**record, "topic": "ab"[number % 2]} for number, record in enumerate(records)]
    assert load(write(tmp_path / "a.json", single)).labels == ("a", "b")


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_cats_of_spacy_are_classes(tmp_path: Path, name: str) -> None:
    records = [
        [f"text {number}", {"cats": {"glad": float(number % 2 == 0), "sad": float(number % 2)}}] for number in range(40)
    ]
    path = write(tmp_path / name, records)
    data = load(path)
    assert by_text(data) == {f"text {number}": MOODS[number % 2] for number in range(40)}
    assert read(path).places[1].startswith(f"{path}:")


def test_cats_in_objects_are_classes_too(tmp_path: Path) -> None:
    records = [
        {"text": f"text {number}", "cats": {"glad": number % 2 == 0, "sad": number % 3 == 0}} for number in range(60)
    ]
    assert by_text(load(write(tmp_path / "a.jsonl", records)))["text 0"] == ["glad", "sad"]


# Entities

TEXT = "Anna Berg met Ole in Oslo{}."
SPANS = [(0, 9, "PER"), (14, 17, "PER"), (21, 25, "LOC")]
WORDS = ["Anna", "Berg", "met", "Ole", "in", "Oslo"]
TAGS = ["B-PER", "I-PER", "O", "B-PER", "O", "B-LOC"]


def texts() -> list[str]:
    return [TEXT.format(f" {number}") for number in range(30)]


def tagged(path: Path, **settings: Any) -> TextData:
    data = load(path, TokenClassification, **settings)
    expected = {" ".join([*WORDS, str(number), "."]): [*TAGS, "O", "O"] for number in range(30)}
    assert by_text(data) == expected
    return data


def objects(*names: str) -> list[dict[str, Any]]:
    return [dict(zip(names, span, strict=True)) for span in SPANS]


FORMS: dict[str, tuple[str, list[Any]]] = {
    "prodigy": (
        "a.jsonl",
        [
            {
                "text": text,
                "tokens": [{"text": "Anna", "start": 0, "end": 4, "id": 0}],
                "spans": objects("start", "end", "label"),
                "_task_hash": 1,
                "answer": "accept",
            }
            for text in texts()
        ],
    ),
    "doccano": ("a.jsonl", [{"id": 1, "text": text, "label": SPANS} for text in texts()]),
    "doccano with entities": (
        "a.jsonl",
        [
            {"text": text, "entities": objects("start_offset", "end_offset", "label"), "relations": []}
            for text in texts()
        ],
    ),
    "label studio": (
        "a.json",
        [
            {
                "data": {"text": text},
                "annotations": [
                    {
                        "result": [
                            {
                                "from_name": "label",
                                "type": "labels",
                                "value": {"start": start, "end": end, "text": text[start:end], "labels": [name]},
                            }
                            for start, end, name in SPANS
                        ]
                    }
                ],
            }
            for text in texts()
        ],
    ),
    "label studio, short": (
        "a.json",
        [
            {"text": text, "label": [{"start": s, "end": e, "labels": [name]} for s, e, name in SPANS], "annotator": 1}
            for text in texts()
        ],
    ),
    "spacy": ("a.json", [[text, {"entities": SPANS}] for text in texts()]),
    "spacy lines": ("a.jsonl", [[text, {"entities": SPANS, "cats": {}}] for text in texts()]),
    "spacy objects": ("a.jsonl", [{"text": text, "entities": SPANS} for text in texts()]),
}


@pytest.mark.parametrize(("name", "records"), FORMS.values(), ids=FORMS)
def test_spans_become_tags_of_words(tmp_path: Path, name: str, records: list[Any]) -> None:
    data = tagged(write(tmp_path / name, records))
    assert not [warning for warning in data.warnings if "span" in warning]


def test_annotations_beside_their_classes_are_spans_of_spacy(tmp_path: Path) -> None:
    document = {"classes": ["PER", "LOC"], "annotations": [*([text, {"entities": SPANS}] for text in texts()), None]}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    tagged(path)
    assert read(path).places[1] == f"{path}: annotations[1]"


def test_spans_that_do_not_fit_words_are_moved_or_left_out_and_counted(tmp_path: Path) -> None:
    spans = [
        [[0, 8, "PER"], *SPANS[1:]],  # Cut off within a word.
        [[0, 10, "PER"], [13, 17, "PER"], [21, 25, "LOC"]],  # Blanks around it are no fault.
        [*SPANS, [5, 9, "NAME"]],  # Within another.
        [*SPANS, [10, 11, "X"]],  # Less than half of a word.
        [*SPANS, [14, 99, "X"]],  # Outside.
        *([SPANS] * 25),
    ]
    records = [{"text": text, "label": of_text} for text, of_text in zip(texts(), spans, strict=True)]
    path = write(tmp_path / "a.jsonl", records)
    assert tagged(path).warnings == (
        f"moved 1 of 93 spans to the borders of words, the first at {path}:1: tags are for whole words",
        f"left out 1 of 93 spans, which overlap a longer one, the first at {path}:3",
        f"left out 1 of 93 spans, which lie outside their text, the first at {path}:5",
        f"left out 1 of 93 spans, which cover no word by more than half, the first at {path}:4",
    )


def test_spans_that_count_something_else_are_refused(tmp_path: Path) -> None:
    records = [{"text": "Anna", "label": [[0, 40, "PER"]]} for _ in range(9)]
    with pytest.raises(DataError, match=r"a.jsonl:1: 9 of 9 spans in the column 'label' are outside their text"):
        load(write(tmp_path / "a.jsonl", records), TokenClassification)


def test_offsets_of_a_browser_are_those_of_utf16(tmp_path: Path) -> None:
    spans = [{"start": 3, "end": 7, "text": "Anna", "labels": ["PER"]}]
    records = [{"text": f"\U0001f600 Anna {number}", "label": spans} for number in range(20)]
    data = load(write(tmp_path / "a.json", records), TokenClassification)
    assert by_text(data)["\U0001f600 Anna 7"] == ["O", "B-PER", "O"]
    assert not data.warnings


def test_spans_are_no_classes_and_the_task_for_them_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"text": text, "label": SPANS} for text in texts()])
    with pytest.raises(DataError, match=r"a.jsonl:1: the column 'label' holds spans, .* 'task: token_classification'"):
        load(path)


def test_a_text_with_classes_and_spans_is_for_either_task(tmp_path: Path) -> None:
    records = [
        [text, {"entities": SPANS, "cats": {MOODS[number % 2]: 1.0, MOODS[1 - number % 2]: 0.0}}]
        for number, text in enumerate(texts())
    ]
    path = write(tmp_path / "a.json", records)
    tagged(path)
    assert load(path).labels == MOODS
