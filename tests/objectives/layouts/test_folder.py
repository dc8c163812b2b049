"""Every layout of a folder that people keep data in, and what is said of one that is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.sources import read_source
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.layouts.folder import layout_of
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.tables.table import Table
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.strategies.errors import DataError

datasets = pytest.importorskip("datasets")


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def split(name: str, count: int, *, labels: list[int] | None = None) -> Any:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["sad", "glad"])}
    )
    texts = [f"{name} {number}" for number in range(count)]
    return datasets.Dataset.from_dict({"text": texts, "label": labels or [i % 2 for i in range(count)]}, features)


def whole(folder: Path | str) -> dict[str, Table]:
    return read_source(str(folder), part="train", whole=True)


def load(**settings: Any) -> TextData:
    return load_text_data(DataSettings.model_validate(settings), TextClassification)


def counts(tables: dict[str, Table]) -> dict[str, int]:
    return {part: len(table.rows) for part, table in tables.items()}


def test_a_saved_dataset_dict_is_read_in_the_order_of_its_shards(tmp_path: Path) -> None:
    saved = datasets.DatasetDict({"train": split("train", 40), "dev": split("dev", 10), "test": split("test", 10)})
    saved.save_to_disk(tmp_path / "saved", num_shards={"train": 3, "dev": 1, "test": 1})
    tables = whole(tmp_path / "saved")
    assert counts(tables) == {"train": 40, "validation": 10, "test": 10}
    assert [row[0] for row in tables["train"].rows] == [f"train {number}" for number in range(40)]
    assert tables["train"].rows[1] == ["train 1", "glad"]
    assert load(source=str(tmp_path / "saved")).labels == ("glad", "sad")
    assert counts(read_source(f"{tmp_path}/saved@dev", part="test", whole=True)) == {"test": 10}
    assert whole(tmp_path / "saved" / "test")["train"].rows[0] == ["test 0", "sad"]


def test_a_saved_dataset_is_data_to_split_and_its_info_names_the_classes(tmp_path: Path) -> None:
    import pyarrow

    split("text", 40).save_to_disk(tmp_path / "saved")
    file = tmp_path / "saved" / "data-00000-of-00001.arrow"
    with pyarrow.ipc.open_stream(file.read_bytes()) as reader:
        table = reader.read_all().replace_schema_metadata(None)
    with pyarrow.ipc.new_stream(str(file), table.schema) as writer:
        writer.write_table(table)
    assert load(source=str(tmp_path / "saved")).labels == ("glad", "sad")


def test_a_saved_dataset_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    split("text", 40).save_to_disk(tmp_path / "saved")
    (tmp_path / "saved" / "data-00000-of-00001.arrow").rename(tmp_path / "away.arrow")
    with pytest.raises(DataError, match=r"saved lacks data-00000-of-00001.arrow; copy the folder again"):
        whole(tmp_path / "saved")
    write(tmp_path / "saved" / "state.json", '{"_data_files": [{"filename": "../away.arrow"}]}')
    with pytest.raises(DataError, match=r"saved names the file '../away.arrow', which is not in it"):
        whole(tmp_path / "saved")


def hub_files(folder: Path, front_matter: str = "") -> Path:
    for name, count in (("train", 40), ("test", 10)):
        (folder / "data").mkdir(parents=True, exist_ok=True)
        split(name, count).to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")
    if front_matter:
        write(folder / "README.md", f"---\n{front_matter}---\n# Data\n")
    return folder


CONFIG = """
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
  - split: test
    path: data/test-*
"""


@pytest.mark.parametrize("front_matter", ["", CONFIG, "license: mit\n"])
def test_a_repository_of_the_hub_is_read_with_and_without_its_readme(tmp_path: Path, front_matter: str) -> None:
    tables = whole(hub_files(tmp_path, front_matter))
    assert counts(tables) == {"train": 40, "test": 10}
    assert tables["train"].rows[1] == ["train 1", "glad"]


SEVERAL = """
dataset_info:
- config_name: en
  features:
  - name: text
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
          '0': sad
          '1': glad
configs:
- config_name: en
  data_files: en.csv
- config_name: de
  data_files:
  - split: train
    path: [de-1.csv, de-2.csv]
  - split: extra
    path: en.csv
