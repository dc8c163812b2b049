"""Hand-made records and outcomes, and a study of the tiny model that really ran, in this process and without Ray."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.search.experiment.sections import ResourcesSection
from autoopt.search.paths import StudyFolder
from autoopt.search.ports import Watcher
from autoopt.search.space.recipe import Recipe
from autoopt.search.study.driver import Driver
from autoopt.search.study.outcome import Outcome
from autoopt.search.study.verification import Verified
from autoopt.search.trial.execution import execute
from autoopt.search.trial.record import StageRecord, State, TrialRecord
from autoopt.strategies import saving
from autoopt.strategies.acceleration.int8_dynamic import Int8Dynamic
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.compression.layer_drop import LayerDrop
from autoopt.strategies.compression.recovery_finetuning import RecoveryFinetuning
from tests import tiny

HOSTILE = "\x1b]0;owned\x07\x1b[2J[red]x[/red]\u202eevil\x9b31m\nsecond line"
"""Sets a title, clears the screen, marks up, turns the writing round, colours, begins a line."""
BASELINE = Recipe.of([FullFinetuning()])
SMALL = Recipe.of([LayerDrop(), RecoveryFinetuning(), Int8Dynamic()])


def quality(value: float, low: float, high: float, name: str = "quality") -> Measurement:
    return Measurement(name=name, value=value, unit="", direction=Direction.MAXIMIZE, low=low, high=high, samples=400)


def measured(quality_value: float, ratio: float, size: float = 60e6) -> dict[str, Measurement]:
    """A baseline of 30 ms, all intervals a few percent wide."""

    def around(name: str, value: float, unit: str) -> Measurement:
        return Measurement(
            name=name,
            value=value,
            unit=unit,
            direction=Direction.MINIMIZE,
            low=0.97 * value,
            high=1.03 * value,
            samples=151,
        )

    return {
        "quality": quality(quality_value, quality_value - 0.02, quality_value + 0.01),
        "latency_p50": around("latency_p50", 30 * ratio, "ms"),
        "latency_ratio": around("latency_ratio", ratio, "of baseline"),
        "size": Measurement.exact("size", size, "B", Direction.MINIMIZE),
    }


def record(number: int = 3, recipe: Recipe = SMALL, **changes: Any) -> TrialRecord:
    complete = TrialRecord(
        number,
        recipe,
        State.COMPLETE,
        measured(0.965, 0.25, 30e6),
        {"latency_p50 <= 0.5 * baseline": -0.5},
        (StageRecord("layer_drop", 0.4, reused=False), StageRecord("recovery_finetuning", 75.0, reused=True)),
        seconds=80.0,
    )
    return replace(complete, **changes)


def baseline(number: int = 0) -> TrialRecord:
    return record(number, BASELINE, measurements=measured(0.97, 1.0, 90e6), violations={}, stages=())


def verified(of: TrialRecord, **more: Any) -> Verified:
    return Verified(of, {"test_quality": quality(0.955, 0.94, 0.97, "test_quality")}, **more)


def outcome(**changes: Any) -> Outcome:
    best, fast = record(3), record(5, measurements=measured(0.951, 0.125, 15e6))
    named = {"champion": 3, "fastest": 5, "smallest": 5, "balanced": 3}
    found = Outcome("news", verified(baseline()), (verified(best), verified(fast)), named, versions={3: 1, 5: 2})
    return replace(found, **changes)


def write_experiment(folder: Path, **changes: Any) -> Path:
    """An experiment on the tiny model and 120 texts, all of it in ``folder``; ``changes`` replace top-level keys."""
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([example.text, tiny.LABELS[tiny.class_of(example)]] for example in tiny.examples(160, seed=4))
    write_model(folder / "model")
    content: Mapping[str, Any] = {
        "study": "news",
        "model": str(folder / "model"),
        "data": {
            "source": str(folder / "texts.csv"),
            "max_length": 16,
            "split": {"train": 60, "validation": 40, "test": 40},
        },
        "objectives": ["quality", "latency_p50"],
        "budget": ["size <= 10MB"],
        "search": {"trials": 3, "seed": 0},
        "resources": {"workers": 1},
        "strategies": {
            "others": False,
            "full_finetuning": {"epochs": 2},
            "layer_drop": True,
            "recovery_finetuning": True,
        },
        **changes,
    }
    path = folder / "news.yaml"
    path.write_text(yaml.safe_dump(dict(content)), encoding="utf-8")
    return path


def write_model(folder: Path, *, layers: int = 4) -> None:
    """Save the tiny model as a person would have it: without what autoopt adds."""
    saving.save(tiny.candidate(layers=layers), folder)
    (folder / saving.DESCRIPTION).unlink()
    (folder / saving.MANIFEST).unlink()


def forget_artifact_places() -> None:
    """Make MLflow look up where runs keep their files, as a new process does; it remembers them by the run's id."""
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()


class RecordingAudience:
    """Audience and tracking that record the messages and ignore the rest."""

    def __init__(self, messages: list[str] | None = None) -> None:
        self.messages = [] if messages is None else messages

    def say(self, message: str) -> None:
        self.messages.append(message)

    def sync(self, records: Sequence[TrialRecord]) -> int:
        return len(records)

    def stage(self, number: int, stage: str) -> None: ...
    def tick(self) -> None: ...
    def observe(self, record: TrialRecord) -> None: ...
    def verified(self, model: Verified) -> None: ...
    def record(self, record: TrialRecord) -> None: ...


class Stopped(BaseException):
    """A trial was stopped at a rung; on Ray Tune its thread ends."""


def run_here(
    driver: Driver,
    folder: StudyFolder,
    *,
    resources: ResourcesSection,
    watcher: Watcher,
    meanwhile: Callable[[], object] = lambda: None,
) -> None:
    """What ``ray_tune.runner.run`` does, one trial after the other in this process."""
    meanwhile()
    while assignment := driver.next():
        number = assignment.number
        with contextlib.suppress(Stopped):
            execute(
                assignment,
                folder,
                lambda stage, number=number: watcher.stage(number, stage),  # type: ignore[misc]
                lambda record: judged(driver, record),
            )
        driver.record_result(number)


def judged(driver: Driver, record: TrialRecord) -> None:
    if not driver.should_continue(record):
        raise Stopped
