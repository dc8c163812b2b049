"""What a stand-in offers: a graph of another runtime, or a model with early exits, in place of a transformers model.

Callers ask the functions below, which answer for a transformers model too; none of them probes for attributes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, runtime_checkable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from autoopt.strategies.candidate import Example


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

    def timed(self, *, texts: bool) -> AbstractContextManager[None]:
        """Let each call within the block take the time that the task's texts take; ``texts``: it reads such texts."""


@runtime_checkable
class TextModel(Protocol):
    """A model that reads texts instead of tokens. Its answers do not depend on the other texts of a call."""

    reads_pairs: bool
    """Whether an answer is about two texts."""

    def text_logits(self, texts: Sequence[str], seconds: Sequence[str] | None = None) -> NDArray[Any]:
        """Return logits, (texts, classes); ``seconds`` are the second texts of pairs."""

    def sample_text(self, tokens: int, chance: random.Random) -> str:
        """Return a random text that takes as long as one of about ``tokens`` tokens."""


def reads_texts(model: Any) -> TypeGuard[TextModel]:
    """Return whether it is a ``TextModel``; a fifth of the time of an answer faster than ``isinstance``."""
    return hasattr(model, "text_logits")


def text_logits(model: TextModel, examples: Sequence[Example]) -> NDArray[Any]:
    """Return the logits of a model that reads texts, (examples, classes)."""
    seconds = [example.text_pair or "" for example in examples] if model.reads_pairs else None
    return model.text_logits([example.text for example in examples], seconds)


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


def timed(model: Any, *, texts: bool = False) -> AbstractContextManager[None]:
    """Let each call within the block take the time that the task's texts take."""
    return model.timed(texts=texts) if isinstance(model, StandIn) else nullcontext()
