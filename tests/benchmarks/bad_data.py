"""How long it takes until a command says what is wrong with data: every case of ``tests/search/bad_data.py``.

    python tests/benchmarks/bad_data.py [--command plan|search]

Each case is a process of its own, from its start to its end, imports included. About two minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # For tests.search.

from tests.search.bad_data import CASES, BadData, write_models

PROMISED_S = 5.0
SHOWN = 8
ROW = "{:<44} {:>9}"


def seconds(case: BadData, command: str, folder: Path, models: Path) -> float:
    """How long the command took; raises ``ValueError`` where it did not end as it should."""
    file = case.write(folder / "given", models=models)
    began = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-m", "autoopt.search.cli.main", command, str(file), "--root", str(folder / "root")],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    took = time.perf_counter() - began
    if ran.returncode != 2 or not re.search(case.message, ran.stderr) or (folder / "root").exists():
        raise ValueError(f"ended with {ran.returncode}: {ran.stderr}")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--command", choices=("plan", "search"), default="search")
    options = parser.parse_args()
    took = {}
    with tempfile.TemporaryDirectory() as work:
        models = write_models(Path(work) / "models")
        for name, case in CASES.items():
            with tempfile.TemporaryDirectory(dir=work) as folder:
                took[name] = seconds(case, options.command, Path(folder), models)
    for name in sorted(took, key=took.__getitem__, reverse=True)[:SHOWN]:
        print(ROW.format(name, f"{took[name]:.2f} s"))
    print(ROW.format(f"median of {len(took)} cases", f"{statistics.median(took.values()):.2f} s"))
    print(ROW.format(f"longer than {PROMISED_S:g} s", sum(value > PROMISED_S for value in took.values())))


if __name__ == "__main__":
    main()
