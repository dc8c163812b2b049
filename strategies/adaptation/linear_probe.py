"""Train the task head alone, on features computed once (Alain and Bengio 2017, "Linear classifier probes")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies import batches
from autoopt.strategies.calibration import without_labels
from autoopt.strategies.candidate import Candidate, Features
from autoopt.strategies.heads import head_parameters, train_only
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training import Schedule, train

if TYPE_CHECKING:
    import torch


class LinearProbe(Strategy):
    """One forward pass of the frozen layers, then many cheap epochs: seconds where full fine-tuning takes minutes.

    What learns is the task head, with the pooler where the model has one, as it would above frozen layers in eval
    mode. Quality is below full fine-tuning: worth its place where time is short or examples are few.

    ``learning_rate`` and ``epochs``: both far above those of full fine-tuning, since few weights learn.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    trains = True

    learning_rate: Annotated[float, Choice(5e-4, 1e-3, 3e-3)] = 1e-3
    epochs: Annotated[int, Choice(10, 20, 50)] = 20
    batch_size: int = 16

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("linear probe, 0 steps")
        model: Any = candidate.copy_model()
        trunk = model.base_model
        features, pad_token_id = candidate.features(), candidate.tokenizer.pad_token_id
        recorded = _record(trunk, without_labels(features), pad_token_id)
        train_only(model, head_parameters(model))
        trunk.forward = lambda *_, row, **__: _replay(trunk, recorded[row])  # The head's own code then runs unchanged.
        losses = train(
            model,
            [{**item, "row": row} for row, item in enumerate(features)],
            Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size),
            pad_token_id=pad_token_id,
            effort=effort,
            seed=seed,
        )
        del trunk.forward
        model.requires_grad_(True)
        return candidate.evolve(f"linear probe, {len(losses)} steps", model=model)


def _record(trunk: Any, features: list[Features], pad_token_id: int) -> torch.Tensor:
    """The last state of each example's first token, (examples, width): all that a head for whole texts reads."""
    import torch

    recorded: list[Any] = [None] * len(features)
    for positions, _, output in batches.forward(trunk, features, pad_token_id=pad_token_id):
        for position, state in zip(positions, output.last_hidden_state[:, 0], strict=True):
            recorded[position] = state
    return torch.stack(recorded)


def _replay(trunk: Any, states: torch.Tensor) -> Any:
    """What the trunk would return, as far as the head reads it, for examples with these states, (batch, width)."""
    from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling

    sequence = states[:, None]
    if getattr(trunk, "pooler", None) is None:
        return BaseModelOutput(last_hidden_state=sequence)
    return BaseModelOutputWithPooling(last_hidden_state=sequence, pooler_output=trunk.pooler(sequence))
