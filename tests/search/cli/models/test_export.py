"""A pooled model on its way: saved, registered, pulled, reloaded, exported, opened by sentence-transformers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from autoopt.objectives.tasks import open_task
from autoopt.search.backends.mlflow_pull import pull
from autoopt.search.backends.mlflow_registry import VerifiedModel, register_front
from autoopt.search.cli.main import autoopt
from autoopt.search.paths import Root
from autoopt.strategies import saving
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.errors import UsageError
from autoopt.strategies.networks.pooling import pooling_edits, pooling_of, with_pooling
from tests.search.conftest import tiny_candidate

TEXTS = ["chelsea won the cup", "shares fell sharply", "today"]


@pytest.fixture
def pooled() -> Candidate:
    given = tiny_candidate(5)
    model = with_pooling(given.model, "mean", normalizes=True, seed=1)
    return replace(given, model=model, edits=pooling_edits(model))


@pytest.fixture
def saved(pooled: Candidate, tmp_path: Path) -> Path:
    saving.save(pooled, tmp_path / "0003")
    return tmp_path / "0003"


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(autoopt, ["export", *map(str, arguments)])


def answers(candidate: Candidate) -> list[list[float]]:
    predictions = candidate.task.predict(candidate, TEXTS)  # type: ignore[attr-defined]
    return [list(prediction["scores"].values()) for prediction in predictions]


def test_the_answers_are_the_same_at_each_stop(pooled: Candidate, saved: Path, root: Root, tmp_path: Path) -> None:
    models = [VerifiedModel(3, saved, "recipe", {})]
    register_front(uri=None, root=root, study="pooled", models=models, aliases={"champion": 3})
    pulled = pull("pooled@champion", tmp_path / "pulled", root=root, uri=None)
    reloaded = saving.load(pulled, open_task=open_task)
    assert pooling_of(reloaded.model) == "mean"
    assert answers(reloaded) == answers(pooled)
    exported = run(pulled, "-o", tmp_path / "exported")
    assert (exported.exit_code, exported.stderr) == (0, "")
    assert f"SentenceTransformer('{tmp_path / 'exported'}')" in exported.stdout
    library = pytest.importorskip("sentence_transformers", reason="pip install sentence-transformers")
    opened: Any = library.SentenceTransformer(str(tmp_path / "exported"), device="cpu", local_files_only=True)
    logits = opened.encode(TEXTS, show_progress_bar=False)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, answers(pooled), atol=1e-5)


def test_json_names_the_folders(saved: Path, tmp_path: Path) -> None:
    result = run(saved, "-o", tmp_path / "exported", "--json")
    assert json.loads(result.stdout) == {"model": str(saved), "folder": str(tmp_path / "exported")}
    assert (tmp_path / "exported" / "modules.json").is_file()


def test_a_folder_that_is_not_empty_is_left_alone(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep", encoding="utf-8")
    result = run(saved, "-o", tmp_path / "mine")
    assert result.exit_code == UsageError.exit_code
    assert "is not empty; give a folder that does not exist yet" in result.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
