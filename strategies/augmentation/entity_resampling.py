"""Show sentences with rare entities more often (Wang and Wang 2022, "Sampling better for named entity recognition")."""

from __future__ import annotations

import math
from collections import Counter
from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.texts.mentions import mentions


class EntityResampling(Strategy):
    """Most sentences have no entity, and rare types drown. A sentence is repeated by the rarest type that it has.

    ``most``: how often a sentence is shown at most. It is shown 2 + log2(the count of the commonest type / of its own)
    times, rounded, so 2 to 4 reach most data sets' rare types. Training time grows with what is added.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"tags"})
    after: ClassVar[frozenset[str]] = frozenset({"mention_replacement"})

    most: Annotated[int, Choice(2, 3, 4)] = 3

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        if effort == 0:
            return candidate.evolve("entity resampling, nothing added")
        found = mentions(candidate, candidate.train)
        counts = Counter(mention.type for of_example in found for mention in of_example)
        added: list[Example] = []
        for example, of_example in zip(candidate.train, found, strict=True):
            if of_example:
                rarest = min(counts[mention.type] for mention in of_example)
                # One more even for the commonest type: sentences without any entity are the majority.
                times = min(self.most, 2 + round(math.log2(max(counts.values()) / rarest)))
                added += [example] * (times - 1)
        return candidate.evolve(f"entity resampling, {len(added)} sentences added", train=(*candidate.train, *added))
