"""A study is opened for what it was started with, by whom it belongs to, whatever happened to its files."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from autoopt.search.backends.optuna_rows import STUDY_USER
from autoopt.search.backends.optuna_storage import database_url, load_study
from autoopt.search.backends.optuna_study import OptunaStudy
from autoopt.search.experiment.experiment import load_experiment
from autoopt.search.experiment.opening import open_data, space_of
from autoopt.search.identity.admission import Admission
from autoopt.search.paths import Root, StudyFolder
from autoopt.search.space.recipe import Recipe
from autoopt.search.space.start_design import baseline
from autoopt.search.trial.execution import read_record, write_record
from autoopt.search.trial.record import State, TrialRecord
from autoopt.strategies.errors import ExperimentError
from tests.postgres import running_server
from tests.search.samples import measured, write_experiment

REMEDY = "--set study=NAME"


@dataclass
class Bench:
    """An experiment with its files in ``given``, and roots in which its study may be opened."""

    given: Path
    said: list[str] = field(default_factory=list)

    def admission(self, root: Path, *overrides: str) -> Admission:
        experiment = load_experiment(self.given / "news.yaml", overrides)
        space = space_of(experiment, open_data(experiment))
        return Admission(experiment, Root(root), space, self.said.append)

    def open(self, root: Path, *overrides: str) -> OptunaStudy:
        return self.admission(root, *overrides).open()

    def open_with_a_trial(self, root: Path, *overrides: str) -> OptunaStudy:
        study = self.open(root, *overrides)
        study.begin(baseline(study._space))
        return study

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.given / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_experiment(tmp_path_factory.mktemp("given")).parent


@pytest.fixture
def bench(prepared: Path, tmp_path: Path) -> Bench:
    """The same files at a path of the test's own."""
    given = Path(shutil.copytree(prepared, tmp_path / "given"))
    text = (given / "news.yaml").read_text(encoding="utf-8").replace(str(prepared), str(given))
    (given / "news.yaml").write_text(text, encoding="utf-8")
    return Bench(given)


def attributes(root: Path) -> dict[str, object]:
    return dict(load_study(database_url(root / "optuna.db"), "news").user_attrs)


def test_the_database_holds_owner_holder_experiment_and_fingerprints(bench: Bench, tmp_path: Path) -> None:
    admission = bench.admission(tmp_path / "root")
    admission.open()
    stored = attributes(tmp_path / "root")
    assert stored["holder"] == admission.holder.to_json()
    assert stored["experiment"] == admission.experiment.to_json()
    assert stored["owner"]["id"] == admission.folder.id.read_text().strip()  # type: ignore[index]
    prints = stored["fingerprints"]
    assert prints["sources"][str(bench.given / "texts.csv")]["rows"] == 160  # type: ignore[index]
    assert {name: split["rows"] for name, split in prints["splits"].items()} == {  # type: ignore[index]
        "train": 60,
        "validation": 40,
        "test": 40,
        "unlabeled": 80,
    }
    assert "model.safetensors" in prints["model"]  # type: ignore[index]


def test_a_file_that_grew_is_named_with_its_rows_before_and_after(bench: Bench, tmp_path: Path) -> None:
    root = tmp_path / "root"
    bench.open_with_a_trial(root)
    before = attributes(root)
    texts = bench.given / "texts.csv"
    original = texts.read_text(encoding="utf-8")
    label = original.strip().rpartition(",")[2]
    texts.write_text(original + "".join(f"another text {number},{label}\n" for number in range(59)), encoding="utf-8")
    named = rf"other data or another model: {texts} had 160 rows, now 219; .*{REMEDY}"
    with pytest.raises(ExperimentError, match=named) as refused:
        bench.open(root)
    assert refused.value.exit_code == 2
    assert attributes(root) == before
    texts.write_text(original, encoding="utf-8")
    bench.open(root)


def test_a_changed_label_is_noticed_where_the_number_of_rows_is_the_same(bench: Bench, tmp_path: Path) -> None:
    root = tmp_path / "root"
    bench.open_with_a_trial(root)
    texts = bench.given / "texts.csv"
    lines = texts.read_text(encoding="utf-8").splitlines()
    labels = sorted({line.rpartition(",")[2] for line in lines[1:]})
    text, _, label = lines[5].rpartition(",")
    lines[5] = f"{text},{next(other for other in labels if other != label)}"
    texts.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ExperimentError, match=rf"{texts} has as many rows as before, 160, with other content; the spl"):
        bench.open(root)


