"""Factor the word embeddings, frequent words best (Chen et al. 2018, "GroupReduce"; Lan et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.architectures import replace_word_embeddings
from autoopt.strategies.strategy import Strategy

if TYPE_CHECKING:
    import torch
    from torch import nn


class EmbeddingFactorization(Strategy):
    """A narrow table and a matrix replace the embedding table: smaller, slightly slower. For limits on size and memory.

    The factors are the best approximation with words weighted by their frequency. ``int8_embeddings`` saves more for
    less quality; the two cannot be combined.

    - ``keep``: rank as a share of the embedding width; 0.5 costs little with recovery training, 0.25 is for tight
      limits.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"untied embeddings"})
    excludes: ClassVar[frozenset[str]] = frozenset({"int8_embeddings", "vocabulary_pruning"})
    cuts = True
    cut_share = 0.0

    keep: Annotated[float, Choice(0.5, 0.33, 0.25)] = 0.33

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        model: Any = candidate.copy_model()
        table = model.get_input_embeddings()
        words, width = table.weight.shape
        rank = max(1, round(self.keep * min(words, width)))
        factors = _empty_factors(table, rank)
        if effort > 0:
            _fill_factors(factors, table.weight.detach(), _count_tokens(candidate, words))
        replace_word_embeddings(model, factors)
        edit = {"strategy": self.name, "rank": rank}
        event = f"word embeddings of rank {rank} of {width}"
        return candidate.evolve(event, model=model, edits=(*candidate.edits, edit))

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:
        replace_word_embeddings(model, _empty_factors(model.get_input_embeddings(), edit["rank"]))
        return model


def _empty_factors(table: Any, rank: int) -> nn.Module:
    """Return a table and a matrix of the right shapes, filled with zeros."""
    from torch import nn

    from autoopt.strategies.networks.refitting import linear_of

    words, width = table.weight.shape
    thin = nn.Embedding(words, rank, padding_idx=table.padding_idx, _weight=table.weight.new_zeros(words, rank))
    return nn.Sequential(thin, linear_of(table.weight.new_zeros(width, rank), None))


def _count_tokens(candidate: Candidate, words: int) -> torch.Tensor:
    """Count each token in the training examples."""
    import torch

    counts = torch.zeros(words)
    for item in candidate.features():
        counts += torch.bincount(torch.tensor(item["input_ids"]), minlength=words)
    return counts


def _fill_factors(factors: Any, table: torch.Tensor, counts: torch.Tensor) -> None:
    """With D the root of the counts plus one and the SVD of D E = U S V^T, E ~ (E V) V^T on its first columns."""
    import torch

    weights = (counts.to(table.device) + 1).sqrt()[:, None]
    # The right singular vectors out of the small Gram matrix, rather than an SVD of the tall one.
    weighted = (table * weights).double()
    _, vectors = torch.linalg.eigh(weighted.T @ weighted)
    right = vectors[:, -factors[0].weight.shape[1] :].to(table.dtype)
    with torch.no_grad():
        factors[0].weight.copy_(table @ right)
        factors[1].weight.copy_(right)
