"""Checkpoints: an interrupted training resumes and ends with the same weights, bit for bit."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from autoopt.strategies.system.digests import tensor_digest
from autoopt.strategies.system.files import whole_file

if TYPE_CHECKING:
    import torch
    from torch import nn

INTERVAL_S = 60.0
"""Most work that is lost. MiniLM's weights and AdamW's two moments are 270 MB: 0.25 s to hash, 0.5 s to write."""


@dataclass
class StageCheckpoints:
    """The checkpoints of one stage: one file per training, numbered in the order in which they start."""

    folder: Path
    interval_s: float
    trainings: int = 0

    def next_file(self) -> Path:
        self.trainings += 1
        return self.folder / f"{self.trainings}.safetensors"


_stage: ContextVar[StageCheckpoints | None] = ContextVar("stage_checkpoints", default=None)


@contextmanager
def checkpointing(folder: Path, *, interval_s: float = INTERVAL_S) -> Iterator[None]:
    """Save checkpoints of every training within the block to ``folder``, and resume from those already there.

    The block must do the same work each time. The folder is removed when the block ends or raises an ``Exception``; it
    stays if the process dies or is interrupted.
    """
    token = _stage.set(StageCheckpoints(folder, interval_s))
    try:
        yield
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        _stage.reset(token)


@dataclass
class Checkpoint:
    """The state of one training and the file that it is saved to; nothing is saved if ``file`` is None.

    Random states are not saved: the training must seed each step from its seed and the number of the step.
    """

    modules: Sequence[nn.Module]
    """All modules that change, with their buffers."""
    optimizer: torch.optim.Optimizer
    steps: int
    """Total number of steps. A file with another number belongs to another training."""
    file: Path | None = None
    interval_s: float = INTERVAL_S
    _saved_at: float = field(default_factory=time.monotonic)

    @classmethod
    def of_next_training(cls, modules: Sequence[nn.Module], optimizer: torch.optim.Optimizer, steps: int) -> Checkpoint:
        """Return a checkpoint in the folder of the enclosing ``checkpointing`` block; else without a file."""
        stage = _stage.get()
        if stage is None:
            return cls(modules, optimizer, steps)
        return cls(modules, optimizer, steps, stage.next_file(), stage.interval_s)

    def restore(self) -> list[float]:
        """Restore modules and optimizer, and return the losses so far; empty if there is no intact checkpoint."""
        import torch

        stored = self._read()
        tensors = self._tensors()
        if any(name not in stored or stored[name].shape != tensor.shape for name, tensor in tensors.items()):
            return []
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(stored[name])
        for number, parameter in enumerate(self._parameters()):
            prefix = f"optimizer.{number}."
            state = {name[len(prefix) :]: stored[name] for name in stored if name.startswith(prefix)}
            if state:
                self.optimizer.state[parameter] = {key: value.to(parameter.device) for key, value in state.items()}
        return stored["losses"].tolist()

    def save_if_due(self, losses: list[float]) -> None:
        """Save the state, if ``interval_s`` have passed since the last time."""
        if self.file is None or time.monotonic() - self._saved_at < self.interval_s:
            return
        import torch
        from safetensors.torch import save_file

        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self._tensors().items()}
        tensors["losses"] = torch.tensor(losses, dtype=torch.double)
        for number, parameter in enumerate(self._parameters()):
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{number}.{key}"] = value.detach().cpu().contiguous()
        with whole_file(self.file) as work:
            save_file(tensors, work, metadata=self._metadata(tensors))
        self._saved_at = time.monotonic()

    def _read(self) -> dict[str, torch.Tensor]:
        """Return the stored tensors; empty if they are absent, damaged or of another training."""
        from safetensors import SafetensorError, safe_open

        if self.file is None or not self.file.is_file():
            return {}
        try:
            with safe_open(self.file, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError):
            return {}
        return tensors if metadata == self._metadata(tensors) else {}

    def _metadata(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
        return {"steps": str(self.steps), "digest": tensor_digest(sorted(tensors.items()))}

    def _tensors(self) -> dict[str, torch.Tensor]:
        """Return parameters and buffers by name; a tied tensor appears once."""
        return {
            f"{place}.{name}": tensor
            for place, module in enumerate(self.modules)
            for named in (module.named_parameters(), module.named_buffers())
            for name, tensor in named
        }

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
