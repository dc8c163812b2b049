"""Memory of a GPU that several processes share: a stage begins once what it needs is free beside those that run.

Each process on this machine reserves memory by a file of that size in its name, which it holds locked; the kernel
frees the lock of a process that dies. Those that wait do so in turn, so that a stage that needs much is not starved.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from autoopt.strategies.system import locks
from autoopt.strategies.system.devices import Device

OVERHEAD, CONTEXT_BYTES = 1.2, 600 * 2**20
"""What a process takes of a GPU beyond the peak of its tensors: fragments, as a factor, and CUDA's own memory."""


def reservation(device: Device, peak_bytes: int | None) -> int:
    """Return what to reserve for a stage with this peak; the worker's share of the GPU if it is unknown."""
    total = device.total_bytes() or 0
    if peak_bytes is None:
        return int(device.share * total)
    return min(total, int(OVERHEAD * peak_bytes) + CONTEXT_BYTES)


@contextmanager
def reserved(device: Device, needed_bytes: int, *, waits: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Wait until ``needed_bytes`` of the GPU are free beside other processes' stages; reserve them within the block.

    ``waits`` is called once before it waits. If no other stage runs there it does not wait, whatever is free: another
    user's process may never end. On a CPU nothing is reserved.
    """
    total = device.total_bytes()
    if total is None:
        yield
        return
    folder = _folder(device)
    mine = folder / f"{uuid4().hex}-{needed_bytes}"
    with ExitStack() as stack:
        with locks.hold(folder / "turn"):
            if not _fits(folder, needed_bytes, total, device):
                waits()
                while not _fits(folder, needed_bytes, total, device):
                    time.sleep(locks.POLL_S)
            stack.enter_context(locks.hold(mine))
            stack.callback(mine.unlink, missing_ok=True)
        stack.callback(device.release)  # Torch would keep the memory for this process.
        yield


def _fits(folder: Path, needed_bytes: int, total: int, device: Device) -> bool:
    others = _reserved_by_others(folder)
    if not others:
        return True
    free = device.free_bytes()
    return sum(others) + needed_bytes <= total and (free is None or needed_bytes <= free)


def _reserved_by_others(folder: Path) -> list[int]:
    """Return the reservations of living processes; those of dead ones are removed."""
    sizes = []
    for path in folder.iterdir():
        size = path.name.rpartition("-")[2]
        if not size.isdecimal():
            continue
        if locks.is_held(path):
            sizes.append(int(size))
        else:
            path.unlink(missing_ok=True)
    return sizes


def _folder(device: Device) -> Path:
    name = re.sub(r"\W", "-", device.identity)
    folder = Path(tempfile.gettempdir()) / f"autoopt-{os.getuid()}.gpu-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
