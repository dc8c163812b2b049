"""A masked language modeling head for any encoder trunk, tied to the trunk's word embeddings."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class WordHead(nn.Module):
    """A trunk with a new head shaped as BERT's: dense, activation, norm, tied output matrix, bias."""

    def __init__(self, trunk: Any) -> None:
        super().__init__()
        embeddings = trunk.get_input_embeddings().weight
        self.trunk = trunk
        self.trunk_learns = False
        """If False, only the head gets gradients and the trunk runs without a graph."""
        self.dense = nn.Linear(trunk.config.hidden_size, embeddings.shape[1])
        self.norm = nn.LayerNorm(embeddings.shape[1])
        self.bias = nn.Parameter(torch.zeros(embeddings.shape[0]))
        self.to(trunk.device)

    def head_parameters(self) -> list[nn.Parameter]:
        return [*self.dense.parameters(), *self.norm.parameters(), self.bias]

    def forward(self, inputs: dict[str, torch.Tensor], selected: torch.Tensor) -> torch.Tensor:
        """Return logits of the selected tokens, (tokens, vocabulary); those of all would cost more than the trunk.

        ``selected``, (batch, length), is True at the tokens to predict.
        """
        with torch.set_grad_enabled(self.trunk_learns):
            states = self.trunk(**inputs).last_hidden_state[selected]
        matrix = self.trunk.get_input_embeddings().weight
        hidden = self.norm(F.gelu(self.dense(states)))
        return F.linear(hidden, matrix if self.trunk_learns else matrix.detach(), self.bias)
