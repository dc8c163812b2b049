"""The best weights of a training by a validation score: which are kept, when it stops, and that it resumes exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch

from autoopt.objectives.monitor import ValidationMonitor
from autoopt.strategies.adaptation.bottleneck_adapters import BottleneckAdapters
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.adaptation.gradual_unfreezing import GradualUnfreezing
from autoopt.strategies.adaptation.lora import LoRA
from autoopt.strategies.adaptation.top_layers import TopLayers
from autoopt.strategies.adaptation.weight_averaging import WeightAveraging
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training import checkpoints, precision, progress, validation
from autoopt.strategies.training.loop import Schedule, train
from autoopt.strategies.training.validation import Validation, chance_margin, plan
from tests import tiny

SCHEDULE = Schedule(learning_rate=2e-3, epochs=4, batch_size=8)
"""With 24 examples: 3 steps an epoch, 12 in all."""


@dataclass
class ScriptedMonitor:
    """Gives these scores in turn and remembers the weights that it was shown."""

    scores: list[float]
    size: int = 24
    shown: list[str] = field(default_factory=list)

    def score(self, candidate: Candidate, *, limit: int) -> float:
        torch.rand(3)  # What else draws random numbers must not matter.
        self.shown.append(tiny.digest(candidate.model))
        return self.scores[len(self.shown) - 1]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Score even a training of a few steps, six times."""
    monkeypatch.setattr(validation, "EXAMPLES", (1, 24))
    monkeypatch.setattr(validation, "LOOKS", (6, 6))


def trained(scores: list[float], *, margin: float = 0.0) -> tuple[str, list[str], int, list[int]]:
    """The digest of the final weights, those of the scored ones, the steps counted, and the steps that were done."""
    model, monitor, done = tiny.model(layers=1), ScriptedMonitor(scores), list[int]()
    given = replace(tiny.candidate(layers=1), model=model)
    watched = Validation(lambda: monitor.score(given, limit=24), looks=len(scores), margin=margin)
    with progress.reporting(lambda step, _: done.append(step), interval_s=0):
        losses = train(model, given.features(), SCHEDULE, pad_token_id=0, effort=1, seed=0, validation=watched)
    assert not model.training
    return tiny.digest(model), monitor.shown, len(losses), done


@pytest.mark.parametrize(
    ("scores", "margin", "kept"),
    [
        ([0.5, 0.6, 0.7, 0.8], 0.0, 3),
        ([0.5, 0.9, 0.7, 0.8], 0.0, 1),
        ([0.5, 0.9, 0.7, 0.85], 0.1, 3),
        ([0.5, 0.9, 0.95, 0.85], 0.06, 2),
        ([0.9, 0.85, 0.8, 0.75], 0.06, 1),
        ([0.5, 0.9, 0.9, 0.8], 0.0, 2),
    ],
)
def test_the_latest_weights_within_the_margin_of_the_best_score_are_kept(
    scores: list[float], margin: float, kept: int
) -> None:
    final, shown, steps, done = trained(scores, margin=margin)
    assert final == shown[kept]
    assert steps == 3 * (kept + 1)
    assert len(done) == 12


def test_it_stops_after_three_scores_in_a_row_below_the_best() -> None:
    final, shown, steps, done = trained([0.5, 0.9, 0.8, 0.7, 0.6, 1.0])
    assert (steps, done[-1], len(shown)) == (4, 10, 5)
    assert final == shown[1]


def test_scoring_changes_nothing_of_a_training_that_improves_to_its_end() -> None:
    alone = tiny.model(layers=1)
    train(alone, tiny.candidate(layers=1).features(), SCHEDULE, pad_token_id=0, effort=1, seed=0)
    assert trained([0.1, 0.2, 0.3, 0.4])[0] == tiny.digest(alone)


class Cut(BaseException):
    """What ends a process from outside."""


def cut_at(steps: int) -> Callable[[int, int], None]:
    def look(done: int, total: int) -> None:
        if done == steps:
            raise Cut

    return look


SCORES = [0.5, 0.9, 0.6, 0.7, 0.3, 0.2]


