"""``autoopt convert``: its output, its exit codes, and a model of pickled weights on its way into a plan."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from autoopt.objectives.models.model_folder import find_model
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.search.cli.main import autoopt
from tests import tiny
from tests.canary import Canary


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    """A model as older versions of transformers wrote it."""
    folder = tmp_path / "model"
    given = tiny.candidate(layers=2)
    given.model.config.save_pretrained(folder)
    given.tokenizer.save_pretrained(folder)
    torch.save(given.model.state_dict(), folder / "pytorch_model.bin")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(autoopt, ["convert", *map(str, arguments)])


def test_it_says_what_it_wrote_and_how_to_use_it(pickled: Path, tmp_path: Path) -> None:
    result = run(pickled, "-o", tmp_path / "converted")
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"  {tmp_path / 'converted' / 'model.safetensors'}\n" in result.stdout
    assert f"model: {tmp_path / 'converted'}" in result.stdout
    assert find_model(str(tmp_path / "converted")).config["model_type"] == "bert"
    names = {path.name for path in (tmp_path / "converted").iterdir()}
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= names
    assert "pytorch_model.bin" not in names
    given = tiny.candidate(layers=2)
    task = TextClassification(labels=tiny.LABELS, max_length=16)
    opened = task.open_model(str(tmp_path / "converted"))
    assert torch.equal(tiny.logits(opened), tiny.logits(given))


def test_json_names_the_files_and_nothing_is_converted_twice(pickled: Path) -> None:
    document = json.loads(run(pickled, "--json").stdout)
    assert (document["folder"], document["files"]) == (str(pickled), ["model.safetensors"])
    assert document["tensors"] == len(tiny.model(layers=2).state_dict())
    assert find_model(str(pickled)).path == pickled
    result = run(pickled)
    assert result.exit_code == 2
    assert "has its weights as model.safetensors already; it can be used as it is" in result.stderr


def test_a_pickle_that_would_run_code_ends_with_one_line_and_code_2(pickled: Path, tmp_path: Path) -> None:
    (pickled / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Canary(tmp_path / "canary")}, protocol=2))
    result = run(pickled)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {pickled}: pytorch_model.bin is more than weights, and is not read")
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "canary").exists()
    assert result.stderr.endswith("nothing was written: get the model as safetensors\n")
    assert not (pickled / "model.safetensors").exists()


def test_a_folder_that_is_none_ends_with_code_2(tmp_path: Path) -> None:
    result = run(tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "is no model folder: it has no config.json; give the folder that has it" in result.stderr
