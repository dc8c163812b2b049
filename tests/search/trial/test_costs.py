"""What a study measures beside latency and size: only what an objective or a limit asks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.target import Calls, Target
from autoopt.objectives.timing import energy_meter, memory_process
from autoopt.objectives.timing.energy_meter import open_meter
from autoopt.objectives.timing.latency import Calibration, Comparison
from autoopt.objectives.timing.shape_table import ShapeTable, served_digest
from autoopt.search.cli.main import autoopt
from autoopt.search.experiment.experiment import Experiment
from autoopt.search.experiment.opening import check_measurable, directions, target_of, targets_of
from autoopt.search.space.recipe import Recipe
from autoopt.search.study.verdicts import violations_of
from autoopt.search.trial.other_bases import OtherBases
from autoopt.search.trial.record import State
from autoopt.search.trial.run import excess, run_trial, screen
from autoopt.search.trial.stage_store import StageStore
from autoopt.search.trial.workspace import Workspace
from autoopt.strategies.catalog import find
from autoopt.strategies.errors import EnvironmentProblem
from autoopt.strategies.system.checked_files import write_json
from tests import tiny
from tests.search.samples import write_experiment

ALWAYS = {"size", "parameters"}
TIMED = {"latency_p50", "latency_p95", "latency_ratio"}
CUT = Recipe.of([find("full_finetuning")(), find("layer_drop")()])
CALIBRATION = Calibration(p50_ms=10.0, p95_ms=15.0, p99_ms=None, samples=150, cpu_over_wall=1.0, noisy=False)
HALF = replace(Comparison.identity(CALIBRATION), ratio=0.5, low=0.4, high=0.6, samples=16)


def experiment_of(objectives: Sequence[str] = ("quality",), budget: Sequence[str] = (), **target: Any) -> Experiment:
    return Experiment.model_validate(
        {
            "study": "tiny",
            "model": "unused",
            "data": {"source": "unused", "max_length": 16},
            "objectives": list(objectives),
            "budget": list(budget),
            "target": target,
        }
    )


def opened(tmp_path: Path, experiment: Experiment, *, ratio: Comparison = HALF) -> Workspace:
    """A workspace in whose tables the baseline takes 10 ms and the model without half of its layers ``ratio`` of it."""
    base = tiny.candidate()
    data = TextData(base.train, tiny.examples(20, seed=3), tiny.examples(20), base.unlabeled, tiny.LABELS, "f", ())
    scratch = tmp_path / "tiny" / "scratch"
    scratch.mkdir(parents=True)
    targets = targets_of(experiment, base, data.validation)
    target = targets[Calls.BATCH]
    for one in (target, targets[Calls.SINGLE]):
        table = ShapeTable(tmp_path / "shapes", one)
        reference, cut = (served_digest(given, one) for given in (base, tiny.candidate(layers=2)))
        table.put_calibration(CALIBRATION, reference=reference)
        table.put(cut, ratio, reference=reference)
    return Workspace(
        experiment=experiment,
        task=base.task,  # type: ignore[arg-type]
        data=data,
        base=base,
        store=StageStore(tmp_path / "stages"),
        shapes=ShapeTable(tmp_path / "shapes", target),
        scratch=scratch,
        seed=0,
        others=OtherBases(experiment, data, lambda _: base),
    )


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Memory and energy are what they are by definition here; the list says how often they were measured."""
    seen: list[str] = []

    def memory(folder: Path, _: Target, *, runs: int) -> Measurement:
        assert runs == 1
        seen.append("memory")
        weights = (folder / "model.safetensors").stat().st_size
        return Measurement.exact("memory", 100.0 * weights, "bytes", Direction.MINIMIZE)

    def energy(_: object, __: Target) -> Measurement:
        seen.append("energy")
        return Measurement.exact("energy", 0.5, "J", Direction.MINIMIZE)

    monkeypatch.setattr(memory_process, "measure_memory", memory)
    monkeypatch.setattr(energy_meter, "measure_model_energy", energy)
    return seen


def test_what_nothing_asks_for_is_not_measured(tmp_path: Path, measured: list[str]) -> None:
    workspace = opened(tmp_path, experiment_of(["quality", "size"]))
    assert set(screen(CUT, workspace)) == set(workspace.reference) == ALWAYS
    assert measured == []
    assert "calibration" not in vars(workspace), "not even the baseline was timed"


