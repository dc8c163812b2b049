"""Run a stage beside those of other workers on a GPU: its memory is reserved, and if it runs out, it runs alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import TypeAlias, TypeVar

from autoopt.search.trial.record import StageRecord
from autoopt.strategies.errors import OutOfMemory
from autoopt.strategies.system import gpu_memory
from autoopt.strategies.system.devices import Device
from autoopt.strategies.system.utilization import Utilization

Result = TypeVar("Result")
Reserve: TypeAlias = Callable[[], AbstractContextManager[None]]
"""Returns a context within which the memory of a stage is reserved."""


def beside_others(
    run: Callable[[Reserve], Result], device: Device, *, stage: str, peak_bytes: int | None, waits: Callable[[], None]
) -> Result:
    """Return what ``run`` returns, which enters the context that it is given while it computes.

    The context reserves what the stage took when it was measured, else the worker's share of the GPU. A stage that runs
    out of memory runs once more with the whole GPU. Raises ``OutOfMemory`` with the shortage if that fails too, or if
    it had all of it. ``waits`` is called before it waits for others.
    """
    total = device.total_bytes() or 0
    needed = gpu_memory.reservation(device, peak_bytes)
    while True:
        try:
            return run(partial(gpu_memory.reserved, device, needed, waits=waits))
        except Exception as error:
            shortage = _out_of_memory(error, device, stage)
            if shortage is None:
                raise
            if needed >= total:
                raise shortage from (error if shortage is not error else error.__cause__)
        device.release()  # Here, where the tensors of the failed attempt are gone.
        needed = total


def _out_of_memory(error: Exception, device: Device, stage: str) -> OutOfMemory | None:
    """Return the error with what the stage has needed; None if it is another one."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        shortage = device.shortage(str(error))
        return OutOfMemory(f"out of memory; {str(shortage) or error}", replace(shortage, stage=stage))
    if not isinstance(error, OutOfMemory):
        return None
    if error.shortage is None or error.shortage.stage:
        return error
    return OutOfMemory(str(error), replace(error.shortage, stage=stage))


def stage_record(
    name: str, seconds: float, device: Device, used: Utilization, *, reused: bool = False, saved: float = 0.0
) -> StageRecord:
    """Return the record of a stage; where it ran and how busy that was are left out if it was reused."""
    if reused:
        return StageRecord(name, seconds, reused, saved)
    return StageRecord(
        name,
        seconds,
        reused,
        saved,
        device=device.label,
        peak_bytes=device.peak_bytes(),
        processors=used.processors,
        gpu_utilization=used.gpu,
    )
