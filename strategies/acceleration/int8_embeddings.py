"""Store word embeddings in 8 bits, with one scale per word (after Zafrir et al. 2019, "Q8BERT")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.networks.architectures import replace_word_embeddings
from autoopt.strategies.strategy import Strategy


class Int8Embeddings(Strategy):
    """A quarter of the size for word embeddings, half of MiniLM's 91 MB; latency and answers stay the same.

    Worth it for limits on size and memory.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"untied embeddings"})

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        from autoopt.strategies.stand_ins.int8_embedding import Int8Embedding

        model: Any = candidate.copy_model()
        table = model.get_input_embeddings()
        replace_word_embeddings(model, Int8Embedding.of(table))
        event = f"8-bit embeddings of {table.num_embeddings} words"
        return candidate.evolve(event, model=model, edits=(*candidate.edits, {"strategy": self.name}))

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:  # noqa: ARG003
        from autoopt.strategies.stand_ins.int8_embedding import Int8Embedding

        words, width = model.get_input_embeddings().weight.shape
        replace_word_embeddings(model, Int8Embedding(words, width))
        return model
