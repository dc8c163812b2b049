"""Questions asked of contexts that do not answer them (after Rajpurkar et al. 2018, "Know what you don't know")."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy


class NegativeQuestions(Strategy):
    """Easy negatives, which teach a model to abstain where a question and a text have nothing to do with each other.

    Offered where the data has questions without an answer. ``share``: of the answerable questions that are asked once
    more of another context, one that does not hold the answer's words.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"spans", "unanswerable"})

    share: Annotated[float, Choice(0.1, 0.25, 0.5)] = 0.25

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("negative questions, none made")
        chance = random.Random(seed)
        contexts = list(dict.fromkeys(example.text_pair for example in candidate.train if example.text_pair))
        answerable = [example for example in candidate.train if example.text_pair and example.label]
        made: list[Example] = []
        for example in chance.sample(answerable, round(self.share * len(answerable))):
            others = [
                context for context in chance.sample(contexts, min(8, len(contexts))) if _silent(context, example)
            ]
            made += [replace(example, text_pair=context, label=()) for context in others[:1]]
        return candidate.evolve(f"negative questions, {len(made)} added", train=(*candidate.train, *made))


def _silent(context: str, example: Example) -> bool:
    """True where the context is another one and none of the answers stands in it."""
    answers = example.label if isinstance(example.label, tuple) else ()
    spans = [span.text.lower() for span in answers if not isinstance(span, int)]
    return context != example.text_pair and not any(text in context.lower() for text in spans)
