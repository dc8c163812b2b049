"""The training loop of all strategies that train. Not covered: several devices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, islice
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeAlias

from autoopt.strategies.candidate import Batch, Candidate, Features, Objective, own_loss, run
from autoopt.strategies.errors import Diverged
from autoopt.strategies.system.devices import device_at
from autoopt.strategies.training import progress
from autoopt.strategies.training.batches import shuffled_batches
from autoopt.strategies.training.checkpoints import Checkpoint
from autoopt.strategies.training.loader import load
from autoopt.strategies.training.memory_saving import MemorySaver
from autoopt.strategies.training.precision import training_precision
from autoopt.strategies.training.step import OptimizerStep, parameters_of
from autoopt.strategies.training.validation import Validation, chance_margin, plan

if TYPE_CHECKING:
    import torch
    from torch import nn

    from autoopt.strategies.training.best_weights import BestWeights
    from autoopt.strategies.training.loss_scaling import LossScaler


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Hyperparameters of AdamW with linear warm-up, then linear decay to zero."""

    learning_rate: float
    epochs: int
    batch_size: int = 16
    """Number of examples per optimizer step."""
    accumulation: int = 1
    """Number of forward and backward passes per optimizer step; more take less memory and more time."""
    weight_decay: float = 0.01
    warmup: float = 0.1
    """Share of the steps."""
    max_grad_norm: float = 1.0
    longest_epoch: int | None = None
    """Number of steps that an epoch has at most; with more examples it is a part of a pass over them."""

    def steps(self, examples: int, effort: float) -> int:
        """Return the number of optimizer steps of a training on so many examples."""
        epoch = math.ceil(examples / self.batch_size)
        return math.ceil(effort * self.epochs * min(epoch, self.longest_epoch or epoch))


Parameters: TypeAlias = "Iterable[nn.Parameter] | Iterable[dict[str, Any]]"
"""Parameters, or parameter groups as torch's optimizers take them (``params``, ``lr``, ``weight_decay``)."""

TASK_LOSS = Objective(run, own_loss)
LONGEST_EPOCH = 5000
"""Number of steps that an epoch on the task's examples has at most: 80,000 examples in batches of 16, with three epochs
an hour of one processor for MiniLM."""
DIVERGENCE_WINDOW = 10
"""Number of steps over which losses are averaged to check for divergence."""


def no_op(step: int, steps: int) -> None:
    """Do nothing before a training step; ``step`` counts from 0 and ``steps`` is their total."""


