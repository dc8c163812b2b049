"""Whether a search ends when its timeout says so, and what it has by then.

    python -m tests.benchmarks.time_promise [--sets NAME ...] [--sizes N ...] [--minutes M ...] [--json FILE]

``autoopt search`` is run as a user would, on texts of CLINC150 that are repeated and edited until there are 1,000,
10,000 and 100,000 to train on (and a fifth of that to validate and to test), and on the questions of XQuAD. A line says
how long the whole command took, how many models its front has, after how many seconds the first feasible one was
there, and how many examples were trained on. Kept: never more than 5 % or 15 s over. Three hours on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from autoopt.search.api import open_study
from autoopt.search.backends.optuna_storage import database_url, load_study
from autoopt.search.paths import Root
from autoopt.strategies.candidate import Example
from tests.benchmarks.methods.autoopts_own import row_of
from tests.benchmarks.methods.data_sets import MODEL, Splits, splits_of

SIZES = (1_000, 10_000, 100_000)
MINUTES = (3.0, 10.0, 30.0)
OVER_SHARE, OVER_S = 0.05, 15.0
ROW = "{:<10} {:>8} {:>8} {:>9} {:>7} {:>15} {:>9} {:>8}  {}"


@dataclass(frozen=True)
class Run:
    """One search."""

    set: str
    size: int
    minutes: float
    """Its timeout."""
    seconds: float
    """Of the whole command."""
    models: int
    trials: int
    first_feasible_s: float | None
    trained_on: int
    code: int

    @property
    def kept(self) -> bool:
        return self.seconds <= 60 * self.minutes + max(OVER_S, OVER_SHARE * 60 * self.minutes)

    def __str__(self) -> str:
        first = "never" if self.first_feasible_s is None else f"{self.first_feasible_s:.0f} s"
        took = f"{self.seconds / 60:.2f}"
        verdict = "kept" if self.kept else "BROKEN"
        return ROW.format(
            self.set, self.size, self.minutes, took, self.models, first, self.trained_on, self.trials, verdict
        )


def edited(examples: Sequence[Example], count: int, seed: int) -> Iterator[Example]:
    """Yield ``count`` examples: those that are given, then copies with two words exchanged or one left out."""
    chance = random.Random(seed)
    for number in range(count):
        example = examples[number % len(examples)]
        if number >= len(examples):
            words = example.text.split()
            first, second = chance.randrange(len(words)), chance.randrange(len(words))
            if chance.random() < 0.5 and len(words) > 3:
                del words[first]
            else:
                words[first], words[second] = words[second], words[first]
            words.append(str(number))  # No text is there twice.
            example = Example(" ".join(words), example.label)
        yield example


def data_of(name: str, size: int, folder: Path) -> tuple[Splits, dict[str, str]]:
    """Write the splits and return their files."""
    splits, files = splits_of(name, 0), {}
    shares = {"train": 1.0, "validation": 0.2, "test": 0.2}
    for seed, (part, share) in enumerate(shares.items()):
        examples = getattr(splits.data, part)
        chosen = list(edited(examples, int(share * size), seed)) if size else examples
        path = folder / f"{part}.jsonl"
        path.write_text("".join(json.dumps(row_of(splits, example)) + "\n" for example in chosen), encoding="utf-8")
        files[part] = str(path)
    return splits, files


def run(name: str, size: int, minutes: float) -> Run:
    """Search once in a folder of its own."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        splits, files = data_of(name, size, folder)
        experiment: dict[str, Any] = {
            "study": "promise",
            "task": {"name": splits.task.name},
            "model": MODEL,
            "data": {**files, "max_length": splits.task.max_length},
            "search": {"trials": 1000, "timeout": f"{minutes:g}m"},
        }
        (folder / "experiment.yaml").write_text(json.dumps(experiment), encoding="utf-8")
        root = folder / "root"
        command = [sys.executable, "-m", "autoopt.search.cli.main", "search", "experiment.yaml", "--root", str(root)]
        began, started = datetime.now(), time.monotonic()
        with (folder / "log").open("w") as log:
            code = subprocess.run(command, cwd=folder, stdout=log, stderr=log, check=False).returncode
        seconds = time.monotonic() - started
        print((folder / "log").read_text(encoding="utf-8")[-600:] if code not in (0, 3) else "", file=sys.stderr)
        return _read(root, Run(name, size, minutes, seconds, 0, 0, None, 0, code), began)


def _read(root: Path, run: Run, began: datetime) -> Run:
    """Complete the run with what the study says."""
    result = open_study("promise", root=root)
    study = load_study(database_url(Root(root).optuna_database), "promise")
    feasible = {record.number for record in result.trials if record.feasible and record.number}
    ended = [
        (trial.datetime_complete - began).total_seconds()
        for trial in study.get_trials(deepcopy=False)
        if trial.number in feasible and trial.datetime_complete
    ]
    sample = result.view.experiment.data.max_train_samples
    return Run(
        **{
            **asdict(run),
            "models": len(result.front),
            "trials": len(result.trials),
            "first_feasible_s": min(ended, default=None),
            "trained_on": sample if isinstance(sample, int) else run.size,
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=["clinc150", "xquad"])
    parser.add_argument("--sizes", nargs="*", type=int, default=list(SIZES))
    parser.add_argument("--minutes", nargs="*", type=float, default=list(MINUTES))
    parser.add_argument("--json", type=Path, help="add each run to this file")
    options = parser.parse_args()
    print(ROW.format("set", "texts", "timeout", "minutes", "models", "first feasible", "trained", "trials", ""))
    for name in options.sets:
        for size in options.sizes if name != "xquad" else [0]:
            for minutes in options.minutes:
                ended = run(name, size, minutes)
                print(ended, flush=True)
                if options.json:
                    with options.json.open("a", encoding="utf-8") as lines:
                        lines.write(json.dumps(asdict(ended)) + "\n")


if __name__ == "__main__":
    main()