def test_a_file_written_anew_with_the_same_rows_is_no_change(bench: Bench, tmp_path: Path) -> None:
    bench.open_with_a_trial(tmp_path / "root")
    texts = bench.given / "texts.csv"
    texts.write_bytes(texts.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n")
    bench.open(tmp_path / "root")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_changed_file_of_the_model_is_named(bench: Bench, tmp_path: Path, name: str) -> None:
    bench.open_with_a_trial(tmp_path / "root")
    path = bench.given / "model" / name
    content = bytearray(path.read_bytes())
    if name == "model.safetensors":
        content[-1] ^= 1
    else:
        content += b"\n"
    path.write_bytes(bytes(content))
    with pytest.raises(ExperimentError, match=f"the model's file {name} has other content; .*{REMEDY}"):
        bench.open(tmp_path / "root")


def test_before_its_first_trial_a_study_takes_the_data_as_they_are(bench: Bench, tmp_path: Path) -> None:
    bench.open(tmp_path / "root")
    texts = bench.given / "texts.csv"
    texts.write_text("\n".join(texts.read_text(encoding="utf-8").splitlines()[:-5]), encoding="utf-8")
    bench.open(tmp_path / "root")
    prints = attributes(tmp_path / "root")["fingerprints"]
    assert prints["sources"][str(texts)]["rows"] == 155  # type: ignore[index]


def test_a_study_of_an_earlier_version_gets_its_fingerprints_and_is_then_held_to_them(
    bench: Bench, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    study = bench.open_with_a_trial(root)
    forget(study, "fingerprints", "owner", "experiment", "holder")
    root_folder(root).id.unlink()
    bench.open(root)
    assert {"fingerprints", "owner", "experiment", "holder"} <= attributes(root).keys()
    bench.edit("model/config.json", "{", "{ ")
    with pytest.raises(ExperimentError, match=r"config\.json has other content"):
        bench.open(root)


def forget(study: OptunaStudy, *keys: str) -> None:
    """Make the study as an earlier version left it."""
    with study._storage.engine.begin() as connection:
        connection.execute(STUDY_USER.delete().where(STUDY_USER.c.key.in_(keys)))


def root_folder(root: Path) -> StudyFolder:
    return Root(root).study("news")


def test_a_study_of_the_same_name_in_one_database_is_refused_to_another_folder(bench: Bench, tmp_path: Path) -> None:
    url = f"storage.url=sqlite:///{tmp_path / 'shared.db'}"
    bench.open_with_a_trial(tmp_path / "theirs", url)
    folder = tmp_path / "theirs" / "studies" / "news"
    with pytest.raises(ExperimentError, match=rf"belongs to .+@.+, with its files in {folder}; .*{REMEDY}"):
        bench.open(tmp_path / "ours", url)
    bench.open(tmp_path / "ours", url, "study=ours")
    bench.open(tmp_path / "theirs", url)


def test_two_teams_on_one_server_are_kept_apart(bench: Bench, tmp_path: Path) -> None:
    with running_server() as server:
        url = f"storage.url={server.url()}"
        bench.open(tmp_path / "theirs", url)._storage.engine.dispose()
        with pytest.raises(ExperimentError, match=f"belongs to .*{REMEDY}"):
            bench.open(tmp_path / "ours", url)
        bench.open(tmp_path / "theirs", url)._storage.engine.dispose()


def test_a_study_without_an_owner_whose_files_are_elsewhere_is_refused(bench: Bench, tmp_path: Path) -> None:
    url = f"storage.url=sqlite:///{tmp_path / 'shared.db'}"
    forget(bench.open_with_a_trial(tmp_path / "theirs", url), "owner")
    with pytest.raises(ExperimentError, match=f"a study 'news' with 1 trials, whose files are not in .*{REMEDY}"):
        bench.open(tmp_path / "ours", url)
    bench.open(tmp_path / "theirs", url)
    assert load_study(f"sqlite:///{tmp_path / 'shared.db'}", "news").user_attrs["owner"]


def test_a_moved_root_and_a_lost_id_are_no_other_owner(bench: Bench, tmp_path: Path) -> None:
    bench.open_with_a_trial(tmp_path / "root")
    (tmp_path / "root").rename(tmp_path / "moved")
    bench.open(tmp_path / "moved")
    (tmp_path / "moved").rename(tmp_path / "root")
    root_folder(tmp_path / "root").id.unlink()
    bench.open(tmp_path / "root")
    assert root_folder(tmp_path / "root").id.is_file()


@pytest.mark.parametrize("damage", ["empty", "cut", "zeroed", "flipped"])
def test_a_damaged_experiment_file_is_put_aside_and_the_database_still_knows_it(
    bench: Bench, tmp_path: Path, damage: str
) -> None:
    root = tmp_path / "root"
    bench.open_with_a_trial(root)
    path = root_folder(root).experiment
    content = path.read_bytes()
    flipped = content.replace(b"seed: 0", b"seed: 1")
    assert flipped != content
    path.write_bytes(
        {"empty": b"", "cut": content[:200], "zeroed": content[:-99] + bytes(99), "flipped": flipped}[damage]
    )
    with pytest.raises(ExperimentError, match=r"data\.max_length: 16 -> 24"):
        bench.open(root, "data.max_length=24", "target.sequence_length=16")
    bench.open(root)
    assert path.read_bytes() == content
    assert path.with_name("experiment.resolved.yaml.broken").is_file()
    (said,) = bench.said
    assert f"{path} is damaged" in said
    assert "it is now experiment.resolved.yaml.broken" in said


def test_a_damaged_result_is_put_aside_and_an_ended_trial_s_is_written_again(bench: Bench, tmp_path: Path) -> None:
    root = tmp_path / "root"
    study = bench.open(root)
    ended, pending = (study.begin(recipe) for recipe in (baseline(study._space), Recipe(())))
    record = TrialRecord(0, ended.recipe, State.COMPLETE, measured(0.9, 1.0), attempt=ended.attempt)
    study.tell(record)
    folder = root_folder(root)
    for number, recipe, attempt in ((0, ended.recipe, ended.attempt), (1, pending.recipe, pending.attempt)):
        write_record(replace(record, number=number, recipe=recipe, attempt=attempt), folder.result(number))
        content = bytearray(folder.result(number).read_bytes())
        content[len(content) // 2] ^= 1
        folder.result(number).write_bytes(content)
    bench.open(root)
    assert read_record(folder.result(0)) == record
    assert not folder.result(1).exists()
    assert {path.name for path in folder.path.glob("trials/*/*")} == {"result.json", "result.json.broken"}
    assert sorted(said.split(" is damaged")[0] for said in bench.said) == [str(folder.result(n)) for n in (0, 1)]
