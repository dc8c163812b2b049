"""The Pareto front and the aliases of its models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.search.choosing.front import aliases, by_worth, dominates, knee_point, losses, pareto, speed_loss

OBJECTIVES = {"quality": Direction.MAXIMIZE, "latency_p50": Direction.MINIMIZE}


@dataclass(frozen=True)
class Model:
    quality: float
    latency: float
    size: float = 1.0

    @property
    def measurements(self) -> Mapping[str, Measurement]:
        return {
            "quality": Measurement.exact("quality", self.quality, "", Direction.MAXIMIZE),
            "latency_p50": Measurement.exact("latency_p50", self.latency, "ms", Direction.MINIMIZE),
            "size": Measurement.exact("size", self.size, "bytes", Direction.MINIMIZE),
        }


few = st.integers(0, 6).map(float)
models = st.lists(st.builds(Model, quality=few, latency=few), min_size=1, max_size=20)


def test_models_with_an_alias_are_missed_most_then_those_of_the_best_quality() -> None:
    items = [Model(0.7, 7.0), Model(0.5, 1.0), Model(0.8, 8.0), Model(0.6, 2.0), Model(0.9, 9.0, size=0.5)]
    ordered = by_worth(items, OBJECTIVES)
    assert [item.quality for item in ordered] == [0.9, 0.5, 0.6, 0.8, 0.7]
    assert by_worth([], OBJECTIVES) == []


@given(models)
def test_no_point_of_a_front_dominates_another(items: list[Model]) -> None:
    front = pareto(items, OBJECTIVES)
    assert front
    assert not any(dominates(losses(a, OBJECTIVES), losses(b, OBJECTIVES)) for a in front for b in front)


@given(models)
def test_what_is_not_on_the_front_is_dominated_by_something_on_it(items: list[Model]) -> None:
    front = pareto(items, OBJECTIVES)
    others = [model for model in items if model not in front]
    assert all(any(dominates(losses(a, OBJECTIVES), losses(b, OBJECTIVES)) for a in front) for b in others)


@given(models)
def test_each_alias_names_a_model_of_the_front(items: list[Model]) -> None:
    front = pareto(items, OBJECTIVES)
    named = aliases(front, OBJECTIVES)
    assert set(named) == {"champion", "fastest", "smallest", "balanced"}
    assert all(model in front for model in named.values())
    assert named["champion"].quality == max(model.quality for model in front)
    assert named["fastest"].latency == min(model.latency for model in front)


def test_of_equally_good_models_the_fastest_is_the_champion() -> None:
    front = [Model(0.9, 5.0), Model(0.9, 4.0), Model(0.8, 1.0)]
    assert aliases(front, OBJECTIVES)["champion"] == Model(0.9, 4.0)


def test_the_knee_is_where_both_are_nearly_best() -> None:
    assert knee_point([Model(1.0, 10.0), Model(0.95, 2.0), Model(0.5, 1.0)], OBJECTIVES) == Model(0.95, 2.0)


@dataclass(frozen=True)
class Weighed(Model):
    """A model with more measurements."""

    throughput: float = 1.0
    memory: float = 1.0

    @property
    def measurements(self) -> Mapping[str, Measurement]:
        return {
            **super().measurements,
            "throughput": Measurement.exact("throughput", self.throughput, "examples/s", Direction.MAXIMIZE),
            "memory": Measurement.exact("memory", self.memory, "bytes", Direction.MINIMIZE),
        }


def test_what_is_fast_and_small_is_said_by_the_objectives_and_by_latency_and_size_where_none_says_it() -> None:
    first = Weighed(0.9, latency=1.0, size=1.0, throughput=10.0, memory=9.0)
    second = Weighed(0.8, latency=2.0, size=2.0, throughput=20.0, memory=8.0)
    named = aliases([first, second], {"quality": Direction.MAXIMIZE})
    assert (named["fastest"], named["smallest"]) == (first, first)
    objectives = {"quality": Direction.MAXIMIZE, "throughput": Direction.MAXIMIZE, "memory": Direction.MINIMIZE}
    named = aliases([first, second], objectives)
    assert (named["fastest"], named["smallest"]) == (second, second)


def test_speed_is_the_first_cost_where_no_objective_is_a_speed() -> None:
    model = Weighed(0.9, latency=1.0, size=7.0, throughput=10.0, memory=9.0)
    quality, size = ("quality", Direction.MAXIMIZE), ("size", Direction.MINIMIZE)
    assert speed_loss(model, dict([quality, size])) == 7.0
    assert speed_loss(model, dict([quality, size, ("latency_p50", Direction.MINIMIZE)])) == 1.0
    assert speed_loss(model, dict([quality])) == 0.0


def test_an_alias_whose_metric_was_not_measured_is_left_out() -> None:
    @dataclass(frozen=True)
    class Untimed(Model):
        @property
        def measurements(self) -> Mapping[str, Measurement]:
            return {name: item for name, item in super().measurements.items() if name != "latency_p50"}

    objectives = {"quality": Direction.MAXIMIZE, "size": Direction.MINIMIZE}
    named = aliases([Untimed(0.9, 1.0, size=2.0), Untimed(0.8, 2.0, size=1.0)], objectives)
    assert set(named) == {"champion", "smallest", "balanced"}
    assert named["smallest"].quality == 0.8


def test_a_higher_throughput_is_better() -> None:
    objectives = {"quality": Direction.MAXIMIZE, "throughput": Direction.MAXIMIZE}
    slow, fast = Weighed(0.9, 1.0, throughput=10.0), Weighed(0.9, 1.0, throughput=20.0)
    assert pareto([slow, fast], objectives) == [fast]


def test_an_empty_front_has_no_aliases() -> None:
    assert aliases([], OBJECTIVES) == {}
