"""The training loop that every strategy that trains uses. Not here: evaluation, several devices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeAlias

from autoopt.strategies.candidate import Batch, Candidate, Features, Objective, own_loss, run
from autoopt.strategies.errors import Diverged, OutOfMemory
from autoopt.strategies.system import measurement_gate
from autoopt.strategies.training import progress
from autoopt.strategies.training.batches import collate, shuffled
from autoopt.strategies.training.checkpoints import Checkpoint
from autoopt.strategies.training.precision import mixed_precision

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how strongly to train: AdamW, linear warm-up, then linear decay to zero."""

    learning_rate: float
    epochs: int
    batch_size: int = 16
    """Examples in a step."""
    accumulation: int = 1
    """Into how many parts a step's examples are divided, each with a pass of its own: less memory, more time."""
    weight_decay: float = 0.01
    warmup: float = 0.1
    """Share of the steps that warm up."""
    max_grad_norm: float = 1.0


Trained: TypeAlias = "Iterable[nn.Parameter] | Iterable[dict[str, Any]]"
"""What learns: parameters, or groups of them as torch's optimizers take them (``params``, ``lr``, ``weight_decay``)."""

TASK_LOSS = Objective(run, own_loss)
WINDOW = 10
"""Steps over which losses are averaged to see whether training goes astray."""


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
    parameters: Trained | None = None,
    before_step: Callable[[int, int], None] = nothing,
    beside: Sequence[nn.Module] = (),
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
        beside=beside,
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
    parameters: Trained | None = None,
    before_step: Callable[[int, int], None] = nothing,
    beside: Sequence[nn.Module] = (),
) -> list[float]:
    """Train ``model`` in place and return the loss of each step.

    ``effort`` scales the number of steps, the schedule with them; at 0 nothing happens. ``parameters`` are those to
    train, all that require a gradient if not given; one that ``before_step`` lets require none rests for that step.
    ``beside`` is what else changes meanwhile. A training that was cut off goes on from its checkpoint
    (``checkpoints.kept_in``) to the same weights: so ``loss`` and ``before_step`` may depend on nothing but what they
    are given and torch's random numbers, which are drawn anew at each step.

    Raises ``Diverged`` with the step and the value where a loss is not finite or has risen far above its start, and
    ``OutOfMemory``.
    """
    import torch

    steps_per_epoch = math.ceil(len(features) / schedule.batch_size)
    total = math.ceil(effort * schedule.epochs * steps_per_epoch)
    if total == 0:
        return []
    chosen: Any = [p for p in model.parameters() if p.requires_grad] if parameters is None else list(parameters)
    # Fused, a step of MiniLM takes an eighth of the time, which is a quarter of the whole at batch 16 x 36.
    optimizer = torch.optim.AdamW(chosen, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True)
    checkpoint = Checkpoint.of([model, *beside], optimizer, total)
    losses = checkpoint.restore()
    scheduler = linear_schedule(optimizer, total, warmup=schedule.warmup, steps_done=len(losses))
    model.train()
    while len(losses) < total:
        epoch, done = divmod(len(losses), steps_per_epoch)
        order = torch.Generator().manual_seed(_drawn(seed, epoch))
        for examples in islice(shuffled(features, batch_size=schedule.batch_size, generator=order), done, None):
            step = len(losses)
            if step == total:
                break
            before_step(step, total)
            torch.manual_seed(_drawn(seed, step))
            with measurement_gate.compute_step():
                losses.append(_step(model, examples, loss, optimizer, schedule, pad_token_id, step))
            scheduler.step()
            _see_whether_it_goes_astray(losses)
            checkpoint.save_at_times(losses)
            progress.tell(len(losses), total, model)
    model.eval()
    return losses


def linear_schedule(
    optimizer: torch.optim.Optimizer, total: int, *, warmup: float, steps_done: int = 0
) -> torch.optim.lr_scheduler.LRScheduler:
    """Scale each group's learning rate: linear warm-up over a share ``warmup`` of ``total`` steps, then to zero.

    LambdaLR and not LinearLR, which multiplies step by step: a resumed training has the same rates to the last bit.
    """
    from torch.optim.lr_scheduler import LambdaLR

    warmup_steps = max(1, round(warmup * total))

    def factor(step: int) -> float:
        return min((step + 1) / warmup_steps, (total - step) / max(1, total - warmup_steps))

    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return LambdaLR(optimizer, factor, last_epoch=steps_done - 1)


def _drawn(seed: int, number: int) -> int:
    """A seed for one of many draws: neighbours have nothing in common, as torch spreads the bits of a seed."""
    return seed * 1_000_003 + number


def _step(
    model: Any,
    examples: Sequence[Features],
    loss: Callable[[Any, Batch], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    pad_token_id: int,
    number: int,
) -> float:
    import torch

    device = next(model.parameters()).device
    part_size = math.ceil(len(examples) / schedule.accumulation)
    mean = 0.0
    for start in range(0, len(examples), part_size):
        part = examples[start : start + part_size]
        batch = {name: value.to(device) for name, value in collate(part, pad_token_id=pad_token_id).items()}
        try:
            with mixed_precision(device):
                value = loss(model, batch) * (len(part) / len(examples))
            value.backward()  # type: ignore[no-untyped-call]
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(f"out of memory at training step {number} with a batch of {len(part)}") from error
        mean += value.item()
    if not math.isfinite(mean):
        raise Diverged(f"the loss is {mean} at training step {number}; a lower learning rate may help")
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    torch.nn.utils.clip_grad_norm_(trained, schedule.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return mean


def _see_whether_it_goes_astray(losses: list[float]) -> None:
    """Raise ``Diverged`` where the last losses are far above the first ones: nothing good comes of such a training."""
    if len(losses) < 2 * WINDOW:
        return
    first, last = fmean(losses[:WINDOW]), fmean(losses[-WINDOW:])
    if last > 5 * first + 1:
        raise Diverged(
            f"the loss rose from {first:.3g} to {last:.3g} by training step {len(losses) - 1}; "
            f"a lower learning rate may help"
        )
