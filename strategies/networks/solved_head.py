"""Replace the last linear layer of a task head by the linear solution on the inputs that the frozen model gives it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

from autoopt.strategies.candidate import Candidate, Criterion, Features, own_loss
from autoopt.strategies.networks.calibration import without_labels
from autoopt.strategies.networks.linear_solution import LinearSolution, RowLoss, solve
from autoopt.strategies.networks.pooling import has_pooler, with_pooling
from autoopt.strategies.system.recordings import Recordings
from autoopt.strategies.training import batches
from autoopt.strategies.training.batches import IGNORED_LABEL
from autoopt.strategies.training.precision import mixed_precision

if TYPE_CHECKING:
    import torch
    from torch import nn

Rows: TypeAlias = "tuple[torch.Tensor, torch.Tensor]"
"""Inputs of the last linear layer, (rows, width), and labels, (rows,) or (rows, outputs). A row is a text, or a token
with a label."""

PER_TEXT, PER_TOKEN = "ForSequenceClassification", "ForTokenClassification"
KEPT = 0.9
"""Loss of a head, over that of the solution, below which the head is kept. A random one may be lower by chance."""
TRAINING_STRENGTH = 0.0
"""Least strength of the penalty of a solution that a training starts from."""
_recordings: Recordings[Rows] = Recordings(max_numbers=30_000_000)


def last_linear(model: Any) -> nn.Linear | None:
    """Return the last linear layer of a head that classifies texts or tokens, or gives a number; None for others."""
    from torch import nn

    if not (_is_a(model, PER_TEXT) or _is_a(model, PER_TOKEN)):
        return None
    below = {id(module) for module in model.base_model.modules()}
    above = [module for module in model.modules() if id(module) not in below and isinstance(module, nn.Linear)]
    return above[-1] if above else None


def copy_for_training(candidate: Candidate, *, head_first: bool) -> Any:
    """Return a copy of the candidate's model, its head solved first if ``head_first``.

    A random head passes random gradients to the layers below, which distort what they know before the head has learned
    anything (Kumar et al. 2022, "Fine-tuning can distort pretrained features").
    """
    model = candidate.copy_model()
    if head_first:
        solve_head(candidate, model, least_strength=TRAINING_STRENGTH)
    return model


def solve_head(candidate: Candidate, model: Any, *, least_strength: float = 0.0) -> bool:
    """Set the last linear layer of ``model``, in place, to the linear solution of the candidate's training examples.

    The loss is the candidate's. The layer stays as it is, and False is returned, if the head is of another kind, if no
    example has a label, or if its loss on the examples is already clearly lower than that of the solution on held-out
    ones, as after a training on other data.
    """
    return _set_solution(model, _solution(candidate, model, least_strength))


def with_solved_head(candidate: Candidate, model: Any, *, seed: int) -> tuple[Any, bool]:
    """Return the model with its head solved as by ``solve_head``, in place, and whether it was.

    If the model pools, so far, with a pretrained pooler of its own, the returned one reads the mean of the states
    instead where the solution on them has the lower loss on held-out examples.
    """
    solution = _solution(candidate, model)
    if solution is not None and not solution.is_surpassed and has_pooler(model):
        pooled = with_pooling(copy.deepcopy(model), "mean", seed=seed)
        other = _solution(candidate, pooled)
        if other is not None and other.linear.loss < solution.linear.loss:
            model, solution = pooled, other
    return model, _set_solution(model, solution)


@dataclass(frozen=True)
class _Solution:
    linear: LinearSolution
    is_surpassed: bool
    """Whether the present head is clearly better."""


def _solution(candidate: Candidate, model: Any, least_strength: float = 0.0) -> _Solution | None:
    """Return the solution for the last linear layer; None if there is none."""
    import torch

    layer = last_linear(model)
    if layer is None:
        return None
    inputs, labels = frozen_rows(model, candidate.features(), pad_token_id=candidate.tokenizer.pad_token_id)
    if len(inputs) == 0:
        return None
    loss = _own_loss(labels) if candidate.criterion is own_loss else _loss_of(candidate.criterion)
    linear = solve(inputs, labels, loss, outputs=layer.out_features, least_strength=least_strength)
    with torch.no_grad():
        present = inputs.double() @ layer.weight.cpu().double().T + layer.bias.cpu().double()
        return _Solution(linear, is_surpassed=float(loss(present, labels)) < KEPT * linear.loss)


def _set_solution(model: Any, solution: _Solution | None) -> bool:
    """Set the last linear layer in place unless it is better as it is; return whether it was set."""
    import torch

    if solution is None or solution.is_surpassed:
        return False
    layer: Any = last_linear(model)
    with torch.no_grad():
        layer.weight.copy_(solution.linear.weight)
        layer.bias.copy_(solution.linear.bias)
    return True


def frozen_rows(model: Any, features: Sequence[Features], *, pad_token_id: int) -> Rows:
    """Return the inputs of the last linear layer in evaluation mode, with their labels, in the order of the examples.

    From memory if this process recorded the same model and examples lately.
    """
    return _recordings.get(
        model, features, lambda: _record(model, features, pad_token_id), size=lambda rows: rows[0].numel()
    )


@contextmanager
def catching_inputs(layer: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Yield a list to which each call of ``layer`` within the block appends its input."""
    inputs: list[torch.Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    try:
        yield inputs
    finally:
        hook.remove()


def _record(model: Any, features: Sequence[Features], pad_token_id: int) -> Rows:
    import torch

    layer: Any = last_linear(model)
    labelled = [item for item in features if "labels" in item]
    recorded: list[Any] = [None] * len(labelled)
    per_text = _is_a(model, PER_TEXT)
    with catching_inputs(layer) as inputs, mixed_precision(model.device):
        for positions, _, _ in batches.forward(model, without_labels(labelled), pad_token_id=pad_token_id):
            states = inputs.pop()
            for place, position in enumerate(positions):
                state = states[place] if per_text else states[place, : len(labelled[position]["labels"])]
                recorded[position] = state.to("cpu", torch.float32, copy=True)
    if not recorded:
        return torch.empty(0, layer.in_features), torch.empty(0)
    labels = [torch.tensor(item["labels"]) for item in labelled]
    if per_text:
        targets = torch.stack(labels)
        return torch.stack(recorded), targets.float() if layer.out_features == 1 else targets
    tokens = torch.cat(labels)
    return torch.cat(recorded)[tokens != IGNORED_LABEL], tokens[tokens != IGNORED_LABEL]


def _loss_of(criterion: Criterion) -> RowLoss:
    """Return a candidate's criterion as a function of logits and labels."""
    return lambda logits, labels: criterion(SimpleNamespace(logits=logits), {"labels": labels})


def _own_loss(labels: torch.Tensor) -> RowLoss:
    """Return the loss that Hugging Face's models compute: of a class, of several classes in 0 and 1, or of a number."""
    from torch.nn import functional as F

    if not labels.is_floating_point():
        return F.cross_entropy
    if labels.dim() == 2:
        return lambda logits, labels: F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
    return lambda logits, labels: F.mse_loss(logits.squeeze(-1), labels.to(logits.dtype))


def _is_a(model: Any, ending: str) -> bool:
    """Whether the model's class, or one that it derives from, has a name with this ending."""
    return any(base.__name__.endswith(ending) for base in type(model).__mro__)
