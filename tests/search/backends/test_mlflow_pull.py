from __future__ import annotations

import json
import os
import pickle
import stat
from pathlib import Path

import pytest

from autoopt.objectives.tasks import open_task
from autoopt.search.backends.mlflow_pull import pull
from autoopt.search.backends.mlflow_registry import VerifiedModel, register_front
from autoopt.search.paths import Root
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.errors import CorruptArtefact, UnknownName, UsageError
from autoopt.strategies.saving import MANIFEST, load

STUDY = "bbc-news"
Candidates = dict[int, tuple[Candidate, Path]]


@pytest.fixture
def registry(root: Root, candidates: Candidates) -> Root:
    """A root in whose registry version 1 is trial 3, the fastest, and version 2 is trial 7, the champion."""
    models = [VerifiedModel(trial, folder, "recipe", {}) for trial, (_, folder) in candidates.items()]
    register_front(uri=None, root=root, study=STUDY, models=models, aliases={"fastest": 3, "champion": 7})
    return root


def stored(root: Root, folder: Path) -> Path:
    """Where MLflow keeps the copy of a saved candidate."""
    [folder_in_store] = [path for path in root.mlflow_artifacts.rglob(folder.name) if path.is_dir()]
    return folder_in_store


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("reference", "trial"),
    [("bbc-news@champion", 7), ("bbc-news", 7), ("bbc-news@fastest", 3), ("bbc-news/1", 3), ("bbc-news/2", 7)],
)
def test_a_pulled_folder_is_the_saved_one_and_nothing_else(
    registry: Root, candidates: Candidates, tmp_path: Path, reference: str, trial: int
) -> None:
    destination = tmp_path / "models" / "champion"
    assert pull(reference, destination, root=registry, uri=None) == destination
    assert contents(destination) == contents(candidates[trial][1])
    assert [path.name for path in destination.parent.iterdir()] == ["champion"]


def test_a_pulled_folder_can_be_read_by_whom_the_umask_lets(
    registry: Root, candidates: Candidates, tmp_path: Path
) -> None:
    for path in stored(registry, candidates[7][1]).iterdir():
        path.chmod(0o600)  # As an earlier version stored it.
    before = os.umask(0o022)
    try:
        pulled = pull(STUDY, tmp_path / "champion", root=registry, uri=None)
    finally:
        os.umask(before)
    assert stat.S_IMODE(pulled.stat().st_mode) == 0o755
    assert {stat.S_IMODE(path.stat().st_mode) for path in pulled.iterdir()} == {0o644}


def test_a_pulled_model_predicts_what_the_candidate_predicts(
    registry: Root, candidates: Candidates, tmp_path: Path
) -> None:
    texts = ["chelsea won the cup", "shares fell sharply"]
    pulled = load(pull(STUDY, tmp_path / "champion", root=registry, uri=None), open_task=open_task)
    candidate = candidates[7][0]
    assert pulled.task.predict(pulled, texts) == candidate.task.predict(candidate, texts)  # type: ignore[attr-defined]


def test_one_flipped_bit_is_noticed_and_the_destination_stays_as_it_was(
    registry: Root, candidates: Candidates, tmp_path: Path
) -> None:
    weights = stored(registry, candidates[7][1]) / "model.safetensors"
    flipped = bytearray(weights.read_bytes())
    flipped[-1] ^= 1
    weights.write_bytes(flipped)
    destination = pull("bbc-news@fastest", tmp_path / "models" / "mine", root=registry, uri=None)
    before = contents(destination)
    with pytest.raises(CorruptArtefact, match=r"model\.safetensors is not what was written"):
        pull("bbc-news@champion", destination, root=registry, uri=None, force=True)
    assert contents(destination) == before
    with pytest.raises(CorruptArtefact, match=r"model\.safetensors is not what was written"):
        pull("bbc-news@champion", destination.parent / "new", root=registry, uri=None)
    assert [path.name for path in destination.parent.iterdir()] == ["mine"]