class RepeatingMonitor(ScriptedMonitor):
    """Scores each weights as in an uninterrupted training, whatever was scored before."""

    def score(self, candidate: Candidate, *, limit: int) -> float:
        digest = tiny.digest(candidate.model)
        if digest not in self.shown:
            self.shown.append(digest)
        return self.scores[self.shown.index(digest)]


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("cuts", [(3,), (4,), (7,), (10,), (3, 8), (4, 10)])
def test_a_training_that_resumes_keeps_the_same_best_weights(cuts: tuple[int, ...], tmp_path: Path) -> None:
    monitor = RepeatingMonitor(SCORES)
    given = replace(tiny.candidate(layers=1), monitor=monitor)
    given.model.config.problem_type = "single_label_classification"  # The first loss would set it.
    strategy = FullFinetuning(learning_rate=2e-3, epochs=4, batch_size=8)
    whole = strategy.apply(given, effort=1, seed=0)
    for steps in cuts:
        with (
            pytest.raises(Cut),
            checkpoints.checkpointing(tmp_path / "stage", interval_s=0),
            progress.reporting(cut_at(steps), interval_s=0),
        ):
            strategy.apply(given, effort=1, seed=0)
    with checkpoints.checkpointing(tmp_path / "stage", interval_s=0):
        again = strategy.apply(given, effort=1, seed=0)
    assert len(monitor.shown) == 5  # The same weights were scored each time.
    assert tiny.digest(again.model) == tiny.digest(whole.model) == monitor.shown[1]
    assert again.history == whole.history
    assert whole.history[-1] == "full fine-tuning, 4 steps"


@dataclass
class RecordingMonitor:
    """A real monitor that remembers what it was shown."""

    monitor: ValidationMonitor
    answers: list[torch.Tensor] = field(default_factory=list)

    @property
    def size(self) -> int:
        return self.monitor.size

    def score(self, candidate: Candidate, *, limit: int) -> float:
        self.answers.append(tiny.logits(candidate))
        self.monitor.score(candidate, limit=limit)
        return float(len(self.answers))


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    "strategy",
    [
        BottleneckAdapters(epochs=3, batch_size=8),
        FullFinetuning(epochs=3, batch_size=8, gradient_checkpointing=True),
        GradualUnfreezing(epochs=3, batch_size=8),
        LoRA(epochs=3, batch_size=8),
        TopLayers(count=1, epochs=3, batch_size=8),
    ],
    ids=lambda strategy: strategy.name,
)
def test_what_is_scored_last_answers_as_the_finished_model(strategy: Strategy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "training_precision", lambda _: torch.float32)
    monitor = RecordingMonitor(ValidationMonitor.of(tiny.examples(24, seed=3)))
    finished = strategy.apply(replace(tiny.candidate(layers=3), monitor=monitor), effort=1, seed=0)
    assert len(monitor.answers) == 6
    torch.testing.assert_close(monitor.answers[-1], tiny.logits(finished), atol=1e-4, rtol=1e-4)
    assert not torch.equal(monitor.answers[0], monitor.answers[-1])


@pytest.mark.usefixtures("short")
def test_an_average_of_weights_is_not_replaced_by_those_of_one_step() -> None:
    monitor, strategy = ScriptedMonitor([]), WeightAveraging(epochs=3, batch_size=8)
    given = tiny.candidate(layers=1)
    watched = strategy.apply(replace(given, monitor=monitor), effort=1, seed=0)
    assert monitor.shown == []
    assert tiny.digest(watched.model) == tiny.digest(strategy.apply(given, effort=1, seed=0).model)


@pytest.mark.parametrize(
    ("trained_on", "available", "expected"),
    [
        (0, 3000, (0, 0)),
        (900, 3000, (0, 0)),
        (3000, 872, (3, 300)),
        (9000, 3000, (5, 500)),
        (9000, 200, (10, 200)),
        (9000, 60, (0, 0)),
        (1_000_000, 3000, (10, 500)),
    ],
)
def test_scoring_takes_a_tenth_of_the_time_at_most_and_is_left_out_if_that_says_little(
    trained_on: int, available: int, expected: tuple[int, int]
) -> None:
    assert plan(trained_on, available) == expected
    looks, examples = expected
    assert looks * examples <= 0.1 * 3 * trained_on


def test_fewer_examples_leave_more_to_chance() -> None:
    assert chance_margin(500) == pytest.approx(0.01)
    assert chance_margin(125) == pytest.approx(0.02)
