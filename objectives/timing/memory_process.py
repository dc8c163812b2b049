"""How much memory a process takes that serves a saved model, above the same process without a model.

``python -m autoopt.objectives.timing.memory_process FOLDER TARGET`` is that process. It imports all that it will need,
notes what it takes, loads the model and answers, and writes the bytes that it took more than that at its peak, loading
included.
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

MEMORY = "memory"
PATIENCE_S = 600.0
CALLS = 3
"""Of each length. The first ones allocate what the later ones use again."""

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"
"""What the kernel is told to take the present size for the peak."""


def measure_memory(folder: Path, target: Target, *, runs: int = 1) -> Measurement:
    """Serve a saved candidate in a process of its own, and return the peak in bytes above the floor.

    On a GPU it is the GPU's memory. Of several ``runs`` it is the median, with the least and the most as the ends of
    its interval; a run takes some seconds, mostly for imports. Raises ``EnvironmentProblem`` where the process ends
    with an error, a lack of memory among them.
    """
    peaks = [_run(folder, target) for _ in range(runs)]
    return Measurement(
        name=MEMORY,
        value=median(peaks),
        unit="bytes",
        direction=Direction.MINIMIZE,
        low=min(peaks),
        high=max(peaks),
        samples=runs,
    )


def _run(folder: Path, target: Target) -> float:
    command = [
        sys.executable,
        "-m",
        "autoopt.objectives.timing.memory_process",
        str(folder),
        json.dumps(target.to_json()),
    ]
    try:
        with measurement_gate.compute_step():  # It would disturb a measurement of latency.
            ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise EnvironmentProblem(
            f"the process that serves {folder} to measure its memory did not end within {PATIENCE_S:.0f} s"
        ) from None
    if ended.returncode != 0:
        last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        raise EnvironmentProblem(
            f"the process that serves {folder} to measure its memory ended with {ended.returncode}: {last}"
        )
    return float(ended.stdout)


def main(arguments: Sequence[str]) -> None:
    """Serve and write the number of bytes."""
    folder, target = Path(arguments[0]), Target.from_json(json.loads(arguments[1]))
    sys.stdout.write(f"{peak_above_floor(folder, target)}\n")


def peak_above_floor(folder: Path, target: Target) -> int:
    """Load and answer in this process, which is good for one such measurement; the bytes that it took."""
    import torch

    torch.set_num_threads(target.threads)
    _import_all(folder)
    floor = _floor(target)
    _serve(folder, target)
    return max(0, _peak(target) - floor)


def _import_all(folder: Path) -> None:
    """Import what loading and answering import, so that no library counts as a part of the model."""
    import safetensors.torch
    import torch
    import transformers

    from autoopt.objectives import tasks
    from autoopt.strategies.saving import describe

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for name in (*config["architectures"], "AutoTokenizer", "PreTrainedTokenizerFast"):
        getattr(transformers, name)  # Transformers imports a model's file when it is first asked for it.
    tasks.open_task(describe(folder)["task"])
    safetensors.torch.save({"warm": torch.ones(2, 2) @ torch.ones(2, 2)})


def _serve(folder: Path, target: Target) -> None:
    import torch

    from autoopt.objectives.tasks import open_task
    from autoopt.objectives.timing.model_call import model_calls, placed
    from autoopt.strategies.saving import load

    model: Any = load(folder, open_task=open_task).model
    with torch.inference_mode(), placed(target, model):
        for call in model_calls(model, target):
            for _ in range(CALLS):
                call()
        if target.is_cuda:
            torch.cuda.synchronize(target.device)


def _floor(target: Target) -> int:
    """Bytes in use; from now on the peak is counted."""
    if target.is_cuda:
        import torch

        torch.cuda.reset_peak_memory_stats(target.device)
        return torch.cuda.memory_allocated(target.device)
    try:
        _CLEAR.write_text(_FORGET_PEAK, encoding="ascii")
    except OSError:
        return _peak(target)  # Where the kernel cannot forget, the floor is the highest that it ever was.
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
    found = re.search(rf"^{key}:\s*(\d+) kB$", _STATUS.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise EnvironmentProblem(f"{_STATUS} does not say {key}, so that memory cannot be measured here")
    return 1024 * int(found[1])


if __name__ == "__main__":
    main(sys.argv[1:])
