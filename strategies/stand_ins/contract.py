"""What a stand-in offers: a graph of another runtime, or a model with early exits, in place of a transformers model.

Callers ask the functions below, which answer for a transformers model too; none of them probes for attributes.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class StandIn(Protocol):
    """A model that computes what a transformers model computed, once nothing more is trained."""

    config: Any
    """The configuration of the model that it stands in for."""
    architecture: str
    """The class of the model that it stands in for."""
    all_tied_weights_keys: dict[str, str]
    """The tied names of its own state, as a transformers model has them."""

    @property
    def device(self) -> Any:
        """The device of its inputs."""

    def tie_weights(self) -> None:
        """Tie the weights after its state was loaded."""

    def structure(self) -> str | None:
        """Return a text that is equal for models that differ in weights alone; None if the state's tensors say it."""

    def parameter_count(self) -> int | None:
        """Return the number of its weights; None if the state's tensors say it."""

    def timed(self) -> AbstractContextManager[None]:
        """Let each call within the block take the time that the task's texts take, whatever it reads."""


def architecture_of(model: Any) -> str:
    """Return the class of the transformers model, also of one that a stand-in replaces."""
    return model.architecture if isinstance(model, StandIn) else type(model).__name__


def structure_text(model: Any) -> str | None:
    """Return what a stand-in says of its structure; None if the tensors of the model's state say it."""
    return model.structure() if isinstance(model, StandIn) else None


def parameter_count(model: Any) -> int:
    """Return the number of weights, quantized ones included; a tied weight counts once."""
    count = model.parameter_count() if isinstance(model, StandIn) else None
    if count is not None:
        return count
    tensors = {tensor.data_ptr(): tensor for tensor in model.state_dict().values() if tensor.numel()}
    return sum(tensor.numel() for tensor in tensors.values())


def timed(model: Any) -> AbstractContextManager[None]:
    """Let each call within the block take the time that the task's texts take."""
    return model.timed() if isinstance(model, StandIn) else nullcontext()
