"""Train the last layers and the head, all others frozen (Lee et al. 2019, "What would Elsa do?")."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.candidate import Batch, Candidate, Features
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.architectures import embeddings, layers, set_layers
from autoopt.strategies.networks.calibration import without_labels
from autoopt.strategies.networks.heads import head_parameters, train_only
from autoopt.strategies.networks.solved_head import copy_for_training
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training import batches
from autoopt.strategies.training.loop import Schedule, fit
from autoopt.strategies.training.precision import mixed_precision

if TYPE_CHECKING:
    import torch

LARGEST_RECORD_BYTES = 2**30
"""Size of the recorded states above which the frozen layers are recomputed at each step instead."""


class TopLayers(Strategy):
    """The frozen layers run once, in eval mode, and each epoch trains only the layers above: half the time or less.

    - ``count``: number of trained layers. A quarter to a half of all comes close to full fine-tuning and forgets less
      with few examples.
    - ``learning_rate``, ``epochs``: higher than for full fine-tuning.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"head"})
    trains = True
    standard = True

    count: Annotated[int, Choice(1, 2, 3)] = 2
    learning_rate: Annotated[float, Choice(1e-4, 2e-4, 5e-4)] = 2e-4
    epochs: Annotated[int, Choice(3, 5, 8)] = 5
    batch_size: int = 16
    head_first: bool = True

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve(f"top {self.count} layers, 0 steps")
        model: Any = copy_for_training(candidate, head_first=self.head_first)
        features, pad_token_id = candidate.features(), candidate.tokenizer.pad_token_id
        all_layers = list(layers(model))
        frozen, trained = all_layers[: -self.count], all_layers[-self.count :]
        train_only(model, [*(weight for layer in trained for weight in layer.parameters()), *head_parameters(model)])
        recorded: list[torch.Tensor] = []
        outputs = 0
        if frozen and _record_bytes(model, features) <= LARGEST_RECORD_BYTES:
            recorded, outputs = _record(model, without_labels(features), len(frozen), pad_token_id)
            set_layers(model, [frozen[-1], *trained])

        def forward(model: Any, batch: Batch) -> Any:
            rows = batch["row"].tolist()
            # No dropout in frozen layers, so that computed and recorded states are equal.
            for module in (embeddings(model), *frozen):
                module.eval()
            if recorded:
                frozen[-1].forward = lambda *_, **__: _replay(recorded, rows, outputs)
            return model(**{name: tensor for name, tensor in batch.items() if name != "row"})

        @contextmanager
        def scoring() -> Iterator[None]:
            if not recorded:
                yield
                return
            replay = frozen[-1].forward
            del frozen[-1].forward
            set_layers(model, all_layers)
            yield
            frozen[-1].forward = replay
            set_layers(model, [frozen[-1], *trained])

        losses = fit(
            candidate,
            model,
            Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size),
            effort=effort,
            seed=seed,
            features=[{**item, "row": row} for row, item in enumerate(features)],
            forward=forward,
            scoring=scoring,
        )
        if recorded:
            del frozen[-1].forward
            set_layers(model, all_layers)
        model.requires_grad_(True)
        return candidate.evolve(f"top {len(trained)} layers, {len(losses)} steps", model=model)


def _record_bytes(model: Any, features: list[Features]) -> int:
    width: int = model.config.hidden_size
    return sum(len(item["input_ids"]) for item in features) * width * 4


def _record(model: Any, features: list[Features], layer: int, pad_token_id: int) -> tuple[list[torch.Tensor], int]:
    """Return the input of layer number ``layer`` for each example, (length, width).

    Also return how many outputs the layer before it has, its attention weights among them; 0 if it is not a tuple.
    """
    recorded: list[Any] = [None] * len(features)
    outputs = [0]

    def count_outputs(_: Any, __: Any, output: Any) -> None:
        outputs[0] = len(output) if isinstance(output, tuple) else 0

    hook = layers(model)[layer - 1].register_forward_hook(count_outputs)
    with mixed_precision(model.device):
        for positions, batch, output in batches.forward(model, features, pad_token_id=pad_token_id, hidden_states=True):
            for place, position in enumerate(positions):
                length = int(batch["attention_mask"][place].sum())
                # Autograd refuses a tensor of inference mode; its clone is none.
                recorded[position] = output.hidden_states[layer][place, :length].clone()
    hook.remove()
    return recorded, outputs[0]


def _replay(recorded: list[torch.Tensor], rows: list[int], outputs: int) -> Any:
    """Pad the recorded states of these rows to (batch, length, width), in a tuple of ``outputs`` unless that is 0."""
    from torch.nn.utils.rnn import pad_sequence

    states = pad_sequence([recorded[row] for row in rows], batch_first=True)
    return (states, *[None] * (outputs - 1)) if outputs else states
