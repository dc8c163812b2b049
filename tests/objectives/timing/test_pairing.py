import gc
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
import torch

from autoopt.objectives.measurement import Direction
from autoopt.objectives.target import Target
from autoopt.objectives.timing.attempts import PAUSE_S
from autoopt.objectives.timing.clock import Call, Clock
from autoopt.objectives.timing.latency import Calibration, Comparison, calibrate, compare, latency, latency_ratio
from autoopt.objectives.timing.pairing import (
    FOR_P99,
    MIN_ROUNDS,
    SCREENING,
    THOROUGH,
    VERIFYING,
    WARM_UP_CALLS,
    WARM_UP_CALLS_PER_LENGTH,
    Pairs,
)
from autoopt.strategies.system import measurement_gate

TARGET = Target(sequence_length=16)


@dataclass
class Machine:
    """A machine on which time passes only in calls."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    share: float = 1.0
    """Of the processor that a call gets."""
    others: float | None = None
    """How many processors the others use."""
    calls: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    @property
    def clock(self) -> Clock:
        return Clock(
            wall=lambda: self.wall_s,
            cpu=lambda: self.cpu_s,
            watch=lambda: lambda: self.others,
            pause=self.pauses.append,
        )

    def call(self, name: str, seconds: float | Callable[[], float]) -> Call:
        def run() -> None:
            passed = seconds() if callable(seconds) else seconds
            self.calls.append(name)
            self.wall_s += passed
            self.cpu_s += passed * self.share

        return run


def test_a_function_that_sleeps_20_ms_has_a_latency_of_20_ms() -> None:
    calibration = calibrate(lambda: time.sleep(0.02), TARGET, samples=15, cpu_bound=False)
    assert 20 <= calibration.p50_ms <= 26


def test_a_function_that_sleeps_half_as_long_has_half_the_latency() -> None:
    comparison = compare(lambda: time.sleep(0.01), lambda: time.sleep(0.02), TARGET, cpu_bound=False)
    assert 0.45 <= comparison.ratio <= 0.6
    assert comparison.low <= comparison.ratio <= comparison.high


def test_the_same_work_has_a_ratio_near_one() -> None:
    matrix = torch.ones(300, 300)
    comparison = compare(lambda: matrix @ matrix, lambda: matrix @ matrix, TARGET)
    assert 0.7 <= comparison.ratio <= 1.4
    assert comparison.low <= 1.25
    assert comparison.high >= 0.8


def test_the_models_are_measured_in_turn_and_each_goes_first_equally_often() -> None:
    machine = Machine()
    compare(machine.call("c", 0.03), machine.call("r", 0.03), TARGET, clock=machine.clock)
    warm_up = "c" * WARM_UP_CALLS + "r" * WARM_UP_CALLS
    assert "".join(machine.calls) == warm_up + "crrc" * (SCREENING.minimum // 2)


def test_a_short_call_is_made_once_untimed_before_its_sample() -> None:
    machine = Machine()
    compare(machine.call("c", 0.01), machine.call("r", 0.03), TARGET, clock=machine.clock)
    assert "".join(machine.calls[2 * WARM_UP_CALLS :]) == "ccrrcc" * (SCREENING.minimum // 2)


def test_a_call_too_short_for_the_clock_is_repeated_within_a_sample() -> None:
    machine = Machine()
    comparison = compare(
        machine.call("c", 0.0005), machine.call("r", 0.03), TARGET, pairs=THOROUGH, clock=machine.clock
    )
    assert "".join(machine.calls[2 * WARM_UP_CALLS :]).startswith("cccccrr")
    assert comparison.candidate_p50_ms == pytest.approx(0.5)
    assert comparison.candidate_p95_ms is None, "the mean of four calls says nothing of the slowest of twenty"
    assert comparison.reference_p95_ms == pytest.approx(30)


def test_a_machine_that_slows_down_fivefold_does_not_move_the_ratio() -> None:
    machine = Machine()
    comparison = compare(
        machine.call("c", lambda: 0.03 * (1 + machine.wall_s)),
        machine.call("r", lambda: 0.06 * (1 + machine.wall_s)),
        TARGET,
        clock=machine.clock,
    )
    assert machine.wall_s > 4
    assert comparison.ratio == pytest.approx(0.5, rel=0.02)


def noisy_call(machine: Machine, name: str, seconds: float, *, spread: float, seed: int) -> Call:
    chance = random.Random(seed)
    return machine.call(name, lambda: seconds * chance.lognormvariate(0, spread))


def test_sampling_goes_on_until_the_interval_is_narrow() -> None:
    machine = Machine()
    candidate = noisy_call(machine, "c", 0.05, spread=0.03, seed=1)
    comparison = compare(candidate, noisy_call(machine, "r", 0.1, spread=0.03, seed=2), TARGET, clock=machine.clock)
    assert SCREENING.minimum < comparison.samples < SCREENING.maximum
    assert (comparison.high - comparison.low) / 2 <= 0.03 * comparison.ratio
    assert comparison.low <= 0.5 <= comparison.high


def test_sampling_ends_where_the_interval_never_gets_narrow() -> None:
    machine = Machine()
    candidate = noisy_call(machine, "c", 0.005, spread=2, seed=1)
    comparison = compare(candidate, noisy_call(machine, "r", 0.01, spread=2, seed=2), TARGET, clock=machine.clock)
    assert comparison.samples == SCREENING.maximum


def test_slow_calls_are_limited_by_their_time() -> None:
    machine = Machine()
    candidate, reference = machine.call("c", 0.5), machine.call("r", 1.0)
    comparison = compare(candidate, reference, TARGET, pairs=VERIFYING, clock=machine.clock)
    assert comparison.samples == 20, "of 1.5 s each, in 30 s"
    assert comparison.ratio == pytest.approx(0.5)
    assert compare(candidate, reference, TARGET, pairs=THOROUGH, clock=machine.clock).samples == THOROUGH.minimum


def test_very_slow_calls_are_made_often_enough_for_an_interval() -> None:
    machine = Machine()
    comparison = compare(machine.call("c", 20), machine.call("r", 40), TARGET, clock=machine.clock)
    assert comparison.samples == MIN_ROUNDS


def test_a_calibration_of_slow_calls_says_how_many_were_asked_for() -> None:
    machine = Machine()
    calibration = calibrate(machine.call("r", 0.5), TARGET, samples=150, seconds=30, clock=machine.clock)
    assert (calibration.samples, calibration.requested, calibration.p95_ms) == (60, 150, None)


def test_disturbed_attempts_are_not_repeated_after_a_minute() -> None:
    machine = Machine(others=1.0)
    compare(machine.call("c", 0.5), machine.call("r", 1.0), SEVERAL_THREADS, pairs=VERIFYING, clock=machine.clock)
    assert len(machine.pauses) == 1, "two attempts of 45 s with their warm-up"


def test_sampling_goes_on_while_the_limit_lies_within_the_interval() -> None:
    machine = Machine()
    candidate, reference = machine.call("c", 0.05), machine.call("r", 0.1)
    undecided = compare(candidate, reference, TARGET, limit_ratio=0.5, clock=machine.clock)
    decided = compare(candidate, reference, TARGET, limit_ratio=0.6, clock=machine.clock)
    assert undecided.samples == SCREENING.maximum
    assert decided.samples == SCREENING.minimum


def test_only_a_thorough_comparison_has_a_95th_percentile() -> None:
    machine = Machine()
    candidate, reference = machine.call("c", 0.03), machine.call("r", 0.06)
    screening = compare(candidate, reference, TARGET, clock=machine.clock)
    thorough = compare(candidate, reference, TARGET, pairs=THOROUGH, clock=machine.clock)
    assert (screening.candidate_p95_ms, screening.reference_p95_ms) == (None, None)
    assert thorough.samples >= THOROUGH.minimum
    assert thorough.candidate_p95_ms == pytest.approx(30)
    assert thorough.reference_p95_ms == pytest.approx(60)


@pytest.mark.parametrize(
    ("samples", "has_p95", "has_p99"), [(129, False, False), (130, True, False), (661, True, False), (662, True, True)]
)
def test_a_calibration_has_only_the_percentiles_that_its_samples_carry(
    samples: int, has_p95: bool, has_p99: bool
) -> None:
    machine = Machine()
    calibration = calibrate(machine.call("r", 0.05), TARGET, samples=samples, clock=machine.clock)
    assert calibration.p50_ms == pytest.approx(50)
    assert (calibration.p95_ms is not None, calibration.p99_ms is not None) == (has_p95, has_p99)


SEVERAL_THREADS = replace(TARGET, threads=2)
"""Threads that wait for each other spin: their processor time says nothing."""


def test_a_disturbed_measurement_of_several_threads_is_tried_three_times_and_then_flagged() -> None:
    machine = Machine(share=0.33, others=1.0)
    comparison = compare(machine.call("c", 0.03), machine.call("r", 0.03), SEVERAL_THREADS, clock=machine.clock)
    assert (comparison.noisy, comparison.by_processor) == (True, False)
    assert comparison.cpu_over_wall == pytest.approx(0.33)
    assert len(machine.calls) == 3 * 2 * (WARM_UP_CALLS + SCREENING.minimum)
    calibration = calibrate(machine.call("r", 0.03), SEVERAL_THREADS, samples=20, clock=machine.clock)
    assert (calibration.noisy, calibration.by_processor) == (True, False)


def test_a_disturbed_measurement_of_one_thread_is_believed_at_once_by_its_processor_time() -> None:
    machine = Machine(share=0.33)
    comparison = compare(machine.call("c", 0.03), machine.call("r", 0.06), TARGET, clock=machine.clock)
    assert (comparison.noisy, comparison.by_processor) == (False, True)
    assert comparison.ratio == pytest.approx(0.5)
    assert len(machine.calls) == 2 * (WARM_UP_CALLS + SCREENING.minimum)
    calibration = calibrate(machine.call("r", 0.03), TARGET, samples=20, clock=machine.clock)
    assert (calibration.noisy, calibration.by_processor) == (False, True)
    assert calibration.p50_ms == pytest.approx(0.33 * 30)
    measured = latency("latency_p50", calibration.p50_ms, comparison, calibration, samples=20)
    assert (measured.noisy, measured.by_processor) == (False, True)


def test_processor_times_that_differ_from_call_to_call_are_not_believed() -> None:
    machine = Machine(others=1.0)
    chance = random.Random(0)
    call, reference = (machine.call(name, lambda: 0.03 * chance.lognormvariate(0, 0.5)) for name in "cr")
    comparison = compare(call, reference, TARGET, clock=machine.clock)
    assert (comparison.noisy, comparison.by_processor) == (True, True)
    assert comparison.samples == 3 * SCREENING.maximum
    calibration = calibrate(reference, TARGET, samples=20, clock=machine.clock)
    assert (calibration.noisy, calibration.by_processor) == (True, False)


def test_a_model_that_waits_on_a_machine_of_its_own_is_timed_by_the_clock() -> None:
    machine = Machine(share=0.1, others=0.02)
    calibration = calibrate(machine.call("r", 0.03), TARGET, samples=20, clock=machine.clock)
    assert (calibration.noisy, calibration.by_processor) == (False, False)
    assert calibration.p50_ms == pytest.approx(30)


@pytest.mark.parametrize(
    ("others", "is_disturbed"), [(1.0, True), (0.35, True), (0.25, False), (0.0, False), (None, False)]
)
def test_a_neighbour_disturbs_even_where_it_leaves_a_processor_free(others: float | None, is_disturbed: bool) -> None:
    machine = Machine(share=1.0, others=others)
    comparison = compare(machine.call("c", 0.03), machine.call("r", 0.03), TARGET, clock=machine.clock)
    calibration = calibrate(machine.call("r", 0.03), TARGET, samples=20, clock=machine.clock)
    assert (comparison.by_processor, comparison.others) == (is_disturbed, others)
    assert (calibration.disturbed, calibration.others) == (is_disturbed, others)


@pytest.mark.parametrize("target", [Target(threads=2), Target(device="cuda")])
def test_a_neighbour_also_disturbs_several_threads_and_a_gpu(target: Target) -> None:
    machine = Machine(share=1.0, others=1.0)
    assert compare(machine.call("c", 0.03), machine.call("r", 0.03), target, clock=machine.clock).noisy


def test_a_disturbance_is_given_a_second_to_pass_before_the_next_attempt_or_as_long_as_that_takes() -> None:
    machine = Machine(others=1.0)
    compare(machine.call("c", 0.03), machine.call("r", 0.03), SEVERAL_THREADS, clock=machine.clock)
    assert machine.pauses == [PAUSE_S, PAUSE_S]
    machine = Machine(others=1.0)
    compare(machine.call("c", 0.003), machine.call("r", 0.003), SEVERAL_THREADS, clock=machine.clock)
    assert machine.pauses == pytest.approx([0.003 * 2 * (WARM_UP_CALLS + 2 * SCREENING.minimum)] * 2)
    machine = Machine(others=0.0)
    compare(machine.call("c", 0.03), machine.call("r", 0.03), TARGET, clock=machine.clock)
    assert machine.pauses == []


def preempted(machine: Machine, name: str, seconds: float, *, seed: int) -> Call:
    """Work of so many seconds, in which other processes have the processor for up to five times as long."""
    chance = random.Random(seed)

    def run() -> None:
        machine.calls.append(name)
        machine.cpu_s += seconds
        machine.wall_s += seconds * chance.uniform(1, 6)

    return run


def test_on_a_disturbed_machine_the_ratio_is_that_of_the_times_on_the_processor() -> None:
    machine = Machine()
    calls = preempted(machine, "c", 0.03, seed=1), preempted(machine, "r", 0.06, seed=2)
    comparison = compare(*calls, TARGET, clock=machine.clock)
    assert (comparison.noisy, comparison.by_processor) == (False, True)
    assert (comparison.low, comparison.ratio, comparison.high) == pytest.approx((0.5, 0.5, 0.5))
    assert comparison.candidate_p50_ms > 40, "the wall time is reported as measured"


def test_a_candidate_that_waits_is_not_taken_for_fast_because_it_computes_little() -> None:
    machine = Machine(others=1.0)

    def wait() -> None:
        machine.wall_s += 0.06
        machine.cpu_s += 0.006

    comparison = compare(wait, machine.call("r", 0.06), TARGET, clock=machine.clock)
    assert comparison.noisy
    assert comparison.ratio == pytest.approx(1)


@pytest.mark.parametrize(
    ("target", "cpu_bound"), [(Target(threads=2), True), (TARGET, False), (Target(device="cuda"), True)]
)
def test_elsewhere_the_ratio_is_that_of_the_clock_however_disturbed(target: Target, cpu_bound: bool) -> None:
    machine = Machine(others=1.0)
    candidate = machine.call("c", 0.03)

    def reference() -> None:
        machine.wall_s += 0.06
        machine.cpu_s += 0.03

    comparison = compare(candidate, reference, target, cpu_bound=cpu_bound, clock=machine.clock)
    assert comparison.noisy
    assert comparison.ratio == pytest.approx(0.5)


def three_disturbed(machine: Machine, calls_of_an_attempt: int) -> Callable[[], float]:
    """Calls that get a fifth of a processor in the first attempt, three fifths in the second, two in the third."""

    def seconds() -> float:
        machine.share = (0.2, 0.6, 0.4)[len(machine.calls) // calls_of_an_attempt]
        return 0.03

    return seconds


def test_the_pairs_of_three_disturbed_attempts_are_put_together() -> None:
    machine = Machine()
    machine.others = 1.0
    seconds = three_disturbed(machine, 2 * (WARM_UP_CALLS + SCREENING.minimum))
    comparison = compare(machine.call("c", seconds), machine.call("r", seconds), SEVERAL_THREADS, clock=machine.clock)
    assert comparison.noisy
    assert comparison.samples == 3 * SCREENING.minimum
    assert comparison.cpu_over_wall == pytest.approx(0.4)


def test_the_least_disturbed_of_three_disturbed_calibrations_is_kept() -> None:
    machine = Machine()
    machine.others = 1.0
    seconds = three_disturbed(machine, WARM_UP_CALLS + 20)
    calibration = calibrate(machine.call("r", seconds), SEVERAL_THREADS, samples=20, clock=machine.clock)
    assert calibration.noisy
    assert calibration.samples == 20
    assert calibration.cpu_over_wall == pytest.approx(0.6)


def test_a_measurement_that_is_quiet_at_the_second_attempt_is_not_flagged() -> None:
    machine = Machine(others=1.0)
    first = 2 * (WARM_UP_CALLS + SCREENING.minimum)

    def seconds() -> float:
        machine.others = 1.0 if len(machine.calls) < first else 0.0
        return 0.03

    comparison = compare(machine.call("c", seconds), machine.call("r", seconds), SEVERAL_THREADS, clock=machine.clock)
    assert not comparison.noisy
    assert len(machine.calls) == 2 * first


@pytest.mark.parametrize(("target", "cpu_bound"), [(Target(threads=2), True), (TARGET, False)])
def test_the_share_of_the_processor_is_no_sign_where_work_waits_or_has_threads(target: Target, cpu_bound: bool) -> None:
    machine = Machine(share=0.1)
    comparison = compare(
        machine.call("c", 0.03), machine.call("r", 0.03), target, cpu_bound=cpu_bound, clock=machine.clock
    )
    assert not comparison.noisy


def test_with_several_lengths_every_round_has_each_length_once_and_each_model_goes_first_in_turn() -> None:
    machine = Machine()
    candidate = [machine.call(name, 0.03) for name in "ab"]
    reference = [machine.call(name, 0.03) for name in "xy"]
    comparison = compare(candidate, reference, TARGET, pairs=Pairs(12, 12), clock=machine.clock)
    warm_up = "".join(name * WARM_UP_CALLS_PER_LENGTH for name in "abxy")
    assert "".join(machine.calls) == warm_up + "axybxaby" * (MIN_ROUNDS // 2)
    assert comparison.samples == 2 * MIN_ROUNDS


def test_a_length_counts_by_the_time_that_it_takes() -> None:
    machine = Machine()
    candidate = [machine.call("short", 0.03), machine.call("long", 0.20)]
    reference = [machine.call("short", 0.06), machine.call("long", 0.25)]
    comparison = compare(candidate, reference, TARGET, clock=machine.clock)
    assert comparison.ratio == pytest.approx(0.23 / 0.31)


def test_a_stall_of_one_call_does_not_move_the_ratio_of_several_lengths() -> None:
    machine = Machine()

    def stalling() -> float:
        return 9.0 if len(machine.calls) == 21 else 0.05

    lengths = [machine.call("c", stalling), machine.call("c", stalling)]
    comparison = compare(lengths, [machine.call("r", 0.1)] * 2, TARGET, clock=machine.clock)
    assert machine.wall_s > 9
    assert comparison.ratio == pytest.approx(0.5)


def test_percentiles_are_over_the_calls_of_all_lengths_and_the_mean_over_the_lengths() -> None:
    machine = Machine()
    lengths = [machine.call(str(length), 0.03 + length / 1000) for length in range(20)]
    calibration = calibrate(lengths, TARGET, clock=machine.clock)
    assert calibration.samples == 160, "whole rounds"
    assert calibration.p50_ms == pytest.approx(39.5)
    assert calibration.p95_ms == pytest.approx(48)
    assert calibration.call_ms == calibration.mean_ms == pytest.approx(39.5)
    alone = calibrate(machine.call("r", 0.05), TARGET, clock=machine.clock)
    assert alone.mean_ms is None
    assert alone.call_ms == pytest.approx(50)


def test_calls_of_different_lengths_are_not_compared() -> None:
    machine = Machine()
    calls = [machine.call("c", 0.03)] * 2
    with pytest.raises(ValueError, match=r"zip\(\) argument 2 is shorter"):
        compare(calls, calls[:1], TARGET, clock=machine.clock)


@pytest.mark.parametrize("pairs", [SCREENING, THOROUGH, FOR_P99])
@pytest.mark.parametrize("lengths", [1, 2, 3, 20])
def test_however_many_lengths_there_are_the_pairs_are_as_many_and_the_rounds_even(pairs: Pairs, lengths: int) -> None:
    rounds = pairs.rounds(lengths)
    assert rounds.minimum * lengths >= pairs.minimum
    assert rounds.minimum <= rounds.maximum
    assert rounds.minimum % 2 == rounds.maximum % 2 == 0
    assert rounds.minimum >= MIN_ROUNDS


def test_calls_run_with_the_threads_of_the_target_without_gradients_and_garbage_collection() -> None:
    before = torch.get_num_threads()
    conditions = set()

    def look() -> None:
        conditions.add((torch.get_num_threads(), torch.is_inference_mode_enabled(), gc.isenabled()))

    def fail() -> None:
        raise ArithmeticError("no such kernel")

    calibrate(look, Target(threads=before + 1), samples=3)
    assert conditions == {(before + 1, True, False)}
    with pytest.raises(ArithmeticError, match="no such kernel"):
        calibrate(fail, Target(threads=before + 1))
    assert (torch.get_num_threads(), torch.is_inference_mode_enabled(), gc.isenabled()) == (before, False, True)


def test_no_step_of_work_runs_while_a_call_is_timed() -> None:
    has_run = threading.Event()
    ran_meanwhile = []

    def step() -> None:
        with measurement_gate.compute_step():
            has_run.set()

    worker = threading.Thread(target=step)

    def call() -> None:
        if worker.ident is None:
            worker.start()
        ran_meanwhile.append(has_run.wait(0.02))

    calibrate(call, TARGET, samples=5, cpu_bound=False, clock=Clock())  # Which nobody disturbs: one attempt.
    worker.join(timeout=60)
    assert has_run.is_set()
    assert not any(ran_meanwhile)


def comparison_of(ratio: float, low: float, high: float, *, noisy: bool = False) -> Comparison:
    return Comparison(
        ratio=ratio,
        low=low,
        high=high,
        samples=16,
        candidate_p50_ms=1.0,
        candidate_p95_ms=None,
        reference_p50_ms=2.0,
        reference_p95_ms=None,
        cpu_over_wall=1.0,
        noisy=noisy,
    )


def test_milliseconds_are_the_ratio_times_what_the_reference_took_in_quiet() -> None:
    calibration = Calibration(p50_ms=40, p95_ms=50, p99_ms=None, samples=150, cpu_over_wall=1.0, noisy=False)
    comparison = comparison_of(0.5, 0.45, 0.6)
    p50, ratio = latency("latency_p50", 40, comparison, calibration, samples=16), latency_ratio(comparison)
    assert (p50.value, p50.low, p50.high, p50.unit, p50.samples) == (20, 18, 24, "ms", 16)
    assert (ratio.value, ratio.low, ratio.high, ratio.unit) == (0.5, 0.45, 0.6, "of baseline")
    assert p50.direction is ratio.direction is Direction.MINIMIZE
    noisy = replace(calibration, noisy=True)
    assert latency("latency_p50", 40, comparison, noisy, samples=16).noisy, "as good as the calibration"


def test_the_pairs_for_a_99th_percentile_are_enough_for_it_on_both_sides() -> None:
    machine = Machine()
    calibration = calibrate(machine.call("r", 0.05), TARGET, samples=FOR_P99.minimum, clock=machine.clock)
    comparison = compare(machine.call("c", 0.03), machine.call("r", 0.05), TARGET, pairs=FOR_P99, clock=machine.clock)
    assert calibration.p99_ms is not None
    assert comparison.samples >= 662


def test_what_was_kept_before_a_field_was_added_can_still_be_read() -> None:
    calibration = Calibration(p50_ms=40, p95_ms=None, p99_ms=None, samples=20, cpu_over_wall=1.0, noisy=False)
    older = {
        name: value for name, value in calibration.to_json().items() if name not in ("mean_ms", "others", "clock_mhz")
    }
    assert Calibration.from_json(older) == calibration
