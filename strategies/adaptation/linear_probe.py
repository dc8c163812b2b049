"""Train the task head only, on features computed once (Alain and Bengio 2017, "Linear classifier probes")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.candidate import Candidate, Features
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.calibration import without_labels
from autoopt.strategies.networks.heads import head_parameters, reads_first_token, train_only
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training import batches
from autoopt.strategies.training.loop import Schedule, fit
from autoopt.strategies.training.precision import mixed_precision

if TYPE_CHECKING:
    import torch


class LinearProbe(Strategy):
    """One forward pass through the frozen trunk, then many cheap epochs: seconds instead of minutes.

    Trains the task head and the pooler, if any; the trunk stays in eval mode. Quality is below full fine-tuning: worth
    it if time is short or examples are few.

    - ``learning_rate``, ``epochs``: both much higher than for full fine-tuning, since few weights are trained.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    trains = True
    standard = True

    learning_rate: Annotated[float, Choice(5e-4, 1e-3, 3e-3)] = 1e-3
    epochs: Annotated[int, Choice(10, 20, 50)] = 20
    batch_size: int = 16

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("linear probe, 0 steps")
        model: Any = candidate.copy_model()
        trunk = model.base_model
        features, pad_token_id = candidate.features(), candidate.tokenizer.pad_token_id
        recorded = _record(trunk, without_labels(features), pad_token_id, whole=not reads_first_token(model))
        train_only(model, head_parameters(model))
        whole = trunk.forward

        def forward(*inputs: Any, row: Any = None, **more: Any) -> Any:
            # Texts that were not recorded are those of validation, scored on the way.
            if row is None:
                return whole(*inputs, **more)
            return _replay(trunk, [recorded[number] for number in row.tolist()])

        trunk.forward = forward  # The head's own code then runs unchanged.
        losses = fit(
            candidate,
            model,
            Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size),
            effort=effort,
            seed=seed,
            features=[{**item, "row": row} for row, item in enumerate(features)],
        )
        del trunk.forward
        model.requires_grad_(True)
        return candidate.evolve(f"linear probe, {len(losses)} steps", model=model)


def _record(trunk: Any, features: list[Features], pad_token_id: int, *, whole: bool) -> list[torch.Tensor]:
    """Return the last hidden states of each example, (length, width) if ``whole``, else the first alone, (1, width)."""
    recorded: list[Any] = [None] * len(features)
    with mixed_precision(trunk.device):
        for positions, batch, output in batches.forward(trunk, features, pad_token_id=pad_token_id):
            lengths = batch["attention_mask"].sum(dim=1).tolist() if whole else [1] * len(positions)
            for position, states, length in zip(positions, output.last_hidden_state, lengths, strict=True):
                # Autograd refuses a tensor of inference mode; its clone is none.
                recorded[position] = states[:length].clone()
    return recorded


def _replay(trunk: Any, states: list[torch.Tensor]) -> Any:
    """Return what the trunk would return, as far as the head reads it, for examples with these states."""
    from torch.nn.utils.rnn import pad_sequence
    from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling

    sequence = pad_sequence(states, batch_first=True)
    if getattr(trunk, "pooler", None) is None:
        return BaseModelOutput(last_hidden_state=sequence)
    return BaseModelOutputWithPooling(last_hidden_state=sequence, pooler_output=trunk.pooler(sequence))
