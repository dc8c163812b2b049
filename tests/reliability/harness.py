"""Real searches in processes of their own, and what must hold after each, by a witness that the trials write."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import psutil

from autoopt.search.backends.optuna_storage import database_url, storage_at
from autoopt.strategies.system import failpoints
from tests.places import ROOT
from tests.search.samples import write_experiment

PATIENCE_S = 300.0
MARK = "AUTOOPT_TEST_RUN"
"""Environment variable by which the processes of one run are recognized, whoever is their parent."""
REPORT = ROOT / "tests" / "reliability" / "RELIABILITY.json"


def promise(name: str, *, promised: str, reached: str, seed: int | None, started_at: float) -> None:
    """Add a figure to ``RELIABILITY.json``."""
    figures = json.loads(REPORT.read_text(encoding="utf-8")) if REPORT.is_file() else {}
    minutes = round((time.monotonic() - started_at) / 60, 1)
    figures[name] = {"promised": promised, "reached": reached, "seed": seed, "minutes": minutes}
    REPORT.write_text(json.dumps(dict(sorted(figures.items())), indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Tally:
    """What must be zero after a search, and the number of its ended trials."""

    ended: int
    lost: int
    """Results that a trial had written and the study does not have."""
    twice: int
    """Trials that began again after their result was written."""
    running: int
    """Rows of trials that nobody runs."""
    duplicates: int
    """Numbers or recipes that occur twice among the ended trials."""

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.twice or self.running or self.duplicates)


@dataclass
class Run:
    """One command in its own session, with its output in files."""

    process: subprocess.Popen[bytes]
    mark: str
    stdout: Path
    stderr: Path

    @property
    def errors(self) -> str:
        return self.stderr.read_text(encoding="utf-8", errors="replace")

    @property
    def last_line(self) -> str:
        return (self.errors.strip().splitlines() or [""])[-1]

    def wait_for(self, text: str, *, patience_s: float = PATIENCE_S) -> None:
        """Wait until the command has printed ``text`` to stderr."""
        given_up_at = time.monotonic() + patience_s
        while text not in self.errors:
            assert self.process.poll() is None, f"it ended before '{text}': {self.errors}"
            assert time.monotonic() < given_up_at, f"no '{text}' in: {self.errors}"
            time.sleep(0.02)

    def wait(self, *, patience_s: float = PATIENCE_S) -> int:
        """Return the exit code."""
        return self.process.wait(patience_s)

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def processes(self) -> list[psutil.Process]:
        """Return the processes that this run has started and that still run."""
        return [process for process in psutil.process_iter() if self._is_own(process)]

    def leftovers(self, *, patience_s: float = 10.0) -> list[str]:
        """Return the command lines of processes that outlive the command by more than ``patience_s``."""
        given_up_at = time.monotonic() + patience_s
        while (left := self.processes()) and time.monotonic() < given_up_at:
            time.sleep(0.2)
        return [" ".join(process.cmdline())[:100] for process in left]

    def end(self) -> None:
        """Kill what is left of it."""
        for process in self.processes():
            process.kill()
        self.process.wait(PATIENCE_S)

    def _is_own(self, process: psutil.Process) -> bool:
        try:
            return bool(process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False


@dataclass
class Study:
    """A quick study on the tiny model: its folder, and the commands on it."""

    folder: Path
    trials: int = 4
    workers: int = 2
    changes: dict[str, Any] = field(default_factory=dict)
    root: Path = Path()
    """By default in the folder."""

    def __post_init__(self) -> None:
        search = {"trials": self.trials, "seed": 0, "scheduler": "none", "sampler": "random"}
        self.file = write_experiment(
            self.folder / "given",
            **{
                "objectives": ["quality", "size"],
                "search": {**search, **self.changes.pop("search", {})},
                "resources": {"workers": self.workers},
                "strategies": {
                    "others": False,
                    "full_finetuning": {"epochs": 2},
                    "linear_probe": True,
                    "layer_drop": True,
                    "recovery_finetuning": {"epochs": 3},
                    "half_precision": True,
                    "label_smoothing": True,
                },
                **self.changes,
            },
        )
        self.root = self.folder / "root" if self.root == Path() else self.root
        self.ledger = self.folder / "ledger"

    @property
    def path(self) -> Path:
        return self.root / "studies" / "news"

    def command(self, *words: object, **environment: str) -> Run:
        """Start ``autoopt WORDS``."""
        mark = uuid.uuid4().hex
        stdout, stderr = (self.folder / f"{mark}.{name}" for name in ("out", "err"))
        with stdout.open("wb") as out, stderr.open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "autoopt.search.cli.main", *map(str, words)],
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                start_new_session=True,
                env={**os.environ, MARK: mark, failpoints.LEDGER: str(self.ledger), **environment},
            )
        return Run(process, mark, stdout, stderr)

    def search(self, *options: object, **environment: str) -> Run:
        return self.command("search", self.file, "--root", self.root, *options, **environment)

    @contextmanager
    def searching(self, *options: object, **environment: str) -> Iterator[Run]:
        """Run a search within the block; what is left of it is killed at the end."""
        run = self.search(*options, **environment)
        try:
            yield run
        finally:
            run.end()

    def finish(self, *options: object, **environment: str) -> Run:
        """Run or resume the search to its end, which must be a good one."""
        with self.searching(*options, **environment) as run:
            code = run.wait()
        assert code == 0, run.errors
        return run

    def failpoint(self, name: str, action: str) -> dict[str, str]:
        """Return the environment in which the first process that comes to the failpoint acts."""
        return {failpoints.FAILPOINT: f"{name}:{action}:{self.folder / f'{name}.{action}'}"}

    def was_hit(self, name: str, action: str) -> bool:
        return (self.folder / f"{name}.{action}").exists()

    def tally(self, url: str | None = None) -> Tally:
        rows = self._rows(url)
        ended = [row for row in rows if row.state.is_finished() and "lost" not in row.user_attrs]
        recipes = [row.user_attrs["record"]["recipe_id"] for row in ended]
        numbers = [row.number for row in rows]
        known = {(row.number, recipe) for row, recipe in zip(ended, recipes, strict=True)}
        written, twice = set[tuple[int, str]](), set[str]()
        for event, number, recipe in self.events():
            if event == "end":
                written.add((number, recipe))
            elif recipe in {recipe for _, recipe in written}:
                twice.add(recipe)
        return Tally(
            ended=len(ended),
            lost=len(written - known),
            twice=len(twice),
            running=sum(row.state.name == "RUNNING" for row in rows),
            duplicates=_repeated(numbers) + _repeated(recipes),
        )

    def records(self) -> list[dict[str, Any]]:
        """Return the records of the ended trials, as JSON."""
        return [row.user_attrs["record"] for row in self._rows() if "lost" not in row.user_attrs]

    def _rows(self, url: str | None = None) -> list[optuna.trial.FrozenTrial]:
        storage = storage_at(url or database_url(self.root / "optuna.db"))
        try:
            return optuna.load_study(study_name="news", storage=storage).get_trials()
        finally:
            storage.engine.dispose()

    def events(self) -> list[tuple[str, int, str]]:
        """Return what the trials have written to the ledger: event, number, recipe."""
        return [(event, number, recipe) for event, number, recipe, _ in self.lines()]

    def lines(self) -> list[tuple[str, int, str, int]]:
        """Return the same with the process that wrote it."""
        lines = self.ledger.read_text(encoding="utf-8").splitlines() if self.ledger.exists() else []
        fields = [line.split() for line in lines]
        return [(event, int(number), recipe, int(process)) for event, number, recipe, process in fields]

    def remnants(self) -> list[str]:
        """Return unfinished files and folders under the root; those of killed processes excepted."""
        return [str(path) for path in self.root.rglob(".*") if path.name not in (".lock",)]

    def clear(self) -> None:
        """Forget everything but the experiment."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.ledger.unlink(missing_ok=True)


def wait_until(condition: Callable[[], bool], *, patience_s: float = PATIENCE_S) -> None:
    given_up_at = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < given_up_at, "it did not happen"
        time.sleep(0.05)


def kill(run: Run) -> None:
    """Kill the command itself with SIGKILL, and wait for the processes that follow it."""
    run.send(signal.SIGKILL)
    run.process.wait(PATIENCE_S)


def _repeated(values: list[Any]) -> int:
    return sum(count - 1 for count in Counter(values).values())
