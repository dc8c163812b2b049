"""What every cost promises. A new file in ``objectives/costs`` is tested here without another edit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autoopt.objectives import units
from autoopt.objectives.cost import Role, Serving
from autoopt.objectives.costs import costs, measure_costs, names_of, pairs_for
from autoopt.objectives.judging.budget import Limit, direction_of, metric_name, metrics
from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.target import Calls, Target
from autoopt.objectives.timing import energy_meter
from autoopt.objectives.timing.latency import Calibration, Comparison
from autoopt.search.report.formats import NOT_MEASURED, format_measurement
from autoopt.strategies import saving
from autoopt.strategies.stand_ins.contract import parameter_count
from tests import tiny

CALIBRATION = Calibration(p50_ms=40, p95_ms=50, p99_ms=60, samples=700, cpu_over_wall=1.0, noisy=False)
HALF = replace(Comparison.identity(CALIBRATION), ratio=0.5, low=0.4, high=0.8, samples=16)
every_cost = pytest.mark.parametrize("name", sorted(costs()))


@dataclass(frozen=True)
class Served:
    """A tiny model that takes half of its reference's 40 ms."""

    model: Any
    folder: Path
    target: Target
    thorough: bool = False
    calibration: Calibration = CALIBRATION
    comparison: Comparison = HALF

    def target_for(self, calls: Calls) -> Target:
        return replace(self.target, calls=calls, output=4 if calls is Calls.DECODE else 0)

    def timed(self, calls: Calls) -> tuple[Comparison, Calibration]:
        return replace(self.comparison, ratio=0.25, low=0.2, high=0.3), self.calibration

    def once(self, metric: str, measure: Callable[[], Measurement]) -> Measurement:
        return measure()


class CallTimedError(Exception):
    """A call was timed."""


class Untimed(Served):
    """The same model, of which no call may be timed."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("calibration", "comparison", "timed"):
            raise CallTimedError(name)
        return super().__getattribute__(name)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    candidate, folder = tiny.candidate(), tmp_path_factory.mktemp("costs") / "model"
    saving.save(candidate, folder)
    return Served(candidate.model, folder, Target(batch_size=8, sequence_length=16))


@pytest.fixture(autouse=True)
def joules(monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter of energy, which this machine may lack."""
    counts = iter(range(10**9))
    monkeypatch.setattr(energy_meter, "open_meter", lambda _: lambda: float(next(counts)))
    monkeypatch.setattr(energy_meter, "BLOCK_S", 0.001)


@every_cost
def test_its_name_is_that_of_its_file_and_of_its_measurement(name: str, served: Served) -> None:
    first, *_ = costs()[name].measure(served)
    assert (first.name, first.direction) == (name, costs()[name].direction) == (name, direction_of(name))
    assert first.low <= first.value <= first.high


@every_cost
def test_its_measurement_survives_json_and_is_shown(name: str, served: Served) -> None:
    for measured in costs()[name].measure(served):
        assert Measurement.from_json(measured.to_json()) == measured
        assert format_measurement(measured) != NOT_MEASURED


@every_cost
def test_it_can_be_limited_in_the_units_of_its_kind(name: str) -> None:
    cost = costs()[name]
    sign = ">=" if cost.direction is Direction.MAXIMIZE else "<="
    unit = next(iter(cost.dimension.units))
    assert Limit.parse(f"{name} {sign} 3{unit}").value == pytest.approx(
        units.parse_quantity(f"3{unit}", cost.dimension)
    )
    assert metrics()[name] is cost.dimension


@every_cost
def test_its_other_names_mean_it(name: str) -> None:
    assert all(metric_name(other) == name for other in costs()[name].other_names)


@every_cost
def test_at_its_limit_a_call_takes_the_ratio_that_it_says(name: str, served: Served) -> None:
    cost = costs()[name]
    limit = cost.measure(served)[0].value
    reference = cost.measure(replace(served, comparison=Comparison.identity(CALIBRATION)))[0].value
    assert cost.limit_ratio(limit, reference) in (None, pytest.approx(HALF.ratio))


