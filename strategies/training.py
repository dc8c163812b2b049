"""The training loop that every strategy that trains uses. Not here: evaluation, checkpoints, several devices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from autoopt.strategies import quiet
from autoopt.strategies.batches import collate, shuffled
from autoopt.strategies.candidate import Batch, Candidate, Features, Objective, own_loss, run
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


TASK_LOSS = Objective(run, own_loss)


def nothing(step: int, steps: int) -> None:
    """What is done before each step of training, given its number and how many there are, if nothing else is."""


def fit(
    candidate: Candidate,
    model: Any,
    schedule: Schedule,
    *,
    effort: float,
    seed: int,
    features: Sequence[Features] | None = None,
    forward: Callable[[Any, Batch], Any] = run,
    parameters: Iterable[torch.nn.Parameter] | None = None,
    before_step: Callable[[int, int], None] = nothing,
) -> list[float]:
    """Train ``model`` in place on the candidate's examples, with the loss that the candidate has for it.

    ``features`` are given where they are not simply the candidate's. Otherwise as ``train``.
    """
    objective = Objective(forward, candidate.criterion)
    return train(
        model,
        candidate.features() if features is None else features,
        schedule,
        pad_token_id=candidate.tokenizer.pad_token_id,
        effort=effort,
        seed=seed,
        loss=objective if candidate.shaper is None else partial(candidate.shaper, objective),
        parameters=parameters,
        before_step=before_step,
    )


def train(
    model: Any,
    features: Sequence[Features],
    schedule: Schedule,
    *,
    pad_token_id: int,
    effort: float,
    seed: int,
    loss: Callable[[Any, Batch], torch.Tensor] = TASK_LOSS,
    parameters: Iterable[torch.nn.Parameter] | None = None,
    before_step: Callable[[int, int], None] = nothing,
) -> list[float]:
    """Train ``model`` in place and return the loss of each step.

    ``effort`` scales the number of steps, the schedule with them; at 0 nothing happens. ``parameters`` are those to
    train, all that require a gradient if not given; one that ``before_step`` lets require none rests for that step.
    Raises ``Diverged`` with the step and the value where a loss is not finite, and ``OutOfMemory``.
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
            before_step(len(losses), total)
            with quiet.step():
                losses.append(_step(model, batch, loss, optimizer, trained, schedule.max_grad_norm, len(losses)))
            decay.step()
    model.eval()
    return losses


def _step(
    model: Any,
    batch: Batch,
    loss: Callable[[Any, Batch], torch.Tensor],
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
