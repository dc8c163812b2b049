"""Copies of the examples with words swapped, deleted and inserted (Wei and Zou 2019, "EDA")."""

from __future__ import annotations

import random
from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy


class RandomEdits(Strategy):
    """Each copy keeps its label. An inserted word is one of the same text, so no source of synonyms is needed.

    ``share``: of the words that are edited; above 0.2 labels begin to suffer. ``copies``: of each example; more where
    examples are few, one where there are thousands. Training time grows with them.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"text"})

    share: Annotated[float, Choice(0.05, 0.1, 0.2)] = 0.1
    copies: Annotated[int, Choice(1, 2, 4)] = 1

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("random edits, none made")
        chance = random.Random(seed)
        made = tuple(
            example.edited(lambda text: _edit(text, self.share, chance))
            for _ in range(self.copies)
            for example in candidate.train
        )
        return candidate.evolve(f"random edits, {len(made)} examples added", train=(*candidate.train, *made))


def _edit(text: str, share: float, chance: random.Random) -> str:
    """The text after edits to ``share`` of its words, at least one; a text of a single word stays as it is."""
    words = text.split()
    if len(words) < 2:
        return text
    for _ in range(max(1, round(share * len(words)))):
        place = chance.randrange(len(words))
        match chance.choice(("swap", "delete", "insert")):
            case "swap":
                other = chance.randrange(len(words))
                words[place], words[other] = words[other], words[place]
            case "delete" if len(words) > 1:
                del words[place]
            case _:
                words.insert(place, chance.choice(words))
    return " ".join(words)
