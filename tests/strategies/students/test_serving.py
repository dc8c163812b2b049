"""A student answers in a process that never imports torch, and as it did where it was made."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autoopt.objectives.target import Target
from autoopt.objectives.tasks import open_task
from autoopt.objectives.timing.model_call import calibrate_model, model_call
from autoopt.search.backends.mlflow_packaging import requirements
from autoopt.strategies import saving
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.catalog import catalog, find
from autoopt.strategies.errors import CorruptArtefact
from autoopt.strategies.serving import is_student, load_for_serving
from autoopt.strategies.students.reader import KINDS
from tests import tiny

SERVE = """
import json, sys
sys.modules["torch"] = sys.modules["transformers"] = None  # An import of either fails.
from pathlib import Path
from autoopt.search.api import load_model
answers = load_model(Path(sys.argv[1])).predict(json.loads(sys.argv[2]))
print(json.dumps(answers))
from autoopt.search.cli.main import autoopt
autoopt(["predict", sys.argv[1], "--text", json.loads(sys.argv[2])[0]])
"""
TEXTS = ["shares fell today", "the coach won a cup"]

every_kind = pytest.mark.parametrize("kind", sorted(KINDS))


def student(kind: str, effort: float = 1) -> Candidate:
    given = replace(tiny.candidate(layers=2), teacher=tiny.model(layers=2, seed=7))
    return find(kind)().apply(given, effort=effort, seed=0)


def test_every_student_of_the_catalog_can_be_served() -> None:
    assert {name for name, strategy in catalog().items() if strategy.replaces} == set(KINDS)


@every_kind
def test_it_answers_in_a_process_without_torch(kind: str, tmp_path: Path) -> None:
    made = student(kind)
    saving.save(made, tmp_path / "saved")
    command = [sys.executable, "-c", SERVE, str(tmp_path / "saved"), json.dumps(TEXTS)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == 0, process.stderr
    expected = made.task.predict(made, TEXTS)  # type: ignore[attr-defined]
    first, by_command = process.stdout.splitlines()
    answered = json.loads(first)
    assert by_command.split("\t")[0] == answered[0]["label"]
    assert [one["label"] for one in answered] == [one["label"] for one in expected]
    assert [one["score"] for one in answered] == pytest.approx([one["score"] for one in expected], abs=1e-6)


@every_kind
def test_what_serves_it_holds_no_torch_module(kind: str, tmp_path: Path) -> None:
    saving.save(student(kind), tmp_path / "saved")
    served = load_for_serving(tmp_path / "saved", open_task=open_task)
    assert not isinstance(served.model, torch.nn.Module)
    assert is_student(served.edits)


@every_kind
def test_a_damaged_file_is_noticed(kind: str, tmp_path: Path) -> None:
    saving.save(student(kind), tmp_path / "saved")
    with (tmp_path / "saved" / saving.EDITED_WEIGHTS).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x07")
    with pytest.raises(CorruptArtefact, match="sha256 differs"):
        load_for_serving(tmp_path / "saved", open_task=open_task)


def test_a_network_is_loaded_as_before(tmp_path: Path) -> None:
    saving.save(tiny.candidate(layers=2), tmp_path / "saved")
    served = load_for_serving(tmp_path / "saved", open_task=open_task)
    assert torch.equal(tiny.logits(served), tiny.logits(tiny.candidate(layers=2)))
    assert not is_student(served.edits)


@every_kind
def test_what_serves_it_needs_no_torch_installed(kind: str) -> None:
    names = {line.split("==")[0] for line in requirements(student(kind, effort=0).edits)}
    assert {"tokenizers", "numpy", "safetensors"} <= names
    assert names.isdisjoint({"torch", "transformers"})
    assert {"torch", "transformers"} <= {line.split("==")[0] for line in requirements()}


@every_kind
def test_it_is_timed_from_text_to_answer(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = student(kind, effort=0).model
    read: list[str] = []
    answer = model.text_logits

    def recording(texts: list[str], seconds: list[str] | None = None) -> object:
        read.extend(texts)
        return answer(texts, seconds)

    monkeypatch.setattr(model, "text_logits", recording)
    call = model_call(model, Target(sequence_length=12, batch_size=2))
    call()
    call()
    assert len(set(read)) == 4
    assert all(3 <= len(text.split()) <= 12 for text in read)
    calibration = calibrate_model(student(kind, effort=0).model, Target(sequence_length=12), samples=20)
    assert 0 < calibration.p50_ms < 5