"""


def test_of_several_configurations_one_is_named_behind_a_colon(tmp_path: Path) -> None:
    write(tmp_path / "README.md", f"---\n{SEVERAL}---\n")
    for name in ("en", "de-1", "de-2"):
        write(tmp_path / f"{name}.csv", "text,label\n" + "".join(f"{name} {i},{i % 2}\n" for i in range(20)))
    with pytest.raises(DataError, match=r"has several configurations: en, de; name one .* for example '.*:en'"):
        whole(tmp_path)
    assert counts(whole(f"{tmp_path}:de")) == {"train": 40}
    assert f"of {tmp_path} were not read extra" in whole(f"{tmp_path}:de")["train"].notes
    assert counts(read_source(f"{tmp_path}:de@extra", part="test", whole=False)) == {"test": 20}
    assert load(source=f"{tmp_path}:en").labels == ("glad", "sad")
    with pytest.raises(DataError, match=r"has no configuration 'dee'; did you mean 'de'\?: en, de; name one"):
        whole(f"{tmp_path}:dee")
    with pytest.raises(DataError, match=r"has no split 'test'; its splits are train, extra"):
        whole(f"{tmp_path}:de@test")


def test_folders_of_configurations_without_a_readme_are_listed(tmp_path: Path) -> None:
    for name in ("de", "en"):
        write(tmp_path / name / "train.csv", "text,label\none,a\n")
    with pytest.raises(DataError, match=r"has several configurations: de, en; name one"):
        whole(tmp_path)
    assert counts(whole(f"{tmp_path}:de")) == {"train": 1}


@pytest.mark.parametrize(
    ("front_matter", "message"),
    [
        ("configs:\n- config_name: a\n  data_files: ../x.csv\n", r"README.md: the files '../x.csv' of 'train' are out"),
        (
            "configs:\n- config_name: a\n  data_files: x-*.csv\n",
            r"has no data files 'x-\*.csv', which .* names for",
        ),
        ("configs: [\n", r"README.md: its front matter is no YAML"),
    ],
)
def test_a_readme_that_leads_nowhere_is_refused(tmp_path: Path, front_matter: str, message: str) -> None:
    write(tmp_path / "README.md", f"---\n{front_matter}---\n")
    with pytest.raises(DataError, match=message):
        whole(tmp_path)


def imdb(folder: Path) -> Path:
    for part, label in ((part, label) for part in ("train", "test") for label in ("pos", "neg")):
        for number in range(20):
            write(folder / part / label / f"{number}_7.txt", f"{part} {label} {number}")
    write(folder / "train" / "unsup" / "0_0.txt", "no label")
    write(folder / "train" / "urls_pos.txt", "http://")
    write(folder / "README", "Large Movie Review Dataset")
    return folder


def test_class_folders_in_a_folder_for_each_split_are_read_without_those_that_have_no_class(tmp_path: Path) -> None:
    data = load(source=str(imdb(tmp_path)), unlabeled=str(tmp_path / "train" / "unsup"))
    assert data.labels == ("neg", "pos")
    assert len(data.train) + len(data.validation) == 40
    assert {example.text.split()[0] for example in data.test} == {"test"}
    assert data.unlabeled == ("no label",)
    unsup = tmp_path / "train" / "unsup"
    assert (
        f"left out the texts in {unsup}, which have no class; 'unlabeled: {unsup}' under data uses them" in data.notes
    )


def test_a_split_whose_labels_are_all_hidden_is_left_out_with_a_warning_and_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    hidden = split("test", 10, labels=[-1] * 10)
    datasets.DatasetDict({"train": split("train", 60), "test": hidden}).save_to_disk(folder)
    data = load(source=str(folder))
    file = folder / "test" / "data-00000-of-00001.arrow"
    assert data.warnings == (f"left out the test data of {file}: all 10 rows hide their labels, as in contests",)
    assert {example.text.split()[0] for example in data.test} == {"train"}
    with pytest.raises(DataError, match=r"the column 'label' has no label in 10 of 10 rows"):
        load(train=str(folder), test=str(folder))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["a/1.md", "b/2.md"],
            r"a holds 1.md, and no .txt files, one for each text of the class 'a'; a folder",
        ),
        (["a/b/1.txt", "c/1.txt"], r"a holds b/, and no .txt files, one for each text of the class 'a'"),
        (
            ["notes.md"],
            r"holds notes.md, and no data that can be read; a folder of data .*train-\*.parquet.*pos/1",
        ),
        (["test/a.csv", "val/a.csv"], r"test holds a.csv, and no .txt files.*; a folder of data holds a file"),
        ([], r"holds nothing, and no data that can be read"),
    ],
)
def test_what_is_there_and_what_is_expected_is_said_of_another_layout(
    tmp_path: Path, names: list[str], message: str
) -> None:
    for name in names:
        write(tmp_path / name, "x")
    with pytest.raises(DataError, match=message):
        whole(tmp_path)


def test_texts_without_labels_are_data_for_what_needs_none(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "one")
    assert whole(tmp_path)["train"].columns == ("text",)
    with pytest.raises(DataError, match=r"holds texts without labels; give a file with a column of labels"):
        load(source=str(tmp_path))


def test_only_the_split_that_is_needed_is_read(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label\none,a\n")
    write(tmp_path / "test.csv", "broken\n")
    assert counts(layout_of(tmp_path).tables(part="train", whole=False)) == {"train": 1}


def test_a_link_to_itself_is_called_a_link(tmp_path: Path) -> None:
    (tmp_path / "self.csv").symlink_to("self.csv")
    with pytest.raises(DataError, match=r"self.csv is a link to self.csv, which leads to no file; link it to the data"):
        whole(tmp_path / "self.csv")
