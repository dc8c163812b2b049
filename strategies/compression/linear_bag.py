"""A linear model of TF-IDF terms instead of a network (Joachims 1998, "Text categorization with SVMs")."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.students.student import Student


class LinearBag(Student):
    """The classical rival: made in seconds from the labels alone, without a trunk, and served without torch.

    Words, pairs of words and, in short texts, groups of characters are weighted by TF-IDF; a support vector machine for
    each class answers. Of a pair of texts it reads what they have in common and what only one has. Good where words
    decide and examples are many; it knows no word that the examples lack. It also learns from the examples that a
    search leaves to no network for want of time, at 0.4 ms each.

    - ``characters``: ``auto`` has groups of three to five characters in short texts, which then find misspelt and
      inflected words; ``no`` has words alone, which takes a quarter of the time.
    - ``cost``: weight of the errors on the training examples; lower if labels are noisy.
    - ``most_examples``: number of examples that it learns from at most.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"whole", "labels", "cpu"})
    learns = True
    standard = True

    characters: Annotated[str, Choice("auto", "no")] = "auto"
    cost: Annotated[float, Choice(0.1, 0.3, 1.0)] = 0.3
    most_examples: int = Field(default=50_000, ge=1)

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        from autoopt.strategies.students.linear_training import fit_linear
        from autoopt.strategies.students.text_model import with_student

        config: Any = candidate.model.config
        examples = (*candidate.train, *candidate.reserve)[: max(len(candidate.train), self.most_examples)]
        arrays, characters = fit_linear(
            examples,
            outputs=config.num_labels,
            problem=config.problem_type,
            characters=None if self.characters == "auto" else False,
            cost=self.cost,
            seed=seed,
            trains=effort > 0,
        )
        pairs = any(example.text_pair is not None for example in candidate.train[:1])
        kind = "words and characters" if characters else "words"
        more = f", of {len(examples):,} examples" if candidate.reserve else ""
        event = f"a linear model of {len(arrays['frequencies']):,} terms, {kind}{more}, instead of the network"
        settings = {"characters": characters, "pairs": pairs}
        return with_student(candidate, event, kind=self.name, arrays=arrays, settings=settings)