def test_a_whole_model_put_in_the_place_of_another_is_noticed(
    registry: Root, candidates: Candidates, tmp_path: Path
) -> None:
    for name, content in contents(candidates[3][1]).items():
        (stored(registry, candidates[7][1]) / name).write_bytes(content)
    with pytest.raises(
        CorruptArtefact, match=r"manifest\.json of bbc-news@champion is not the one that was registered"
    ):
        pull("bbc-news@champion", tmp_path / "champion", root=registry, uri=None)


class Canary:
    """What a hostile pickle would be."""

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return (Path, ("opened",))


@pytest.mark.parametrize("name", ["model.pkl", "pytorch_model.bin", "added_tokens.json", "run.py"])
def test_whatever_is_no_data_is_refused_by_its_name_or_its_content(
    registry: Root, candidates: Candidates, tmp_path: Path, name: str
) -> None:
    folder = stored(registry, candidates[7][1])
    (folder / name).write_bytes(pickle.dumps(Canary()))
    with pytest.raises(CorruptArtefact, match=f"the model holds '{name}', which is not a safetensors, JSON or"):
        pull("bbc-news@champion", tmp_path / "champion", root=registry, uri=None)
    assert not (tmp_path / "champion").exists()


def test_a_pickle_in_the_place_of_the_weights_is_refused_even_with_a_manifest_that_fits(
    registry: Root, candidates: Candidates, tmp_path: Path
) -> None:
    import hashlib

    folder = stored(registry, candidates[7][1])
    (folder / "model.safetensors").write_bytes(pickle.dumps(Canary()))
    digests = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    digests["model.safetensors"] = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(digests), encoding="utf-8")
    with pytest.raises(CorruptArtefact, match=r"the model holds 'model\.safetensors', which is not a safetensors"):
        pull("bbc-news@champion", tmp_path / "champion", root=registry, uri=None)


def test_a_folder_with_something_in_it_is_kept_unless_it_is_a_model_and_is_forced(
    registry: Root, candidates: Candidates, tmp_path: Path
) -> None:
    destination = tmp_path / "champion"
    destination.mkdir()
    pull("bbc-news@fastest", destination, root=registry, uri=None)
    with pytest.raises(UsageError, match="is not empty; give another folder, or --force"):
        pull("bbc-news@champion", destination, root=registry, uri=None)
    assert contents(destination) == contents(candidates[3][1])
    pull("bbc-news@champion", destination, root=registry, uri=None, force=True)
    assert contents(destination) == contents(candidates[7][1])


def test_force_does_not_replace_what_is_no_model(registry: Root, tmp_path: Path) -> None:
    thesis = tmp_path / "thesis" / "chapter.txt"
    thesis.parent.mkdir()
    thesis.write_text("once upon a time", encoding="utf-8")
    with pytest.raises(UsageError, match="holds no saved model, so --force does not replace it"):
        pull(STUDY, thesis.parent, root=registry, uri=None, force=True)
    with pytest.raises(UsageError, match="is not a folder"):
        pull(STUDY, thesis, root=registry, uri=None, force=True)
    assert thesis.read_text(encoding="utf-8") == "once upon a time"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            "bbc-news@champoin",
            r"no alias 'champoin'; did you mean 'champion'\? there are champion \(version 2\), fastest",
        ),
        ("bbc-news/9", "'bbc-news' has no version 9; there are 1, 2"),
        ("bbc-nws@champion", r"'bbc-nws' is not a registered model; did you mean 'bbc-news'\? registered are bbc-news"),
    ],
)
def test_an_unknown_model_alias_or_version_is_told_what_there_is(
    registry: Root, tmp_path: Path, reference: str, message: str
) -> None:
    with pytest.raises(UnknownName, match=message):
        pull(reference, tmp_path / "champion", root=registry, uri=None)
    assert not (tmp_path / "champion").exists()


@pytest.mark.parametrize(
    "reference", ["../bbc-news", "bbc-news/../../x", "/etc/passwd", "bbc-news@../champion", "%2e%2e"]
)
def test_a_reference_that_leaves_the_registry_is_refused(root: Root, tmp_path: Path, reference: str) -> None:
    with pytest.raises(UsageError, match=r"is not a valid \w+ name|is not a version"):
        pull(reference, tmp_path / "champion", root=root, uri=None)
