"""Names of classes in files that Hugging Face ``datasets`` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.file_formats import read
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.tables.class_labels import class_names_of, schema_class_names
from autoopt.objectives.task import Task
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.objectives.tasks.token_classification.task import TokenClassification
from autoopt.strategies.errors import DataError

datasets = pytest.importorskip("datasets")

MOOD = ("sad", "glad")


def load(path: Path, task: type[Task] = TextClassification) -> TextData:
    return load_text_data(DataSettings(source=str(path)), task)


def moods(labels: list[int]) -> Any:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(MOOD))})
    texts = [f"text {number}" for number in range(len(labels))]
    return datasets.Dataset.from_dict({"text": texts, "label": labels}, features)


def write(dataset: Any, path: Path) -> Path:
    if path.suffix == ".parquet":
        dataset.to_parquet(path)
        return path
    dataset.save_to_disk(path.parent / "saved")
    return (path.parent / "saved" / "data-00000-of-00001.arrow").rename(path)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_the_names_of_classes_are_in_the_schema(tmp_path: Path, name: str) -> None:
    path = write(moods([0, 1] * 20), tmp_path / name)
    assert read(path).rows[:2] == [["text 0", "sad"], ["text 1", "glad"]]
    data = load(path)
    assert data.labels == ("glad", "sad")
    assert {example.text: data.labels[example.label] for example in data.train}["text 1"] == "glad"  # type: ignore[index]


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_tags_keep_their_prefixes(tmp_path: Path, name: str) -> None:
    tags = datasets.Sequence(datasets.ClassLabel(names=["O", "B-PER", "I-PER"]))
    features = datasets.Features({"tokens": datasets.Sequence(datasets.Value("string")), "ner_tags": tags})
    words = [[f"w{number}", "Anna", "Berg"] for number in range(20)]
    path = write(datasets.Dataset.from_dict({"tokens": words, "ner_tags": [[0, 1, 2]] * 20}, features), tmp_path / name)
    data = load(path, TokenClassification)
    assert data.labels == ("O", "B-PER", "I-PER")
    assert TokenClassification(labels=data.labels).scheme.types == ("PER",)


def test_several_classes_of_a_text_have_names_too(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "labels": datasets.Sequence(datasets.ClassLabel(names=list(MOOD)))}
    )
    columns = {"text": [f"text {number}" for number in range(30)], "labels": [[0, 1], [1], []] * 10}
    assert load(write(datasets.Dataset.from_dict(columns, features), tmp_path / "a.parquet")).labels == ("glad", "sad")


def test_a_negative_class_is_no_label_and_its_row_is_left_out_with_a_warning(tmp_path: Path) -> None:
    path = write(moods([0, 1, -1, 0] * 10), tmp_path / "a.parquet")
    data = load(path)
    assert data.labels == ("glad", "sad")
    assert len(data.train) + len(data.validation) + len(data.test) == 30
    assert data.warnings == (
        f"left out 10 of 40 rows without a label in the column 'label', the first at {path}: row 3",
    )


def test_training_data_without_any_label_are_refused(tmp_path: Path) -> None:
    path = write(moods([-1] * 9), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a.parquet: row 1: the column 'label' has no label in 9 of 9 rows"):
        load(path)


def test_a_sentence_with_a_negative_tag_is_left_out_with_a_warning(tmp_path: Path) -> None:
    tags = datasets.Sequence(datasets.ClassLabel(names=["O", "B-PER"]))
    features = datasets.Features({"tokens": datasets.Sequence(datasets.Value("string")), "ner_tags": tags})
    columns = {"tokens": [[f"w{number}", "Anna"] for number in range(20)], "ner_tags": [[0, 1]] * 19 + [[-100, 1]]}
    path = write(datasets.Dataset.from_dict(columns, features), tmp_path / "a.parquet")
    data = load(path, TokenClassification)
    assert data.warnings == (
        f"left out 1 of 20 sentences with a word that has no tag in the column 'ner_tags', the first at {path}: row 20",
    )


def test_a_class_beyond_the_names_is_refused(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = write(moods([0, 1]), tmp_path / "a.parquet")
    metadata = pyarrow.parquet.read_schema(table).metadata
    wrong = pyarrow.table({"text": ["a", "b"], "label": [1, 2]}).replace_schema_metadata(metadata)
    pyarrow.parquet.write_table(wrong, tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b.parquet: row 2: the column 'label' holds the class 2, .* names 2 classes"):
        read(tmp_path / "b.parquet")


@pytest.mark.parametrize(
    "metadata", [None, {}, {b"huggingface": b"no json"}, {b"huggingface": b'{"info": 1}'}, {b"pandas": b"{}"}]
)
def test_other_metadata_name_no_classes(metadata: dict[bytes, bytes] | None) -> None:
    assert schema_class_names(metadata) == {}


def test_the_forms_of_features_in_old_and_new_files_and_in_a_readme() -> None:
    old = {"_type": "ClassLabel", "num_classes": 2, "names": list(MOOD), "id": None}
    assert class_names_of({"label": old, "text": {"_type": "Value"}}) == {"label": MOOD}
    assert class_names_of({"tags": [old]}) == {"tags": MOOD}
    assert class_names_of({"tags": {"_type": "Sequence", "feature": old, "length": -1}}) == {"tags": MOOD}
    features = datasets.Features(
        {
            "label": datasets.ClassLabel(names=list(MOOD)),
            "tags": datasets.Sequence(datasets.ClassLabel(names=list(MOOD))),
            "text": datasets.Value("string"),
        }
    )
    front_matter = datasets.DatasetInfo(features=features)._to_yaml_dict()["features"]
    assert class_names_of(front_matter) == class_names_of(features.to_dict()) == {"label": MOOD, "tags": MOOD}
    assert json.dumps(front_matter)
