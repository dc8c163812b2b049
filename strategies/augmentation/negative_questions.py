"""Pair questions with contexts that do not answer them (after Rajpurkar et al. 2018, "Know what you don't know")."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy


class NegativeQuestions(Strategy):
    """Easy negatives, which teach the model to abstain if question and context are unrelated.

    Offered if the data has questions without an answer.

    - ``share``: share of the answerable questions repeated with another context, one without the answer's words.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"spans", "unanswerable"})

    share: Annotated[float, Choice(0.1, 0.25, 0.5)] = 0.25

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("negative questions, none made")
        rng = random.Random(seed)
        contexts = list(dict.fromkeys(example.text_pair for example in candidate.train if example.text_pair))
        answerable = [example for example in candidate.train if example.text_pair and example.label]
        negatives: list[Example] = []
        for example in rng.sample(answerable, round(self.share * len(answerable))):
            unrelated = [
                context for context in rng.sample(contexts, min(8, len(contexts))) if _lacks_answer(context, example)
            ]
            negatives += [replace(example, text_pair=context, label=()) for context in unrelated[:1]]
        return candidate.evolve(f"negative questions, {len(negatives)} added", train=(*candidate.train, *negatives))


def _lacks_answer(context: str, example: Example) -> bool:
    """Whether the context differs from the example's and contains none of its answers."""
    answers = example.label if isinstance(example.label, tuple) else ()
    spans = [span.text.lower() for span in answers if not isinstance(span, int)]
    return context != example.text_pair and not any(text in context.lower() for text in spans)
