"""Repeat examples of rare classes (Buda et al. 2018, "A systematic study of the class imbalance problem")."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy


class Oversampling(Strategy):
    """Examples of rare classes are repeated evenly.

    Worth it for macro F1 if classes are imbalanced; seldom for accuracy. Training time grows with the examples added.

    - ``balance``: how far each class is raised towards the largest one; 1 makes all equally large.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"classes"})
    after: ClassVar[frozenset[str]] = frozenset({"random_edits", "character_noise", "synonym_replacement"})

    balance: Annotated[float, Choice(0.5, 1.0)] = 1.0

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("oversampling, nothing added")
        rng = random.Random(seed)
        classes: dict[object, list[Example]] = defaultdict(list)
        for example in candidate.train:
            classes[example.label].append(example)
        largest = max(map(len, classes.values()), default=0)
        repeats: list[Example] = []
        for members in classes.values():
            missing = round(self.balance * (largest - len(members)))
            repetitions, remainder = divmod(missing, len(members))
            repeats += members * repetitions + rng.sample(members, remainder)
        return candidate.evolve(f"oversampling, {len(repeats)} examples added", train=(*candidate.train, *repeats))
