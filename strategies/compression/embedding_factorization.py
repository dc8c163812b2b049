"""Factor the table of word embeddings, frequent words best (Chen et al. 2018, "GroupReduce"; Lan et al. 2020)."""

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
    """A thin table and one matrix stand in for the table: smaller, and a little slower. For limits on size and memory.

    The best pair for the words as often as the texts use them. ``keep``: the rank as a share of the embeddings' width;
    0.5 costs little with recovery training, 0.25 is for tight limits. 8-bit embeddings save more for less, and do not
    go together with it.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    excludes: ClassVar[frozenset[str]] = frozenset({"int8_embeddings", "vocabulary_pruning"})
    cuts = True
    cut_share = 0.0

    keep: Annotated[float, Choice(0.5, 0.33, 0.25)] = 0.33

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        model: Any = candidate.copy_model()
        table = model.get_input_embeddings()
        words, width = table.weight.shape
        rank = max(1, round(self.keep * min(words, width)))
        made = _blank(table, rank)
        if effort > 0:
            _fill(made, table.weight.detach(), _counts(candidate, words))
        replace_word_embeddings(model, made)
        edit = {"strategy": self.name, "rank": rank}
        event = f"word embeddings of rank {rank} of {width}"
        return candidate.evolve(event, model=model, edits=(*candidate.edits, edit))

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:
        replace_word_embeddings(model, _blank(model.get_input_embeddings(), edit["rank"]))
        return model


def _blank(table: Any, rank: int) -> nn.Module:
    """A table and a matrix of the right shapes."""
    from torch import nn

    from autoopt.strategies.networks.refitting import linear_of

    words, width = table.weight.shape
    thin = nn.Embedding(words, rank, padding_idx=table.padding_idx, _weight=table.weight.new_zeros(words, rank))
    return nn.Sequential(thin, linear_of(table.weight.new_zeros(width, rank), None))


def _counts(candidate: Candidate, words: int) -> torch.Tensor:
    """How often the training examples use each token."""
    import torch

    counts = torch.zeros(words)
    for item in candidate.features():
        counts += torch.bincount(torch.tensor(item["input_ids"]), minlength=words)
    return counts


def _fill(made: Any, table: torch.Tensor, counts: torch.Tensor) -> None:
    """With D the root of the counts plus one and the SVD of D E = U S V^T, E ~ (E V) V^T on its first columns."""
    import torch

    weights = (counts.to(table.device) + 1).sqrt()[:, None]
    # The right singular vectors out of the small Gram matrix, rather than an SVD of the tall one.
    weighted = (table * weights).double()
    _, vectors = torch.linalg.eigh(weighted.T @ weighted)
    right = vectors[:, -made[0].weight.shape[1] :].to(table.dtype)
    with torch.no_grad():
        made[0].weight.copy_(table @ right)
        made[1].weight.copy_(right)
