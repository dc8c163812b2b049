"""Read another vector of the last hidden states (Reimers and Gurevych 2019, "Sentence-BERT")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy


class Pooling(Strategy):
    """A new head, dropout and one linear layer, on states pooled in another way than the model's own.

    Without it the head reads what the model was trained for: the pooling of its sentence-transformers configuration,
    else its trained pooler, else the mean, for a decoder the last token. Precedes the strategy that learns the task.
    The saved model needs autoopt to be opened, or ``autoopt export``.

    - ``pooling``: ``mean`` suits most encoders, ``last`` decoders. ``first`` if the first token was trained to stand
      for the text, ``max`` if single words decide.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"whole"})
    excludes: ClassVar[frozenset[str]] = frozenset({"self_training"})

    pooling: Annotated[str, Choice("first", "mean", "max", "last")] = "mean"

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        from autoopt.strategies.networks.pooling import normalizes, pooling_edits, pooling_of, with_pooling

        if pooling_of(candidate.model) == self.pooling:
            return candidate.evolve(f"pooling stays {self.pooling}, the model's own")
        model: Any = candidate.copy_model()
        with_pooling(model, self.pooling, normalizes=normalizes(model), seed=seed)
        others = [edit for edit in candidate.edits if edit["strategy"] != self.name]
        return candidate.evolve(f"pooling {self.pooling}", model=model, edits=(*pooling_edits(model), *others))

    @classmethod
    def reshapes(cls) -> bool:
        return True

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:
        from autoopt.strategies.networks.pooling import with_pooling

        return with_pooling(model, edit["pooling"], normalizes=edit["normalizes"])
