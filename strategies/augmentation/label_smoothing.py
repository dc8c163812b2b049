"""Spread a share of each target over all classes (Szegedy et al. 2016, "Rethinking the Inception architecture")."""

from __future__ import annotations

from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.losses import CrossEntropy


class LabelSmoothing(Strategy):
    """Targets that leave some probability to every class, so that the model does not become overconfident.

    Worth it if labels are noisy; costs no time. Predicted probabilities become less extreme, so thresholds on them must
    be chosen again.

    - ``share``: probability that is spread over all classes. 0.1 is usual; 0.2 if many labels are wrong.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"classes"})

    share: Annotated[float, Choice(0.05, 0.1, 0.2)] = 0.1

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        criterion = CrossEntropy.of(candidate.criterion).with_smoothing(self.share)
        return candidate.evolve(f"label smoothing of {self.share}", criterion=criterion)
