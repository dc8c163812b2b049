"""Calibration: a few of the candidate's own texts, and what flows through the model's layers on them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from autoopt.strategies.candidate import ANSWERS, Candidate, Example, Features
from autoopt.strategies.errors import DataError
from autoopt.strategies.networks.architectures import layers, set_layers
from autoopt.strategies.system import measurement_gate
from autoopt.strategies.training import batches
from autoopt.strategies.training.precision import mixed_precision

if TYPE_CHECKING:
    import torch


def sample(candidate: Candidate, count: int, seed: int) -> list[Features]:
    """At most ``count`` of the candidate's texts, tokenized, without labels.

    The training examples are used, since they have the form of the task; the unlabeled texts where there are none.
    Raises ``DataError`` where there is neither.
    """
    examples = candidate.train or tuple(map(Example, candidate.unlabeled))
    if not examples:
        raise DataError("calibration needs texts, and the candidate has neither training nor unlabeled texts")
    chosen = random.Random(seed).sample(examples, min(count, len(examples)))
    return without_labels(candidate.task.encode(chosen, candidate.tokenizer))


def unlabeled(candidate: Candidate, count: int, seed: int) -> list[Features]:
    """At most ``count`` of the candidate's unlabeled texts, tokenized."""
    chosen = random.Random(seed).sample(candidate.unlabeled, min(count, len(candidate.unlabeled)))
    return without_labels(candidate.encode(list(map(Example, chosen))))


def without_labels(features: Sequence[Features]) -> list[Features]:
    """The same examples as inputs alone."""
    return [{name: value for name, value in item.items() if name not in ANSWERS} for item in features]


@dataclass(frozen=True)
class LayerCall:
    """How one layer is called for one batch. The layers of an encoder differ in nothing but ``hidden``."""

    hidden: torch.Tensor
    """(batch, length, width)"""
    mask: torch.Tensor
    """(batch, length), True where there is a token."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def run(self, layer: Any) -> torch.Tensor:
        """What ``layer`` makes of it, (batch, length, width)."""
        import torch

        with torch.inference_mode(), measurement_gate.compute_step(), mixed_precision(self.hidden.device):
            output = layer(self.hidden, *self.args, **self.kwargs)
        return output[0] if isinstance(output, tuple) else output  # type: ignore[no-any-return]

    def through(self, layer: Any) -> LayerCall:
        """The call of the next layer, after ``layer``."""
        return replace(self, hidden=self.run(layer))


def first_layer_calls(model: Any, features: Sequence[Features], *, pad_token_id: int) -> list[LayerCall]:
    """How the model calls its first layer in eval mode, batch by batch."""
    present = list(layers(model))
    caught: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def catch(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        caught.append((args, kwargs))

    calls = []
    hook = present[0].register_forward_pre_hook(catch, with_kwargs=True)
    set_layers(model, present[:1])  # What comes after it need not run.
    try:
        for _, batch, _ in batches.forward(model, features, pad_token_id=pad_token_id):
            (hidden, *args), kwargs = caught.pop()
            mask = batch["attention_mask"].to(hidden.device).bool()
            calls.append(LayerCall(hidden=hidden, mask=mask, args=tuple(args), kwargs=kwargs))
    finally:
        set_layers(model, present)
        hook.remove()
    return calls
