"""Weight the loss of each class against its frequency (King and Zeng 2001, "Logistic regression in rare events")."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.losses import CrossEntropy


class ClassWeights(Strategy):
    """Errors on rare classes cost more, so that the model does not neglect them.

    Worth it for macro F1 if classes are imbalanced; seldom for accuracy. Costs no time, unlike oversampling.

    - ``power``: weights are the inverse of the class's number of examples to this power; 1 gives all classes the same
      influence, 0.5 is a compromise.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"classes", "imbalanced"})
    excludes: ClassVar[frozenset[str]] = frozenset({"oversampling"})

    power: Annotated[float, Choice(0.5, 1.0)] = 1.0

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        counts = Counter(example.label for example in candidate.train)
        raw = [
            counts[label] ** -self.power if counts[label] else 0.0
            for label in range(len(candidate.model.config.id2label or ()))
        ]
        # The mean weight of an example is 1, so that the learning rate keeps its meaning.
        mean = sum(weight * counts[label] for label, weight in enumerate(raw)) / len(candidate.train)
        criterion = CrossEntropy.of(candidate.criterion).with_weights(weight / mean for weight in raw)
        return candidate.evolve(f"class weights of power {self.power}", criterion=criterion)
