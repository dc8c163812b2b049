"""An encoder that stops at the first layer whose classifier is confident."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from autoopt.strategies.networks.architectures import layers
from autoopt.strategies.networks.pooling import text_vectors
from autoopt.strategies.stand_ins.contract import architecture_of


class _AllAnswered(Exception):
    """Raised within the model to stop it."""


class _Early:
    """Logits of the texts of a batch that are answered already, each from the first confident classifier."""

    def __init__(self) -> None:
        self.logits: torch.Tensor | None = None
        self.answered: torch.Tensor | None = None

    def add(self, logits: torch.Tensor, sure: torch.Tensor) -> None:
        if self.logits is None or self.answered is None:
            self.logits, self.answered = logits, sure
        else:
            self.logits = torch.where(self.answered[:, None], self.logits, logits)
            self.answered = self.answered | sure

    @property
    def all_answered(self) -> bool:
        return self.answered is not None and bool(self.answered.all())

    def merged(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the logits with those of answered texts replaced."""
        if self.logits is None or self.answered is None:
            return logits
        return torch.where(self.answered[:, None], self.logits, logits)


class Exit(nn.Module):
    """A classifier of a text's vector, shaped as BERT's pooler and head."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.classifier = nn.Linear(width, classes)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, classes) of states (batch, width)."""
        return self.classifier(torch.tanh(self.dense(states)))  # type: ignore[no-any-return]


class EarlyExitModel(nn.Module):
    """Replaces a classifier once nothing more is trained.

    A batch stops once all of its texts are answered; an answer does not depend on the rest of the batch.

    ``mix`` holds the number of layers that each of some texts of the task needed. Within ``timed`` calls stop after
    these depths in turn, so that a measurement on random tokens takes the time of real texts. Until the classifiers are
    trained each depth is in the mix once, and calls on real texts follow it too.
    """

    def __init__(self, model: Any, *, confidence: float, mix: Sequence[int]) -> None:
        super().__init__()
        self.config = model.config
        self.architecture = architecture_of(model)
        self.all_tied_weights_keys: dict[str, str] = {
            f"model.{name}": f"model.{other}" for name, other in model.all_tied_weights_keys.items()
        }
        self.model = model
        self.confidence = confidence
        self.remember(mix)
        width, classes = model.config.hidden_size, model.config.num_labels
        self.exits = nn.ModuleList(Exit(width, classes) for _ in layers(model)[:-1])
        self._turn: int | None = None

    @property
    def device(self) -> torch.device:
        return self.model.device  # type: ignore[no-any-return]

    def tie_weights(self) -> None:
        self.model.tie_weights()

    def remember(self, mix: Sequence[int]) -> None:
        self.mix = list(mix)
        self.mix_number = _as_number(self.mix)
        """Distinguishes models with different mixes in ``structure_digest``."""

    def structure(self) -> None:
        """Return None: the tensors of the state determine it."""

    def parameter_count(self) -> None:
        """Return None: the tensors of the state determine it."""

    @contextmanager
    def timed(self, *, texts: bool) -> Iterator[None]:
        is_trained = self.mix != untrained_mix(self.model)
        self._turn = None if texts and is_trained else 0
        try:
            yield
        finally:
            self._turn = None

    def forward(self, *, output_hidden_states: bool = False, **inputs: torch.Tensor) -> Any:
        """Return logits for inputs of shape (batch, length). Raises ``ValueError`` in training mode."""
        if output_hidden_states or self.training:
            raise ValueError("a model with early exits returns no hidden states and cannot be trained")
        early = _Early()
        mask = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"]))
        # Permanent hooks would refer to the original model in a copy of this one.
        hooks = [
            layer.register_forward_hook(self._exit_hook(index, early, mask))
            for index, layer in enumerate(layers(self.model)[:-1])
        ]
        try:
            return SequenceClassifierOutput(logits=early.merged(self.model(**inputs).logits))
        except _AllAnswered:
            return SequenceClassifierOutput(logits=early.logits)
        finally:
            for hook in hooks:
                hook.remove()
            if self._turn is not None:
                self._turn += 1

    def answered_after(self, **inputs: torch.Tensor) -> int:
        """Return the number of layers that layer_calls for a batch."""
        layer_calls: list[int] = []
        hooks = [layer.register_forward_hook(lambda *_: layer_calls.append(1)) for layer in layers(self.model)]
        try:
            self(**inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return len(layer_calls)

    def vectors(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return what the classifiers read of a layer's states, (batch, width), pooled as the model's head does.

        ``mask``, (batch, length), may be longer than the states: the model may truncate its inputs.
        """
        return text_vectors(self.model, states, mask[:, : states.shape[1]])

    def _exit_hook(self, index: int, early: _Early, mask: torch.Tensor) -> Any:
        def hook(_: Any, __: Any, output: Any) -> None:
            states = output[0] if isinstance(output, tuple) else output
            logits = self.exits[index](self.vectors(states, mask))
            if self._turn is None:
                early.add(logits, logits.softmax(-1).amax(-1) >= self.confidence)
            else:
                early.add(logits, torch.full_like(logits[:, 0], self._replayed(len(logits)) == index + 1).bool())
            if early.all_answered:
                raise _AllAnswered

        return hook

    def _replayed(self, texts: int) -> int:
        """Return the greatest depth of the next ``texts`` entries of the mix."""
        begin = (self._turn or 0) * texts
        return max(self.mix[(begin + number) % len(self.mix)] for number in range(texts))


def untrained_mix(model: Any) -> list[int]:
    """Return the depths that are assumed before the classifiers are trained: each one once."""
    return [*range(1, len(layers(model)) + 1)]


def _as_number(mix: list[int]) -> int:
    """Return an integer that identifies the mix regardless of its order."""
    return sum(64**index * sum(depth == index for depth in mix) for index in set(mix))
