"""Targets that leave a little to the other classes (Szegedy et al. 2016, "Rethinking the Inception architecture")."""

from __future__ import annotations

from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.losses import cross_entropy


class LabelSmoothing(Strategy):
    """The model is not driven to be sure, which helps where labels are noisy and costs no time.

    ``share``: of the target that all classes share. 0.1 is the usual; 0.2 where many labels are wrong. Its answers are
    less sure, so a threshold on their scores has to be chosen anew.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"classes"})

    share: Annotated[float, Choice(0.05, 0.1, 0.2)] = 0.1

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        return candidate.evolve(f"label smoothing of {self.share}", criterion=cross_entropy(self.share))
