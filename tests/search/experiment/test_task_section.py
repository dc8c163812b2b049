"""The ``task`` section takes its keys from the registry, so that a task is added as one folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from autoopt.objectives import tasks
from autoopt.objectives.measurement import Direction, Measurement
from autoopt.search.cli.main import autoopt
from autoopt.search.experiment.experiment import Experiment, load_experiment
from autoopt.search.report.formats import format_quality
from autoopt.strategies.errors import ExperimentError
from tests.places import ROOT

FILE = "study: s\nmodel: org/model\ndata: {source: org/data}\n"
TASK_FILE = '''"""Text length: the number of characters of a text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from autoopt.objectives.data.labelled import read_labelled
from autoopt.objectives.scoring.scores import mean_of
from autoopt.objectives.models.pretrained import Head
from autoopt.objectives.task import Task
from autoopt.strategies.candidate import Example
from autoopt.strategies.training.batches import forward


@dataclass(frozen=True)
class TextLength(Task):
    """One number for each text."""

    metrics = ("closeness",)
    head = Head("AutoModelForSequenceClassification")
    sample = tuple({"text": "cup " * number, "label": 4.0 * number} for number in range(1, 7))
    shown_with_quality = ("closeness",)

    unit_length: Annotated[int, Field(ge=1, le=10, description="characters that count as one")] = 1

    @property
    def problem_type(self):
        return "regression"

    @property
    def statistics(self):
        return {"closeness": mean_of(0)}

    @classmethod
    def read(cls, table, settings, *, metric, train_rows=()):
        return read_labelled(table, settings, metric="pearson", train_rows=train_rows)

    @classmethod
    def facts(cls, examples):
        return frozenset({"labels"})

    def encode(self, examples, tokenizer):
        encoded = [tokenizer(example.text, truncation=True, max_length=self.max_length) for example in examples]
        labels = [{} if example.label is None else {"labels": example.label} for example in examples]
        return [{**features, **label} for features, label in zip(encoded, labels)]

    def answer(self, candidate, examples):
        answers = [0.0] * len(examples)
        features = self.encode(examples, candidate.tokenizer)
        for positions, _, output in forward(candidate.model, features, pad_token_id=0):
            for position, logits in zip(positions, output.logits):
                answers[position] = float(logits[0])
        return answers

    def predict(self, candidate, texts):
        answers = self.answer(candidate, [Example(str(text)) for text in texts])
        return [{"label": f"{answer:.0f}", "score": answer} for answer in answers]

    def outcomes(self, examples, answers):
        import numpy as np

        return np.array([[-abs(e.label - a) / self.unit_length] for e, a in zip(examples, answers)])
'''


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a task that was added, and is gone afterwards."""
    folder = tmp_path / "added"
    (folder / "text_length").mkdir(parents=True)
    (folder / "text_length" / "__init__.py").write_text("", encoding="utf-8")
    (folder / "text_length" / "task.py").write_text(TASK_FILE, encoding="utf-8")
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(folder)])
    yield folder
    for name in [name for name in sys.modules if name.startswith("autoopt.objectives.tasks.text_length")]:
        del sys.modules[name]
    vars(tasks).pop("text_length", None)


def load(folder: Path, task: str) -> Experiment:
    path = folder / "e.yaml"
    path.write_text(f"{FILE}task: {task}\n", encoding="utf-8")
    return load_experiment(path)


def test_an_added_task_is_listed_and_shown(added: Path) -> None:
    run = CliRunner(env={"COLUMNS": "160"}).invoke
    assert "Text length: the number of characters of a text." in run(autoopt, ["tasks"]).output
    assert "Setting task.unit_length: characters that count as one" in run(autoopt, ["tasks", "text_length"]).output


def test_an_added_task_has_its_settings_in_the_experiment_and_its_schema(added: Path, tmp_path: Path) -> None:
    experiment = load(tmp_path, "{name: text_length, unit_length: 5}")
    assert experiment.task.settings() == {"unit_length": 5}
    schema = Experiment.model_json_schema()
    jsonschema.validate(experiment.to_json(), schema)
    section = schema["$defs"]["TaskSection"]["properties"]
    assert "text_length" in section["name"]["enum"]
    assert section["unit_length"]["description"] == "Of text_length: characters that count as one"
    with pytest.raises(ExperimentError, match=r"e.yaml:4: task.unit_length: 11 is too large; the most is 10"):
        load(tmp_path, "{name: text_length, unit_length: 11}")


def test_an_added_task_says_what_is_shown_beside_the_quality(added: Path) -> None:
    quality = Measurement.exact("quality", 0.5, "", Direction.MAXIMIZE)
    shown = format_quality({"quality": quality, "closeness": replace(quality, name="closeness", value=-3.0)})
    assert shown == "50.0 % [50.0, 50.0], closeness -3.0"


@pytest.mark.slow
def test_an_added_task_runs_in_the_contract_tests(added: Path, tmp_path: Path) -> None:
    (tmp_path / "added_task.py").write_text(
        f"from autoopt.objectives import tasks\ntasks.__path__.append({str(added)!r})\n", encoding="utf-8"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "added_task", "-k", "text_length", "--no-header"]
    ran = subprocess.run(
        [*command, "tests/objectives/tasks/test_contract.py"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " passed" in ran.stdout


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            "{name: question_answering, strid: 5}",
            r"task.strid: unknown key; did you mean 'stride'\?; keys here are name, ",
        ),
        ("{name: question_answering, strid: null}", r"e.yaml:4: task.strid: unknown key; did you mean 'stride'\?"),
        ("{name: question_answering, stride: 0}", r"e.yaml:4: task.stride: 0 is too small; the least is 1"),
        ("{name: question_answering, stride: 1.5}", r"e.yaml:4: task.stride: expected a whole number, got 1.5"),
        ("{name: question_answering, stride: many}", r"e.yaml:4: task.stride: expected a whole number, got 'many'"),
        ("{stride: 5}", r"task.stride: a setting of question_answering that text_classification does not have; remove"),
        (
            "{name: causal_lm, metrik: x}",
            r"task.metrik: unknown key; did you mean 'metric'\?; keys here are name, metric$",
        ),
        (
            "{name: question_answerin, strid: 5}",
            r"task.name: 'question_answerin' is no task; did you mean 'question_an",
        ),
    ],
)
def test_a_key_that_is_no_setting_or_has_no_legal_value_is_refused(tmp_path: Path, task: str, message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        load(tmp_path, task)


@pytest.mark.parametrize(
    ("settings", "saved"),
    [
        ({}, {}),
        ({"stride": None}, {}),
        ({"stride": 64, "max_answer_tokens": 20}, {"stride": 64, "max_answer_tokens": 20}),
    ],
)
def test_the_section_is_saved_with_what_was_set_and_read_back(settings: dict[str, Any], saved: dict[str, Any]) -> None:
    values = {"study": "s", "model": "org/model", "data": {"source": "org/data"}}
    experiment = Experiment.model_validate({**values, "task": {"name": "question_answering", **settings}})
    assert experiment.to_json()["task"] == {"name": "question_answering", **saved}
    assert Experiment.model_validate(experiment.to_json()) == experiment
    assert experiment.differences(Experiment.model_validate({**values, "task": {"name": "question_answering"}})) == [
        f"task.{key}: {value} -> not set" for key, value in saved.items()
    ]