@pytest.mark.parametrize("role", [Role.SPEED, Role.SPACE])
def test_one_cost_of_each_role_that_names_an_alias_is_its_default_and_always_measured(role: Role) -> None:
    assert [name for name in names_of(role) if costs()[name].default_of_role] == [names_of(role)[0]]
    assert costs()[names_of(role)[0]].always


@every_cost
def test_it_says_whether_it_needs_timed_calls(name: str, served: Served) -> None:
    untimed = Untimed(served.model, served.folder, served.target)
    if costs()[name].timed:
        with pytest.raises(CallTimedError):
            costs()[name].measure(untimed)
    else:
        assert costs()[name].measure(untimed)


def test_what_nothing_asks_for_is_not_measured(served: Served) -> None:
    assert set(measure_costs(served, frozenset())) == {"size", "parameters"}
    assert set(measure_costs(served, {"quality", "energy"})) == {"size", "parameters", "energy"}


def test_beside_a_timed_cost_the_other_latencies_are_free(served: Served) -> None:
    free = {"latency_p50", "latency_p95", "latency_ratio", "size", "parameters"}
    assert set(measure_costs(served, {"throughput"})) == {"throughput", *free}
    assert set(measure_costs(served, {"throughput"}, only_exact=True)) == {"size", "parameters"}


def test_a_99th_percentile_asks_for_the_samples_that_it_needs() -> None:
    assert pairs_for({"latency_p99"}).minimum >= 662 > pairs_for({"latency_p95"}).minimum >= 130


def test_percentiles_without_enough_samples_are_not_reported(served: Served) -> None:
    few = replace(served, calibration=replace(CALIBRATION, p95_ms=None, p99_ms=None))
    assert costs()["latency_p95"].measure(few) == costs()["latency_p99"].measure(few) == ()


def test_throughput_is_the_targets_batch_over_the_time_of_a_call(served: Served) -> None:
    throughput = costs()["throughput"].measure(served)[0]
    assert throughput.value == pytest.approx(8 / 0.020)
    assert (throughput.low, throughput.high) == pytest.approx((8 / 0.032, 8 / 0.016))
    assert (throughput.unit, throughput.samples, throughput.noisy) == ("examples/s", 16, False)


def test_over_several_lengths_throughput_counts_the_mean_call(served: Served) -> None:
    mixed = replace(served, calibration=replace(CALIBRATION, mean_ms=100.0))
    assert costs()["throughput"].measure(mixed)[0].value == pytest.approx(8 / 0.050)


@pytest.mark.parametrize("side", ["comparison", "calibration"])
@pytest.mark.parametrize("name", ["throughput", "latency_p50", "latency_p95"])
def test_a_timing_is_noisy_if_either_side_of_it_is(served: Served, name: str, side: str) -> None:
    noisy: Serving = dataclasses.replace(served, **{side: replace(getattr(served, side), noisy=True)})
    assert costs()[name].measure(noisy)[0].noisy


def test_latencies_are_the_references_times_the_ratio(served: Served) -> None:
    costs_by_name = measure_costs(served, {"latency_p99", "latency_single"})
    values = [costs_by_name[f"latency_{name}"].value for name in ("p50", "p95", "p99", "single", "ratio")]
    assert values == pytest.approx([20, 25, 30, 10, 0.5])
    assert (costs_by_name["latency_p50"].low, costs_by_name["latency_p50"].high) == pytest.approx((16, 32))
    assert (costs_by_name["latency_p50"].samples, costs_by_name["latency_p95"].samples) == (16, 700)


def test_the_size_is_all_bytes_of_the_folder(served: Served) -> None:
    assert costs()["size"].measure(served)[0].value == sum(file.stat().st_size for file in served.folder.iterdir())


def test_a_tied_weight_counts_once() -> None:
    embedding, head = torch.nn.Embedding(10, 4), torch.nn.Linear(4, 10, bias=False)
    assert parameter_count(torch.nn.Sequential(embedding, head)) == 80
    head.weight = embedding.weight
    assert parameter_count(torch.nn.Sequential(embedding, head)) == 40
