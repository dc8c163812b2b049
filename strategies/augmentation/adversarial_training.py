"""Train on embeddings perturbed along the gradient (Miyato et al. 2017; in steps, Madry et al. 2018, "PGD")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.candidate import Batch, Candidate, Objective
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.embedded_batches import BYPASSING, with_embeddings, word_embeddings

if TYPE_CHECKING:
    import torch


class AdversarialTraining(Strategy):
    """The loss is the mean of that on the embeddings and that on a perturbation of them which increases it.

    - ``size``: norm of the perturbation of a text, relative to the norm of its embeddings.
    - ``steps``: 1 is the fast gradient method, at twice the time of plain training; 3 finds stronger perturbations, at
      four times.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels"})
    excludes: ClassVar[frozenset[str]] = BYPASSING | {"mixup", "cutoff"}

    size: Annotated[float, Choice(0.02, 0.05, 0.1)] = 0.05
    steps: Annotated[int, Choice(1, 3)] = 1

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        def shape(objective: Objective, model: Any, batch: Batch) -> torch.Tensor:
            import torch

            embeddings = word_embeddings(model, batch)
            clean_loss = objective(model, with_embeddings(batch, embeddings))
            radius = self.size * _norm(embeddings.detach())
            (gradient,) = torch.autograd.grad(clean_loss, embeddings, retain_graph=True)
            perturbation = _scale(gradient, radius / self.steps)
            for _ in range(self.steps - 1):
                perturbed = (embeddings.detach() + perturbation).requires_grad_()
                (gradient,) = torch.autograd.grad(objective(model, with_embeddings(batch, perturbed)), perturbed)
                perturbation = perturbation + _scale(gradient, radius / self.steps)
                perturbation = perturbation * (radius / _norm(perturbation)).clamp(max=1)
            return (clean_loss + objective(model, with_embeddings(batch, embeddings + perturbation))) / 2

        return candidate.evolve(f"adversarial training of {self.steps} steps", shaper=shape)


def _norm(embeddings: torch.Tensor) -> torch.Tensor:
    """Return the norm of all embeddings of each text together, (batch, 1, 1), at least 1e-12."""
    norm: torch.Tensor = embeddings.flatten(1).norm(dim=1)
    return norm.clamp_min(1e-12)[:, None, None]


def _scale(gradient: torch.Tensor, norm: torch.Tensor) -> torch.Tensor:
    return gradient * (norm / _norm(gradient))
