"""Repeat sentences with rare entity types (Wang and Wang 2022, "Sampling better for named entity recognition")."""

from __future__ import annotations

import math
from collections import Counter
from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.texts.mentions import mentions


class EntityResampling(Strategy):
    """Sentences with entities are repeated, those with rare types more often.

    Worth it if most sentences have no entity or some types are rare. Training time grows with the sentences added. A
    sentence is shown 2 + log2(count of the most frequent type / count of its rarest type) times, rounded.

    - ``most``: maximum number of times; 2 to 4 suffice for the rare types of most data sets.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"tags"})
    after: ClassVar[frozenset[str]] = frozenset({"mention_replacement"})

    most: Annotated[int, Choice(2, 3, 4)] = 3

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        if effort == 0:
            return candidate.evolve("entity resampling, nothing added")
        mentions_by_example = mentions(candidate, candidate.train)
        counts = Counter(mention.type for example_mentions in mentions_by_example for mention in example_mentions)
        repeats: list[Example] = []
        for example, example_mentions in zip(candidate.train, mentions_by_example, strict=True):
            if example_mentions:
                rarest = min(counts[mention.type] for mention in example_mentions)
                # At least 2, since sentences without entities are the majority.
                repetitions = min(self.most, 2 + round(math.log2(max(counts.values()) / rarest)))
                repeats += [example] * (repetitions - 1)
        return candidate.evolve(
            f"entity resampling, {len(repeats)} sentences added", train=(*candidate.train, *repeats)
        )