def fit(
    candidate: Candidate,
    model: Any,
    schedule: Schedule,
    *,
    effort: float,
    seed: int,
    features: Sequence[Features] | None = None,
    forward: Callable[[Any, Batch], Any] = run,
    parameters: Parameters | None = None,
    before_step: Callable[[int, int], None] = no_op,
    extra_modules: Sequence[nn.Module] = (),
    scoring: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> list[float]:
    """Train ``model`` in place on ``features``, the candidate's by default, with the candidate's loss; as ``train``.

    If the candidate has a monitor, the training is long enough and the examples are its own, the weights that the
    monitor scores highest are kept. ``scoring`` is entered while the model is scored; within it the model must answer
    as a finished one does. An epoch has at most ``LONGEST_EPOCH`` steps unless the schedule says otherwise.
    """
    schedule = replace(schedule, longest_epoch=schedule.longest_epoch or LONGEST_EPOCH)
    objective = Objective(forward, candidate.criterion)
    examples = candidate.features() if features is None else features
    return train(
        model,
        examples,
        schedule,
        pad_token_id=candidate.tokenizer.pad_token_id,
        effort=effort,
        seed=seed,
        loss=objective if candidate.shaper is None else partial(candidate.shaper, objective),
        parameters=parameters,
        before_step=before_step,
        extra_modules=extra_modules,
        validation=_validation(candidate, model, schedule.steps(len(examples), effort) * schedule.batch_size, scoring),
        scoring=scoring,
    )


def _validation(
    candidate: Candidate, model: Any, trained: int, scoring: Callable[[], AbstractContextManager[Any]]
) -> Validation | None:
    """Return how the model is scored while it is trained on ``trained`` examples; None if it is not."""
    monitor = candidate.monitor
    looks, examples = plan(trained, monitor.size) if monitor else (0, 0)
    if monitor is None or not looks:
        return None

    def score() -> float:
        with scoring():
            return monitor.score(replace(candidate, model=model), limit=examples)

    return Validation(score, looks, chance_margin(examples))


def train(
    model: Any,
    features: Sequence[Features],
    schedule: Schedule,
    *,
    pad_token_id: int,
    effort: float,
    seed: int,
    loss: Callable[[Any, Batch], torch.Tensor] = TASK_LOSS,
    parameters: Parameters | None = None,
    before_step: Callable[[int, int], None] = no_op,
    extra_modules: Sequence[nn.Module] = (),
    validation: Validation | None = None,
    scoring: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> list[float]:
    """Train ``model`` in place and return the loss of each step that led to its weights.

    ``effort`` scales the number of steps and the schedule with them; at 0 nothing is trained. ``parameters`` default to
    all that require a gradient; ``before_step`` may switch that off for a step. ``extra_modules`` also change during
    training, and are saved in checkpoints with the model. With ``validation`` the model ends with the weights that it
    scored highest, and training stops when the score has been lower for long. ``scoring`` is entered for each visit of
    ``progress.visiting``.

    Within ``checkpoints.checkpointing`` an interrupted training resumes and ends with the same weights. Therefore
    ``loss`` and ``before_step`` must depend only on their arguments and on torch's generator, seeded at each step.

    If memory runs out, the step is repeated in smaller parts, then with gradient checkpointing, see ``MemorySaver``.

    Raises ``Diverged`` if a loss is not finite or rises far above its start, and ``OutOfMemory``.
    """
    total = schedule.steps(len(features), effort)
    if total == 0:
        return []
    optimizer = _optimizer(model, parameters, schedule)
    best, scaler = _best_weights(model, optimizer, validation), _loss_scaler(model)
    more = [module for module in (best, scaler) if module is not None]
    checkpoint = Checkpoint.of_next_training([model, *extra_modules, *more], optimizer, total)
    losses = checkpoint.restore()
    scheduler = linear_schedule(optimizer, total, warmup=schedule.warmup, steps_done=len(losses))
    memory = MemorySaver(model, schedule.accumulation)
    update = OptimizerStep(model, loss, optimizer, memory, max_grad_norm=schedule.max_grad_norm, scaler=scaler)
    model.train()
    batches = islice(_batches(features, schedule, seed, first=len(losses)), total - len(losses))
    device = device_at(next(model.parameters()).device)
    with closing(load(batches, device, part_size=memory.part_size, pad_token_id=pad_token_id)) as loaded:
        for step, batch in enumerate(loaded, start=len(losses)):
            if best and best.is_exhausted:
                break
            before_step(step, total)
            losses.append(update(batch, number=step, seed=_derive_seed(seed, step)))
            scheduler.step()
            _check_divergence(losses)
            if best:
                best.step_done(len(losses), total)
            checkpoint.save_if_due(losses)
            progress.step_done(len(losses), total, model, scoring=scoring)
    memory.close()
    model.eval()
    return losses[: best.restore(len(losses))] if best else losses


def _optimizer(model: Any, parameters: Parameters | None, schedule: Schedule) -> torch.optim.Optimizer:
    import torch

    groups: Any = [p for p in model.parameters() if p.requires_grad] if parameters is None else list(parameters)
    # The fused step takes an eighth of the time: for MiniLM at batch 16 x 36 it saves a quarter of the training.
    return torch.optim.AdamW(groups, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True)


def _best_weights(model: Any, optimizer: torch.optim.Optimizer, validation: Validation | None) -> BestWeights | None:
    from autoopt.strategies.training.best_weights import BestWeights

    return BestWeights(model, parameters_of(optimizer), validation) if validation else None


def _loss_scaler(model: Any) -> LossScaler | None:
    """Return what scales the loss in float16, whose smallest gradients would be zero."""
    import torch

    from autoopt.strategies.training.loss_scaling import LossScaler

    return LossScaler() if training_precision(next(model.parameters()).device) is torch.float16 else None


def _batches(features: Sequence[Features], schedule: Schedule, seed: int, *, first: int) -> Iterator[list[Features]]:
    """Yield the batches of all steps from step ``first`` on, epoch after epoch without end."""
    import torch

    epoch, batches_done = divmod(first, math.ceil(len(features) / schedule.batch_size))
    for number in count(epoch):
        order = torch.Generator().manual_seed(_derive_seed(seed, number))
        batches = shuffled_batches(features, batch_size=schedule.batch_size, generator=order)
        yield from islice(batches, batches_done if number == epoch else 0, None)


def linear_schedule(
    optimizer: torch.optim.Optimizer, total: int, *, warmup: float, steps_done: int = 0
) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the scheduler of linear warm-up over a share ``warmup`` of ``total`` steps, then linear decay to zero.

    LambdaLR computes a rate from the step alone, so a resumed training has the same rates bit for bit; LinearLR
    multiplies the last rate.
    """
    from torch.optim.lr_scheduler import LambdaLR

    warmup_steps = max(1, round(warmup * total))

    def factor(step: int) -> float:
        return min((step + 1) / warmup_steps, (total - step) / max(1, total - warmup_steps))

    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return LambdaLR(optimizer, factor, last_epoch=steps_done - 1)


def _derive_seed(seed: int, number: int) -> int:
    """Return the seed of one epoch or step; close seeds are independent, since torch mixes the bits of a seed."""
    return seed * 1_000_003 + number


def _check_divergence(losses: list[float]) -> None:
    """Raise ``Diverged`` if the last losses are far above the first ones."""
    if len(losses) < 2 * DIVERGENCE_WINDOW:
        return
    first, last = fmean(losses[:DIVERGENCE_WINDOW]), fmean(losses[-DIVERGENCE_WINDOW:])
    if last > 5 * first + 1:
        raise Diverged(
            f"the loss rose from {first:.3g} to {last:.3g} by training step {len(losses) - 1}; "
            f"a lower learning rate may help"
        )
