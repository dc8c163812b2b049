"""Show rare classes as often as common ones (Buda et al. 2018, "A systematic study of the class imbalance problem")."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy


class Oversampling(Strategy):
    """Examples of rare classes are repeated, evenly. Helps macro F1 where classes are uneven, and accuracy seldom.

    ``balance``: how far the classes go towards the size of the largest; 1 makes all alike. Training time grows with
    what is added, and where all classes are alike already nothing is.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"classes"})
    after: ClassVar[frozenset[str]] = frozenset({"random_edits", "character_noise", "synonym_replacement"})

    balance: Annotated[float, Choice(0.5, 1.0)] = 1.0

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("oversampling, nothing added")
        chance = random.Random(seed)
        classes: dict[object, list[Example]] = defaultdict(list)
        for example in candidate.train:
            classes[example.label].append(example)
        largest = max(map(len, classes.values()), default=0)
        added: list[Example] = []
        for members in classes.values():
            missing = round(self.balance * (largest - len(members)))
            whole, rest = divmod(missing, len(members))
            added += members * whole + chance.sample(members, rest)
        return candidate.evolve(f"oversampling, {len(added)} examples added", train=(*candidate.train, *added))
