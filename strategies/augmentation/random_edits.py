"""Add copies of the examples with words swapped, deleted and inserted (Wei and Zou 2019, "EDA")."""

from __future__ import annotations

import random
from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.texts.words import join_words, split_for_editing


class RandomEdits(Strategy):
    """Edited copies that keep their labels. Inserted words come from the same text, so no thesaurus is needed.

    Training time grows with the copies.

    - ``share``: share of the words edited; labels become unreliable above 0.2.
    - ``copies``: copies of each example; more if examples are few, 1 if there are thousands.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"text"})

    share: Annotated[float, Choice(0.05, 0.1, 0.2)] = 0.1
    copies: Annotated[int, Choice(1, 2, 4)] = 1

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("random edits, none made")
        rng = random.Random(seed)
        edited = tuple(
            example.edited(lambda text: _edit(text, self.share, rng))
            for _ in range(self.copies)
            for example in candidate.train
        )
        return candidate.evolve(f"random edits, {len(edited)} examples added", train=(*candidate.train, *edited))


def _edit(text: str, share: float, rng: random.Random) -> str:
    """Edit ``share`` of the words, at least one; a text of a single word is returned unchanged."""
    words = split_for_editing(text)
    if len(words) < 2:
        return text
    for _ in range(max(1, round(share * len(words)))):
        index = rng.randrange(len(words))
        match rng.choice(("swap", "delete", "insert")):
            case "swap":
                other_index = rng.randrange(len(words))
                words[index], words[other_index] = words[other_index], words[index]
            case "delete" if len(words) > 1:
                del words[index]
            case _:
                words.insert(index, rng.choice(words))
    return join_words(words)
