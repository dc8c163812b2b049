"""A root is moved, copied or mounted elsewhere: its registry and its runs are where it is."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from autoopt.search.backends.mlflow_client import open_client
from autoopt.search.backends.mlflow_moves import _ADDRESSES, current_address, mend_addresses
from autoopt.search.backends.mlflow_pull import pull
from autoopt.search.backends.mlflow_registry import VerifiedModel, register_front
from autoopt.search.backends.mlflow_runs import StudyRuns
from autoopt.search.paths import Root
from autoopt.strategies.candidate import Candidate
from tests.search.samples import forget_artifact_places

STUDY = "bbc-news"


@pytest.fixture
def registry(root: Root, candidates: dict[int, tuple[Candidate, Path]]) -> Root:
    other = VerifiedModel(3, candidates[3][1], "recipe", {})
    register_front(uri=None, root=root, study=STUDY, models=[other], aliases={"champion": 3})
    StudyRuns(None, root, STUDY).attach("experiment.yaml", "study: bbc-news\n")
    return root


def addresses(root: Root) -> list[str]:
    with closing(sqlite3.connect(root.mlflow_database)) as connection:
        found = [connection.execute(f"SELECT {column} FROM {table}").fetchall() for table, column in _ADDRESSES]  # noqa: S608
    return [str(address) for rows in found for (address,) in rows if "mlflow-artifacts" in str(address)]


def moved(root: Root, name: str) -> Root:
    forget_artifact_places()
    return Root(root.path.rename(root.path.with_name(name)))


@pytest.mark.parametrize("name", ["elsewhere", "root 2", "a'b ö", "mlflow-artifacts"])
def test_a_moved_root_gives_back_its_models_and_takes_more(
    registry: Root, candidates: dict[int, tuple[Candidate, Path]], tmp_path: Path, name: str
) -> None:
    before = len(addresses(registry))
    root = moved(registry, name)
    pulled = pull(STUDY, tmp_path / "pulled", root=root, uri=None)
    assert {path.name: path.read_bytes() for path in pulled.iterdir()} == {
        path.name: path.read_bytes() for path in candidates[3][1].iterdir()
    }
    here = root.mlflow_artifacts.as_uri()
    assert len(addresses(root)) == before
    assert all(address == here or address.startswith(f"{here}/") for address in addresses(root))
    models = [VerifiedModel(trial, folder, "recipe", {}) for trial, (_, folder) in candidates.items()]
    versions = register_front(uri=None, root=root, study=STUDY, models=models, aliases={"champion": 7})
    assert [version.trial for version in versions] == [3, 7], "nothing is registered twice"
    StudyRuns(None, root, STUDY).attach("experiment.yaml", "study: bbc-news\nseed: 1\n")
    assert len(list(root.mlflow_artifacts.rglob("experiment.yaml"))) == 1
    assert not registry.path.exists(), "nothing is written where the root was"
    pull(STUDY, tmp_path / "champion", root=root, uri=None)


def test_plain_mlflow_finds_the_model_after_any_command(registry: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    root = moved(registry, "elsewhere")
    client = open_client(None, root)
    import mlflow.artifacts

    source = client.get_model_version_download_uri(STUDY, "1")
    assert list(Path(mlflow.artifacts.download_artifacts(artifact_uri=source)).rglob("manifest.json"))


def test_a_copy_keeps_to_itself_and_the_original_too(registry: Root, tmp_path: Path) -> None:
    copy = Root(tmp_path / "copy")
    shutil.copytree(registry.path, copy.path)
    original = addresses(registry)
    forget_artifact_places()
    StudyRuns(None, copy, STUDY).attach("experiment.yaml", "study: copied\n")
    texts = {root: next(root.mlflow_artifacts.rglob("experiment.yaml")).read_text() for root in (registry, copy)}
    assert texts == {registry: "study: bbc-news\n", copy: "study: copied\n"}
    assert addresses(registry) == original
    assert all("/copy/" in address for address in addresses(copy))


def test_a_second_name_of_the_same_folder_changes_nothing(registry: Root, tmp_path: Path) -> None:
    before = registry.mlflow_database.read_bytes()
    (tmp_path / "link").symlink_to(registry.path)
    mend_addresses(Root(tmp_path / "link"))
    assert registry.mlflow_database.read_bytes() == before


def test_a_database_that_cannot_be_mended_is_read_all_the_same(registry: Root) -> None:
    root = moved(registry, "elsewhere")
    stale = next(address for address in addresses(root) if "/models/" in address)
    assert Path(current_address(stale, root).removeprefix("file://")).is_dir()
    assert current_address("s3://bucket/mlflow-artifacts/models", root) == "s3://bucket/mlflow-artifacts/models"


def test_a_root_without_a_database_is_left_without_one(tmp_path: Path) -> None:
    mend_addresses(Root(tmp_path))
    assert list(tmp_path.iterdir()) == []