@pytest.mark.parametrize(
    ("objectives", "budget", "more"),
    [
        (["quality", "throughput"], [], {"throughput", *TIMED}),
        (["quality"], ["throughput >= 1/s"], {"throughput", *TIMED}),
        (["quality", "memory"], [], {"memory"}),
        (["quality"], ["memory <= 0.9 * baseline"], {"memory"}),
        (["quality", "energy"], ["energy <= 2 J"], {"energy"}),
        (["quality"], ["latency_single <= 9ms", "parameters <= 1M"], {"latency_single", *TIMED}),
    ],
)
def test_what_an_objective_or_a_limit_asks_for_is_measured_before_any_training(
    tmp_path: Path, measured: list[str], objectives: list[str], budget: list[str], more: set[str]
) -> None:
    workspace = opened(tmp_path, experiment_of(objectives, budget))
    assert set(screen(CUT, workspace)) == ALWAYS | more
    assert set(workspace.reference) == ALWAYS | more
    assert not list((tmp_path / "stages").rglob("*.safetensors"))


def test_memory_and_energy_of_a_shape_are_measured_once(tmp_path: Path, measured: list[str]) -> None:
    workspace = opened(tmp_path, experiment_of(["quality", "memory", "energy"]))
    first = screen(CUT, workspace)
    assert screen(CUT, workspace) == first
    assert sorted(measured) == ["energy", "memory"]
    assert "memory" in workspace.reference
    assert sorted(measured) == ["energy", "energy", "memory", "memory"], "the baseline has a shape of its own"


def test_throughput_is_that_of_the_targets_batch(tmp_path: Path) -> None:
    workspace = opened(tmp_path, experiment_of(["quality", "throughput"], batch_size=8))
    found = screen(CUT, workspace)
    assert found["throughput"].value == pytest.approx(8 / 0.005)
    assert found["latency_p50"].value == pytest.approx(5.0), "of a call, which answers the whole batch"


def test_one_example_at_a_time_has_a_table_of_its_own(tmp_path: Path) -> None:
    workspace = opened(tmp_path, experiment_of(["quality", "latency_single"], batch_size=8))
    slow = replace(HALF, ratio=0.9, low=0.9, high=0.9)
    shape, reference = (served_digest(given, workspace.target) for given in (tiny.candidate(layers=2), workspace.base))
    shapes = workspace.shapes_of(Calls.SINGLE)
    shapes.put(shape, slow, reference=reference)
    found = screen(CUT, workspace)
    assert shapes.target.batch_size == 1
    assert (found["latency_p50"].value, found["latency_single"].value) == pytest.approx((5.0, 9.0))


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("throughput >= 1000/s", "throughput >= 1000/s: over by at least 75%"),
        ("memory <= 0.1 * baseline", "memory <= 0.1 * baseline: over by at least"),
        ("parameters <= 1k", "parameters <= 1k: over by at least"),
        ("energy <= 100mJ", "energy <= 100mJ: over by at least 400%"),
        ("latency_single <= 1ms", "latency_single <= 1ms: over by at least 300%"),
    ],
)
def test_a_trial_over_any_such_limit_is_never_trained(
    tmp_path: Path, measured: list[str], limit: str, reason: str
) -> None:
    workspace = opened(tmp_path, experiment_of(budget=[limit]))
    record = run_trial(3, CUT, workspace, folder=tmp_path / "model", report=lambda _: None)
    assert record.state is State.REJECTED
    assert record.reason.startswith(reason)
    assert not list((tmp_path / "stages").rglob("*.safetensors"))


def test_a_trial_that_may_have_the_throughput_at_the_better_end_is_not_rejected(tmp_path: Path) -> None:
    workspace = opened(tmp_path, experiment_of(budget=["throughput >= 240/s"]))
    found = screen(CUT, workspace)
    assert (found["throughput"].value, found["throughput"].high) == pytest.approx((200, 250))
    assert excess(found, workspace.experiment.budget, workspace.reference) == ""


def test_a_verdict_on_a_disturbed_machine_says_so(tmp_path: Path) -> None:
    workspace = opened(tmp_path, experiment_of(budget=["latency_p50 <= 1ms"]))
    found = screen(CUT, workspace)
    limits, reference = workspace.experiment.budget, workspace.reference
    reason = "latency_p50 <= 1ms: over by at least 300%"
    assert excess(found, limits, reference) == reason
    noisy = {name: replace(item, noisy=True) for name, item in found.items()}
    assert excess(noisy, limits, reference) == f"{reason}, measured on a disturbed machine"


@pytest.mark.parametrize(
    ("limit", "factor"),
    [("latency_p50 <= 12ms", 0.1), ("latency_p95 <= 12ms", 0.05), ("throughput >= 150/s", 10.0), ("size <= 1MB", None)],
)
def test_an_absolute_limit_is_not_judged_by_a_calibration_on_a_disturbed_machine(
    tmp_path: Path, limit: str, factor: float | None
) -> None:
    experiment = experiment_of(["quality", "latency_p50"], budget=[limit])
    workspace = replace(opened(tmp_path, experiment), study_folder=tmp_path / "tiny")
    disturbed = replace(CALIBRATION, p50_ms=100.0, p95_ms=300.0, noisy=True)
    write_json(tmp_path / "tiny" / "calibration.json", disturbed.to_json())
    record = run_trial(3, CUT, workspace, folder=tmp_path / "model", report=lambda _: None)
    assert record.state is State.COMPLETE, record.reason
    assert record.measurements["latency_p50"].value == pytest.approx(50.0), "on the scale of the study's other trials"
    assert record.corrections == ({} if factor is None else {limit.split()[0]: pytest.approx(factor)})
    assert violations_of(record, experiment.budget, workspace.reference)[limit] <= 0


