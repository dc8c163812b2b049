"""The training loop that every strategy that trains uses. Not here: evaluation, checkpoints, several devices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoopt.strategies import quiet
from autoopt.strategies.batches import collate, shuffled
from autoopt.strategies.candidate import Features
from autoopt.strategies.errors import Diverged, OutOfMemory

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how strongly to train: AdamW, linear warm-up, then linear decay to zero."""

    learning_rate: float
    epochs: int
    batch_size: int = 16
    weight_decay: float = 0.01
    warmup: float = 0.1
    """Share of the steps that warm up."""
    max_grad_norm: float = 1.0


def task_loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The loss that a Hugging Face model computes from ``labels``."""
    return model(**batch).loss  # type: ignore[no-any-return]


def train(
    model: Any,
    features: Sequence[Features],
    schedule: Schedule,
    *,
    pad_token_id: int,
    effort: float,
    seed: int,
    loss: Callable[[Any, dict[str, torch.Tensor]], torch.Tensor] = task_loss,
    parameters: Iterable[torch.nn.Parameter] | None = None,
) -> list[float]:
    """Train ``model`` in place and return the loss of each step.

    ``effort`` scales the number of steps, the schedule with them; at 0 nothing happens. ``parameters`` are those to
    train, all that require a gradient if not given. Raises ``Diverged`` with the step and the value where a loss is
    not finite, and ``OutOfMemory``.
    """
    import torch

    steps_per_epoch = math.ceil(len(features) / schedule.batch_size)
    total = math.ceil(effort * schedule.epochs * steps_per_epoch)
    if total == 0:
        return []
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    trained = [p for p in (model.parameters() if parameters is None else parameters) if p.requires_grad]
    # Fused, a step of MiniLM takes an eighth of the time, which is a quarter of the whole at batch 16 x 36.
    optimizer = torch.optim.AdamW(trained, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True)
    warmup = max(1, round(schedule.warmup * total))
    decay = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (total - step) / max(1, total - warmup))
    )
    losses: list[float] = []
    model.train()
    while len(losses) < total:
        for chosen in shuffled(features, batch_size=schedule.batch_size, generator=generator):
            if len(losses) == total:
                break
            batch = {k: v.to(model.device) for k, v in collate(chosen, pad_token_id=pad_token_id).items()}
            with quiet.step():
                losses.append(_step(model, batch, loss, optimizer, trained, schedule.max_grad_norm, len(losses)))
            decay.step()
    model.eval()
    return losses


def _step(
    model: Any,
    batch: dict[str, torch.Tensor],
    loss: Callable[[Any, dict[str, torch.Tensor]], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    trained: list[torch.nn.Parameter],
    max_grad_norm: float,
    number: int,
) -> float:
    import torch

    try:
        value = loss(model, batch)
        value.backward()  # type: ignore[no-untyped-call]
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(
            f"out of memory at training step {number} with a batch of {len(batch['input_ids'])}"
        ) from error
    if not torch.isfinite(value):
        raise Diverged(f"the loss is {value.item()} at training step {number}; a lower learning rate may help")
    torch.nn.utils.clip_grad_norm_(trained, max_grad_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return value.item()
