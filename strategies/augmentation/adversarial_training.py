"""Train on embeddings moved to where the loss grows most (Miyato et al. 2017; in steps, Madry et al. 2018, "PGD")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.candidate import Batch, Candidate, Objective
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.embedded_batches import BYPASSING, with_embeddings, word_embeddings

if TYPE_CHECKING:
    import torch


class AdversarialTraining(Strategy):
    """Each batch is read once as it is and once moved, and both are to be right.

    ``size``: how far the words of a text move together, relative to the length of their embeddings. ``steps``: 1 is the
    fast gradient method at twice the time of plain training; 3 looks harder for what misleads, at four times.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"encoder", "labels"})
    excludes: ClassVar[frozenset[str]] = BYPASSING | {"mixup", "cutoff"}

    size: Annotated[float, Choice(0.02, 0.05, 0.1)] = 0.05
    steps: Annotated[int, Choice(1, 3)] = 1

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        def shape(objective: Objective, model: Any, batch: Batch) -> torch.Tensor:
            import torch

            words = word_embeddings(model, batch)
            plain = objective(model, with_embeddings(batch, words))
            radius = self.size * _length(words.detach())
            (slope,) = torch.autograd.grad(plain, words, retain_graph=True)
            moved = _along(slope, radius / self.steps)
            for _ in range(self.steps - 1):
                place = (words.detach() + moved).requires_grad_()
                (slope,) = torch.autograd.grad(objective(model, with_embeddings(batch, place)), place)
                moved = moved + _along(slope, radius / self.steps)
                moved = moved * (radius / _length(moved)).clamp(max=1)
            return (plain + objective(model, with_embeddings(batch, words + moved))) / 2

        return candidate.evolve(f"adversarial training of {self.steps} steps", shaper=shape)


def _length(words: torch.Tensor) -> torch.Tensor:
    """The norm of all words of each text together, (batch, 1, 1); never 0."""
    length: torch.Tensor = words.flatten(1).norm(dim=1)
    return length.clamp_min(1e-12)[:, None, None]


def _along(slope: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    return slope * (length / _length(slope))