@pytest.mark.parametrize(
    ("budget", "ratio"),
    [
        ([], None),
        (["size <= 1MB"], None),
        (["latency_p50 <= 0.4 * baseline", "latency_p95 <= 3ms"], 0.2),
        (["throughput >= 4 * baseline", "latency_p50 <= 0.4 * baseline"], 0.25),
        (["throughput >= 500/s"], 0.2),
    ],
)
def test_the_tightest_limit_on_time_says_how_long_to_measure(
    tmp_path: Path, budget: list[str], ratio: float | None
) -> None:
    found = opened(tmp_path, experiment_of(budget=budget)).limit_ratio
    assert found == (None if ratio is None else pytest.approx(ratio))


def test_the_validation_texts_are_answered_unless_the_experiment_wants_one_length() -> None:
    base, texts = tiny.candidate(), tiny.examples(60, seed=3)
    fixed = target_of(experiment_of(lengths="fixed"), base, texts)
    assert replace(fixed, texts=()) == Target(sequence_length=16)
    made = [text for batches in fixed.texts for batch in batches for text in batch]
    assert {len(base.tokenizer(text)["input_ids"]) for text in made} <= {15, 16}
    real = target_of(experiment_of(), base, texts)
    assert {text for batches in real.texts for batch in batches for text in batch} <= {one.text for one in texts}
    assert target_of(experiment_of(), base, texts, Calls.FORWARD).texts == ()
    tokens = [len(item["input_ids"]) for item in base.task.encode(texts, base.tokenizer)]
    assert set(real.lengths) <= set(tokens)
    assert len(set(real.lengths)) > 3
    in_batches = target_of(experiment_of(batch_size=8), base, texts)
    assert min(in_batches.lengths) > min(real.lengths), "a batch is as long as its longest text"
    assert target_of(experiment_of(batch_size=8), base, texts, Calls.SINGLE) == real


def test_throughput_is_better_when_higher_and_every_other_cost_when_lower() -> None:
    costs = ["throughput", "memory", "parameters", "energy", "latency_p99", "latency_single", "size"]
    found = directions(experiment_of(["quality", *costs]))
    assert [name for name, direction in found.items() if direction is Direction.MAXIMIZE] == ["quality", "throughput"]


def test_energy_is_refused_where_nothing_counts_it_and_only_if_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy_meter, "open_meter", partial(open_meter, powercap=tmp_path))
    check_measurable(experiment_of(["quality", "latency"], ["memory <= 1GB"]))
    for asking in (experiment_of(["quality", "energy"]), experiment_of(budget=["energy <= 1 J"])):
        with pytest.raises(EnvironmentProblem, match="energy cannot be measured here"):
            check_measurable(asking)


@pytest.mark.parametrize("command", ["plan", "search"])
def test_energy_that_cannot_be_measured_ends_with_5_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(energy_meter, "open_meter", partial(open_meter, powercap=tmp_path / "none"))
    file = write_experiment(tmp_path / "given", objectives=["quality", "energy"])
    result = CliRunner().invoke(autoopt, [command, str(file), "--root", str(tmp_path / "root")])
    assert result.exit_code == 5, result.output
    assert "has no intel-rapl package" in result.stderr
    assert not (tmp_path / "root").exists()


@pytest.mark.slow
def test_a_search_by_throughput_memory_and_real_lengths_verifies_all_of_them(tmp_path: Path) -> None:
    file = write_experiment(
        tmp_path / "given",
        target={"lengths": "data", "batch_size": 2},
        objectives=["quality", "throughput", "memory", "latency_single", "latency_p99"],
        budget=["memory <= 2 * baseline", "throughput >= 0.2 * baseline", "parameters <= 1M"],
        search={"trials": 2},
    )
    command = [sys.executable, "-m", "autoopt.search.cli.main", "search", str(file), "--root", str(tmp_path / "root")]
    ran = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=900, env=dict(os.environ))
    assert ran.returncode == 0, ran.stderr
    for model in json.loads(ran.stdout)["models"]:
        found = model["record"]["measurements"]
        assert ALWAYS | TIMED | {"throughput", "memory", "latency_single", "latency_p99"} <= set(found)
        assert found["latency_p99"]["samples"] >= 662
        assert found["throughput"]["low"] <= found["throughput"]["value"] <= found["throughput"]["high"]
