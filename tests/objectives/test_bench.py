"""What a saved tiny model costs; how its latency is measured is tested where that is done."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from autoopt.objectives import bench as module
from autoopt.objectives.bench import Bench
from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.target import Calls, Target
from autoopt.objectives.timing import energy_meter, memory_process
from autoopt.objectives.timing.latency import Calibration, Comparison
from autoopt.objectives.timing.pairing import FOR_P99, SCREENING, THOROUGH, VERIFYING, Pairs
from autoopt.strategies import saving
from tests import tiny

TARGET = Target(batch_size=4, sequence_length=16)
SINGLE = replace(TARGET, batch_size=1)
WRITING = Target(batch_size=2, sequence_length=16, output=32)
ALWAYS = {"size", "parameters"}
TIMED = {"latency_p50", "latency_p95", "latency_ratio"}


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    """A machine on which a call takes 10 ms for each example, and any other model half of the reference's time.

    The list holds what was measured on it.
    """
    log: list[tuple[str, object]] = []

    def calibrate(_: object, target: Target, *, samples: int, seconds: float) -> Calibration:
        log.append(("calibration", (target.batch_size, samples, seconds)))
        p50 = 10.0 * target.batch_size
        p99 = 2 * p50 if samples >= 662 else None
        return Calibration(p50, 1.5 * p50, p99, samples, cpu_over_wall=1.0, noisy=False)

    def compare(_: object, __: object, target: Target, *, pairs: Pairs, candidate_target: Target) -> Comparison:
        log.append(("comparison", (target.batch_size, pairs)))
        if candidate_target != target:
            log.append(("own length", candidate_target.sequence_length))
        calibration = Calibration(10.0, None, None, pairs.minimum, cpu_over_wall=1.0, noisy=False)
        return replace(Comparison.identity(calibration), ratio=0.5, low=0.4, high=0.6)

    def memory(folder: Path, _: Target, *, runs: int) -> Measurement:
        log.append(("memory", (folder.name, runs)))
        return Measurement.exact("memory", 5e6, "bytes", Direction.MINIMIZE)

    def energy(_: object, target: Target) -> Measurement:
        log.append(("energy", target.batch_size))
        return Measurement.exact("energy", 0.1, "J", Direction.MINIMIZE)

    monkeypatch.setattr(module, "calibrate_model", calibrate)
    monkeypatch.setattr(module, "compare_models", compare)
    monkeypatch.setattr(memory_process, "measure_memory", memory)
    monkeypatch.setattr(energy_meter, "measure_model_energy", energy)
    return log


def targets(batch: Target) -> dict[Calls, Target]:
    writing = {calls: replace(WRITING, calls=calls) for calls in (Calls.PREFILL, Calls.DECODE)}
    return {Calls.BATCH: batch, Calls.SINGLE: SINGLE, **writing}


def measured(tmp_path: Path, *requested: str, target: Target = TARGET) -> dict[str, Measurement]:
    reference, candidate = tiny.candidate(), tiny.candidate(layers=2)
    saving.save(candidate, tmp_path / "candidate")
    bench = Bench(reference.model, targets(target), frozenset(requested))
    return bench.measure(candidate.model, tmp_path / "candidate")


def test_without_a_timed_cost_no_call_is_timed(tmp_path: Path, log: list[tuple[str, object]]) -> None:
    assert set(measured(tmp_path)) == ALWAYS
    assert set(measured(tmp_path, "quality", "energy", "memory")) == {*ALWAYS, "energy", "memory"}
    assert [name for name, _ in log] == ["energy", "memory"]


def test_one_timing_gives_all_that_follows_from_it(tmp_path: Path, log: list[tuple[str, object]]) -> None:
    costs = measured(tmp_path, "latency_p50")
    assert set(costs) == ALWAYS | TIMED
    assert costs["latency_p50"].value == 20.0
    assert log == [("calibration", (4, 150, 30)), ("comparison", (4, VERIFYING))]


def test_a_95th_percentile_that_is_asked_for_gets_its_calls_however_slow(
    tmp_path: Path, log: list[tuple[str, object]]
) -> None:
    measured(tmp_path, "latency_p95")
    assert log == [("calibration", (4, 150, inf)), ("comparison", (4, THOROUGH))]


def test_what_is_wanted_is_measured_too(tmp_path: Path, log: list[tuple[str, object]]) -> None:
    costs = measured(tmp_path, "throughput", "memory", "energy", "quality")
    assert set(costs) == {*ALWAYS, *TIMED, "throughput", "memory", "energy"}
    assert costs["throughput"].value == pytest.approx(4 / 0.020)
    assert ("memory", ("candidate", 3)) in log
    assert ("energy", 4) in log


def test_a_99th_percentile_is_given_the_samples_that_it_needs(tmp_path: Path, log: list[tuple[str, object]]) -> None:
    costs = measured(tmp_path, "latency_p99")
    assert costs["latency_p99"].value == pytest.approx(40.0)
    assert costs["latency_p99"].samples >= 662
    assert log == [("calibration", (4, FOR_P99.minimum, inf)), ("comparison", (4, FOR_P99))]


def test_one_example_at_a_time_is_measured_beside_the_targets_batch(
    tmp_path: Path, log: list[tuple[str, object]]
) -> None:
    costs = measured(tmp_path, "latency_single")
    assert (costs["latency_p50"].value, costs["latency_single"].value) == (20.0, 5.0)
    assert [name for name, _ in log] == ["calibration", "comparison"] * 2


def test_one_example_at_a_time_is_not_measured_twice_where_that_is_the_batch(
    tmp_path: Path, log: list[tuple[str, object]]
) -> None:
    costs = measured(tmp_path, "latency_single", target=SINGLE)
    assert costs["latency_single"] == replace(costs["latency_p50"], name="latency_single")
    assert len(log) == 2


def test_writing_is_timed_as_prompt_and_tokens_without_passes_over_whole_texts(
    tmp_path: Path, log: list[tuple[str, object]]
) -> None:
    costs = measured(tmp_path, "ttft", "tpot", "tokens_per_second")
    assert set(costs) == {*ALWAYS, "ttft", "tpot", "tokens_per_second"}
    assert (costs["ttft"].value, costs["tpot"].value) == (10.0, 10.0 / 8), "20 ms of the reference, of eight tokens"
    assert costs["tokens_per_second"].value == pytest.approx(2 * 1000 / costs["tpot"].value)
    assert {value for name, value in log if name == "comparison"} == {(2, SCREENING)}


def test_the_reference_itself_is_the_measure_and_not_compared(tmp_path: Path, log: list[tuple[str, object]]) -> None:
    reference = tiny.candidate()
    saving.save(reference, tmp_path / "reference")
    bench = Bench(reference.model, targets(TARGET), frozenset({"latency_single"}))
    for _ in range(2):
        costs = bench.measure(reference.model, tmp_path / "reference")
    assert (
        costs["latency_ratio"].value,
        costs["latency_p50"].value,
        costs["latency_single"].value,
    ) == (1, 40, 10)
    assert [name for name, _ in log] == ["calibration", "calibration"], "one for each batch, and once"


def test_the_number_of_parameters_and_the_bytes_are_those_of_the_candidate(
    tmp_path: Path, log: list[tuple[str, object]]
) -> None:
    costs = measured(tmp_path)
    assert costs["size"].value == saving.size_bytes(tmp_path / "candidate")
    assert costs["parameters"].value == sum(tensor.numel() for tensor in tiny.model(layers=2).parameters())


def test_a_model_with_another_tokenizer_is_timed_at_its_own_lengths(
    tmp_path: Path, log: list[tuple[str, object]]
) -> None:
    reference, candidate = tiny.candidate(), tiny.candidate(layers=2)
    saving.save(candidate, tmp_path / "candidate")
    bench = Bench(reference.model, targets(TARGET), frozenset({"latency_p50", "latency_single"}))
    own = {Calls.BATCH: replace(TARGET, sequence_length=20), Calls.SINGLE: replace(SINGLE, sequence_length=21)}
    bench.measure(candidate.model, tmp_path / "candidate", own_targets=own)
    assert [value for name, value in log if name == "own length"] == [20, 21]
