"""Calibration: a sample of the candidate's own texts, and the inputs of the model's layers on them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from autoopt.strategies.candidate import ANSWERS, Candidate, Example, Features
from autoopt.strategies.errors import DataError
from autoopt.strategies.networks.architectures import layers, set_layers
from autoopt.strategies.system import measurement_gate
from autoopt.strategies.training import batches
from autoopt.strategies.training.precision import mixed_precision

if TYPE_CHECKING:
    import torch


def sample(candidate: Candidate, count: int, seed: int) -> list[Features]:
    """Return at most ``count`` of the candidate's texts, tokenized, without labels.

    They are drawn from the training examples, which have the form of the task, or from the unlabeled texts if there
    are none. Raises ``DataError`` if there is neither.
    """
    examples = candidate.train or tuple(map(Example, candidate.unlabeled))
    if not examples:
        raise DataError("calibration needs texts, and the candidate has neither training nor unlabeled texts")
    subset = random.Random(seed).sample(examples, min(count, len(examples)))
    return without_labels(candidate.task.encode(subset, candidate.tokenizer))


def unlabeled(candidate: Candidate, count: int, seed: int) -> list[Features]:
    """Return at most ``count`` of the candidate's unlabeled texts, tokenized."""
    subset = random.Random(seed).sample(candidate.unlabeled, min(count, len(candidate.unlabeled)))
    return without_labels(candidate.encode(list(map(Example, subset))))


def without_labels(features: Sequence[Features]) -> list[Features]:
    """Return the examples without ``ANSWERS``."""
    return [{name: value for name, value in item.items() if name not in ANSWERS} for item in features]


Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class LayerCall:
    """Arguments of one layer for one batch."""

    hidden: torch.Tensor
    """(batch, length, width)"""
    mask: torch.Tensor
    """(batch, length), True at tokens, False at padding."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    later: tuple[Arguments, ...] = ()
    """Arguments of the layers that follow, without ``hidden``; empty if they are the same for all."""

    def run(self, layer: Any) -> torch.Tensor:
        """Return the output of ``layer``, (batch, length, width)."""
        import torch

        with torch.inference_mode(), measurement_gate.compute_step(), mixed_precision(self.hidden.device):
            output = layer(self.hidden, *self.args, **self.kwargs)
        return output[0] if isinstance(output, tuple) else output  # type: ignore[no-any-return]

    def through(self, layer: Any) -> LayerCall:
        """Return the call of the layer that follows ``layer``."""
        args, kwargs = self.later[0] if self.later else (self.args, self.kwargs)
        return replace(self, hidden=self.run(layer), args=args, kwargs=kwargs, later=self.later[1:])


def first_layer_calls(model: Any, features: Sequence[Features], *, pad_token_id: int) -> list[LayerCall]:
    """Return the calls of the first layer in evaluation mode, one for each batch."""
    present = list(layers(model))
    differ = len({str(kind) for kind in getattr(model.config, "layer_types", None) or ()}) > 1
    arguments: list[Arguments] = []

    def record_arguments(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        arguments.append((args, kwargs))

    calls = []
    recorded = present if differ else present[:1]  # The others need not run.
    hooks = [layer.register_forward_pre_hook(record_arguments, with_kwargs=True) for layer in recorded]
    set_layers(model, recorded)
    own = vars(model.config).copy()
    model.config.use_cache = False  # Each call of a decoder's layer would lengthen its cache.
    try:
        for _, batch, _ in batches.forward(model, features, pad_token_id=pad_token_id):
            (hidden, args, kwargs), *later = map(_without_hidden, arguments)
            mask = batch["attention_mask"].to(hidden.device).bool()
            rest = tuple((more, named) for _, more, named in later)
            calls.append(LayerCall(hidden=hidden, mask=mask, args=args, kwargs=kwargs, later=rest))
            arguments.clear()
    finally:
        set_layers(model, present)
        if "use_cache" in own:
            model.config.use_cache = own["use_cache"]
        else:
            del model.config.use_cache
        for hook in hooks:
            hook.remove()
    return calls


def _without_hidden(arguments: Arguments) -> tuple[torch.Tensor, tuple[Any, ...], dict[str, Any]]:
    (hidden, *args), kwargs = arguments
    return hidden, tuple(args), kwargs
