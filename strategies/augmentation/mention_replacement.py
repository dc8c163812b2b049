"""Add copies of sentences with entities replaced by others of their type (Dai and Adel 2020, "An analysis")."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.texts.mentions import Mention, mentions


class MentionReplacement(Strategy):
    """Copies that pair the entities of the training data with new contexts; a mention keeps its tags.

    Worth it if examples are few.

    - ``share``: share of the mentions replaced in a copy.
    - ``copies``: copies of each sentence with entities.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"tags"})

    share: Annotated[float, Choice(0.5, 1.0)] = 0.5
    copies: Annotated[int, Choice(1, 2)] = 1

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("mention replacement, none made")
        rng = random.Random(seed)
        mentions_by_example = mentions(candidate, candidate.train)
        mentions_by_type: dict[str, list[Mention]] = defaultdict(list)
        for mention in (mention for example_mentions in mentions_by_example for mention in example_mentions):
            mentions_by_type[mention.type].append(mention)
        copies = [
            self._replace_mentions(example, example_mentions, mentions_by_type, rng)
            for _ in range(self.copies)
            for example, example_mentions in zip(candidate.train, mentions_by_example, strict=True)
            if example_mentions
        ]
        return candidate.evolve(
            f"mention replacement, {len(copies)} sentences added", train=(*candidate.train, *copies)
        )

    def _replace_mentions(
        self,
        example: Example,
        example_mentions: list[Mention],
        mentions_by_type: dict[str, list[Mention]],
        rng: random.Random,
    ) -> Example:
        words, classes = example.text.split(" "), list(example.label)  # type: ignore[arg-type]
        for mention in reversed(example_mentions):  # Backwards, so that earlier offsets stay valid.
            if rng.random() < self.share:
                substitute = rng.choice(mentions_by_type[mention.type])
                replaced = slice(mention.start, mention.start + len(mention.words))
                words[replaced], classes[replaced] = substitute.words, substitute.classes
        return Example(" ".join(words), tuple(classes))  # type: ignore[arg-type]
