"""Solve for the task head on features of the frozen model (Alain and Bengio 2017, "Linear classifier probes")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from autoopt.strategies.candidate import Candidate, Features
from autoopt.strategies.networks.calibration import without_labels
from autoopt.strategies.networks.heads import head_parameters, train_only
from autoopt.strategies.networks.pooling import pooling_edits
from autoopt.strategies.networks.solved_head import last_linear, with_solved_head
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training import batches
from autoopt.strategies.training.loop import Schedule, fit
from autoopt.strategies.training.precision import mixed_precision

if TYPE_CHECKING:
    import torch


class LinearProbe(Strategy):
    """One forward pass through the frozen model, then the exact solution: seconds instead of minutes.

    The last linear layer becomes the logistic or ridge regression on its inputs, with the L2 penalty that
    cross-validation prefers. In place of a pretrained pooler's output it reads the mean if that gives held-out examples
    a lower loss. Close to full fine-tuning if the model was trained to embed texts, below it if not.

    Answers that are parts of a text have no such solution. For them the head is trained on recorded states:

    - ``learning_rate``, ``epochs``, ``batch_size``: of that training; without effect on other tasks.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"head"})
    former_knobs: ClassVar[frozenset[str]] = frozenset({"learning_rate", "epochs"})
    adaptive = True  # It may leave out the pooler.
    trains = True
    standard = True

    learning_rate: float = 1e-3
    epochs: int = 20
    batch_size: int = 16

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("linear probe, not solved")
        model: Any = candidate.copy_model()
        if last_linear(model) is None:
            steps = self._train_head(candidate, model, effort, seed)
            return candidate.evolve(f"linear probe, {steps} steps", model=model)
        own = pooling_edits(model)
        model, solved = with_solved_head(candidate, model, seed=seed)
        event = "linear probe, " + ("solved" if solved else "head kept")
        if (pooled := pooling_edits(model)) == own:
            return candidate.evolve(event, model=model)
        return candidate.evolve(f"{event} on the mean", model=model, edits=(*pooled, *candidate.edits))

    def _train_head(self, candidate: Candidate, model: Any, effort: float, seed: int) -> int:
        """Train the head in place on states recorded once; return the number of steps."""
        trunk = model.base_model
        features, pad_token_id = candidate.features(), candidate.tokenizer.pad_token_id
        recorded = _record(trunk, without_labels(features), pad_token_id)
        train_only(model, head_parameters(model))
        whole = trunk.forward

        def forward(*inputs: Any, row: Any = None, **more: Any) -> Any:
            # Texts that were not recorded are those of validation, scored on the way.
            if row is None:
                return whole(*inputs, **more)
            return _replay([recorded[number] for number in row.tolist()])

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
        return len(losses)


def _record(trunk: Any, features: list[Features], pad_token_id: int) -> list[torch.Tensor]:
    """Return the last hidden states of each example, (length, width)."""
    recorded: list[Any] = [None] * len(features)
    with mixed_precision(trunk.device):
        for positions, batch, output in batches.forward(trunk, features, pad_token_id=pad_token_id):
            lengths = batch["attention_mask"].sum(dim=1).tolist()
            for position, states, length in zip(positions, output.last_hidden_state, lengths, strict=True):
                # Autograd refuses a tensor of inference mode; its clone is none.
                recorded[position] = states[:length].clone()
    return recorded


def _replay(states: list[torch.Tensor]) -> Any:
    """Return what the trunk would return for examples with these states."""
    from torch.nn.utils.rnn import pad_sequence
    from transformers.modeling_outputs import BaseModelOutput

    return BaseModelOutput(last_hidden_state=pad_sequence(states, batch_first=True))
