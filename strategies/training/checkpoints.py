"""Checkpoints: where a training that was cut off goes on, bit for bit as if it had not been."""

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

SECONDS = 60.0
"""At most so much work is lost. MiniLM's weights and AdamW's two moments are 270 MB, half a second to write."""


@dataclass
class Keeper:
    """The checkpoints of one stage: a file for each of its trainings, by the order in which they begin."""

    folder: Path
    every: float
    begun: int = 0

    def next_file(self) -> Path:
        self.begun += 1
        return self.folder / f"{self.begun}.safetensors"


_keeper: ContextVar[Keeper | None] = ContextVar("keeper", default=None)


@contextmanager
def kept_in(folder: Path, *, every: float = SECONDS) -> Iterator[None]:
    """Let each training within the block leave a checkpoint in ``folder`` every so many seconds, and go on from it.

    The block has to do the same each time. The folder goes when it ends, also by an error; what ends the process, or
    interrupts it, leaves the folder for the next time.
    """
    token = _keeper.set(Keeper(folder, every))
    try:
        yield
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        _keeper.reset(token)


@dataclass
class Checkpoint:
    """What a training is made of, and the file that it is kept in; no file where nothing is to be kept.

    The training must draw its random numbers anew at each step, from the seed and the number of the step: they are
    not kept.
    """

    modules: Sequence[nn.Module]
    """All that changes, buffers included."""
    optimizer: torch.optim.Optimizer
    steps: int
    """In all. A file of a training with another number of steps is of another training."""
    file: Path | None = None
    every: float = SECONDS
    _saved: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, modules: Sequence[nn.Module], optimizer: torch.optim.Optimizer, steps: int) -> Checkpoint:
        """Where ``kept_in`` says."""
        keeper = _keeper.get()
        if keeper is None:
            return cls(modules, optimizer, steps)
        return cls(modules, optimizer, steps, keeper.next_file(), keeper.every)

    def restore(self) -> list[float]:
        """Put everything back as it was kept, and return the losses until then; an empty list where nothing was."""
        import torch
        from safetensors import SafetensorError, safe_open

        if self.file is None or not self.file.is_file():
            return []
        try:
            with safe_open(self.file, framework="pt") as opened:
                metadata = opened.metadata() or {}
                kept = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        except (SafetensorError, OSError):
            return []
        if metadata != self._metadata(kept):
            return []
        tensors = self._tensors()
        if any(name not in kept or kept[name].shape != tensor.shape for name, tensor in tensors.items()):
            return []
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(kept[name])
        for number, parameter in enumerate(self._parameters()):
            prefix = f"optimizer.{number}."
            state = {name[len(prefix) :]: kept[name] for name in kept if name.startswith(prefix)}
            if state:
                self.optimizer.state[parameter] = {key: value.to(parameter.device) for key, value in state.items()}
        return kept["losses"].tolist()  # type: ignore[no-any-return]

    def save_at_times(self, losses: list[float]) -> None:
        """Write everything, whole or not at all, where the last time is long enough ago."""
        if self.file is None or time.monotonic() - self._saved < self.every:
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
        self._saved = time.monotonic()

    def _metadata(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
        return {"steps": str(self.steps), "digest": tensor_digest(sorted(tensors.items()))}

    def _tensors(self) -> dict[str, torch.Tensor]:
        """By name, each once, also where it has several names."""
        return {
            f"{place}.{name}": tensor
            for place, module in enumerate(self.modules)
            for named in (module.named_parameters(), module.named_buffers())
            for name, tensor in named
        }

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
