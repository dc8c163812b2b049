"""Draw texts of one class together and others apart, then solve for the head (Khosla et al. 2020, "SupCon")."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.candidate import Batch, Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.calibration import without_labels
from autoopt.strategies.networks.solved_head import catching_inputs, last_linear, solve_head
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.batches import collate
from autoopt.strategies.training.embedded_batches import CHANGING_EMBEDDINGS
from autoopt.strategies.training.loop import Schedule, train

if TYPE_CHECKING:
    import torch


class ContrastiveFinetuning(Strategy):
    """Supervised contrastive training of all weights on what the head reads; the head is then a logistic regression.

    The idea of SetFit (Tunstall et al. 2022), with all texts of a batch as each other's pairs. Worth it if each class
    has few examples or there are many classes. Each text is paired with another of its class, so that an epoch takes
    twice the time of one of full fine-tuning.

    - ``temperature``: lower values push the most similar texts of other classes away harder.
    - ``learning_rate``: below that of full fine-tuning.
    - ``epochs``: 1 to 3 if examples are many, more if they are few.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "classes"})
    excludes: ClassVar[frozenset[str]] = CHANGING_EMBEDDINGS
    trains = True

    temperature: Annotated[float, Choice(0.05, 0.1, 0.3)] = 0.1
    learning_rate: Annotated[float, Choice(2e-5, 5e-5, 1e-4)] = 5e-5
    epochs: Annotated[int, Choice(1, 3, 5)] = 3
    batch_size: int = 32

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("contrastive fine-tuning, 0 steps")
        model: Any = candidate.copy_model()
        layer: Any = last_linear(model)
        labelled = candidate.features()
        features, labels = without_labels(labelled), [item["labels"] for item in labelled]
        members: dict[int, list[int]] = defaultdict(list)
        for row, label in enumerate(labels):
            members[label].append(row)

        def loss(model: Any, batch: Batch) -> torch.Tensor:
            import torch

            anchors = batch["row"].tolist()
            rows = anchors + [_partner(row, members[labels[row]]) for row in anchors]
            texts = collate([features[row] for row in rows], pad_token_id=candidate.tokenizer.pad_token_id)
            with catching_inputs(layer) as inputs:
                model(**{name: tensor.to(model.device) for name, tensor in texts.items()})
            classes = torch.tensor([labels[row] for row in rows], device=model.device)
            return supervised_contrastive_loss(inputs[0].float(), classes, self.temperature)

        losses = train(
            model,
            [{"input_ids": item["input_ids"], "row": row} for row, item in enumerate(features)],
            Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size),
            pad_token_id=candidate.tokenizer.pad_token_id,
            effort=effort,
            seed=seed,
            loss=loss,
        )
        solve_head(candidate, model)
        return candidate.evolve(f"contrastive fine-tuning, {len(losses)} steps", model=model)


def supervised_contrastive_loss(states: torch.Tensor, classes: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the mean over texts and their positives of -log p(positive | text), p a softmax of cosine similarities.

    ``states`` is (texts, width) and ``classes`` (texts,); the positives of a text are the others of its class. Texts
    without any do not count; at least one must have some (Khosla et al. 2020, equation 2).
    """
    import torch
    from torch.nn import functional as F

    unit = F.normalize(states, dim=-1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    log_probabilities = (unit @ unit.T / temperature).masked_fill(itself, -torch.inf).log_softmax(dim=-1)
    positives = (classes[:, None] == classes) & ~itself
    counts = positives.sum(dim=-1)
    means = log_probabilities.masked_fill(~positives, 0.0).sum(dim=-1)[counts > 0] / counts[counts > 0]
    return -means.mean()


def _partner(row: int, members: list[int]) -> int:
    """Return another random member; ``row`` itself, which dropout will encode differently, if it is the only one."""
    import torch

    if len(members) == 1:
        return row
    chosen = int(torch.randint(len(members) - 1, ()))
    return members[chosen] if members[chosen] != row else members[-1]
