"""Peak memory of a process that serves a saved model, above that of the same process without a model.

``python -m autoopt.objectives.timing.memory_process FOLDER TARGET`` is that process. It imports everything that serving
needs, notes its memory as the floor, loads the model, answers, and prints the bytes of its peak above the floor.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.target import Target
from autoopt.strategies.errors import EnvironmentProblem
from autoopt.strategies.system import measurement_gate
from autoopt.strategies.system.processes import last_line

MEMORY = "memory"
TIMEOUT_S = 600.0
CALLS = 3
"""Per length. The first ones allocate what later ones reuse."""

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
"""Written to ``clear_refs``, resets the peak to the current size (proc(5))."""


def measure_memory(folder: Path, target: Target, *, runs: int = 1) -> Measurement:
    """Serve a saved candidate in a process of its own, and return the peak in bytes above the floor.

    On a GPU it is the GPU's memory. Several ``runs`` give the median, with minimum and maximum as the interval; a run
    takes some seconds, mostly for imports. Raises ``EnvironmentProblem`` if the process fails, out of memory included.
    """
    peaks = [_run_process(folder, target) for _ in range(runs)]
    return Measurement(
        name=MEMORY,
        value=median(peaks),
        unit="bytes",
        direction=Direction.MINIMIZE,
        low=min(peaks),
        high=max(peaks),
        samples=runs,
    )


def _run_process(folder: Path, target: Target) -> float:
    command = [
        sys.executable,
        "-m",
        "autoopt.objectives.timing.memory_process",
        str(folder),
        json.dumps(target.to_json()),
    ]
    try:
        with measurement_gate.compute_step():  # Not while a latency is measured.
            process = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise EnvironmentProblem(f"measuring the memory of {folder} did not finish within {TIMEOUT_S:.0f} s") from None
    if process.returncode != 0:
        cause = last_line(process.stderr)
        raise EnvironmentProblem(
            f"the process that measures the memory of {folder} exited with {process.returncode}: {cause}"
        )
    return float(process.stdout)


def main(arguments: Sequence[str]) -> None:
    """Serve the model and print the number of bytes."""
    folder, target = Path(arguments[0]), Target.from_json(json.loads(arguments[1]))
    sys.stdout.write(f"{peak_above_floor(folder, target)}\n")


def peak_above_floor(folder: Path, target: Target) -> int:
    """Load the model and answer; return the bytes it took. Valid once per process."""
    import torch

    torch.set_num_threads(target.threads)
    _import_all(folder)
    floor = _floor(target)
    _serve(folder, target)
    return max(0, _peak(target) - floor)


def _import_all(folder: Path) -> None:
    """Import what serving imports, so that no library counts as part of the model."""
    import safetensors.torch
    import torch
    import transformers

    from autoopt.objectives import tasks
    from autoopt.strategies.saving import describe

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for name in (*config["architectures"], "AutoTokenizer", "PreTrainedTokenizerFast"):
        getattr(transformers, name)  # Transformers imports a model's file on first access.
    tasks.open_task(describe(folder)["task"])
    safetensors.torch.save({"warm": torch.ones(2, 2) @ torch.ones(2, 2)})


def _serve(folder: Path, target: Target) -> None:
    import torch

    from autoopt.objectives.tasks import open_task
    from autoopt.objectives.timing.model_call import model_calls, placed
    from autoopt.strategies.serving import load_for_serving

    model: Any = load_for_serving(folder, open_task=open_task).model
    with torch.inference_mode(), placed(target, model):
        for call in model_calls(model, target):
            for _ in range(CALLS):
                call()
        if target.is_cuda:
            torch.cuda.synchronize(target.device)


def _floor(target: Target) -> int:
    """Return the bytes in use, and reset the peak."""
    if target.is_cuda:
        import torch

        torch.cuda.reset_peak_memory_stats(target.device)
        return torch.cuda.memory_allocated(target.device)
    try:
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return _peak(target)  # If the peak cannot be reset, it is the floor.
    return _status("VmRSS")


def _peak(target: Target) -> int:
    if target.is_cuda:
        import torch

        return torch.cuda.max_memory_allocated(target.device)
    if _STATUS.is_file():
        return _status("VmHWM")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _status(key: str) -> int:
    line = re.search(rf"^{key}:\s*(\d+) kB$", _STATUS.read_text(encoding="utf-8"), re.MULTILINE)
    if line is None:
        raise EnvironmentProblem(f"{_STATUS} has no {key}, so memory cannot be measured on this machine")
    return 1024 * int(line[1])


if __name__ == "__main__":
    main(sys.argv[1:])
