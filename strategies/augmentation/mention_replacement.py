"""Copies of sentences with their entities exchanged for others of their type (Dai and Adel 2020, "An analysis")."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.texts.mentions import Mention, mentions


class MentionReplacement(Strategy):
    """The model sees more pairs of entity and context than were written down. A mention brings its own tags along.

    ``share``: of the mentions that are exchanged in a copy. ``copies``: of each sentence that has entities; more where
    there are few.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"tags"})

    share: Annotated[float, Choice(0.5, 1.0)] = 0.5
    copies: Annotated[int, Choice(1, 2)] = 1

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("mention replacement, none made")
        chance = random.Random(seed)
        found = mentions(candidate, candidate.train)
        known: dict[str, list[Mention]] = defaultdict(list)
        for mention in (mention for of_example in found for mention in of_example):
            known[mention.type].append(mention)
        made = [
            self._exchange(example, of_example, known, chance)
            for _ in range(self.copies)
            for example, of_example in zip(candidate.train, found, strict=True)
            if of_example
        ]
        return candidate.evolve(f"mention replacement, {len(made)} sentences added", train=(*candidate.train, *made))

    def _exchange(
        self, example: Example, found: list[Mention], known: dict[str, list[Mention]], chance: random.Random
    ) -> Example:
        words, classes = example.text.split(" "), list(example.label)  # type: ignore[arg-type]
        for mention in reversed(found):  # From the last to the first, so that the places before stay what they are.
            if chance.random() < self.share:
                other = chance.choice(known[mention.type])
                old = slice(mention.start, mention.start + len(mention.words))
                words[old], classes[old] = other.words, other.classes
        return Example(" ".join(words), tuple(classes))  # type: ignore[arg-type]
