"""How far what happens within two encoders is apart: their hidden states, or the relations within their attention."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from autoopt.strategies.candidate import Batch
from autoopt.strategies.networks.architectures import layers, layout


class HiddenStates(nn.Module):
    """The mean squared error of each layer's states to those of the teacher's layer at the same height, projected.

    The projections are learned with the student and thrown away (Jiao et al. 2020, "TinyBERT", equation 8).
    """

    def __init__(self, student: Any, teacher: Any) -> None:
        super().__init__()
        self.teacher = [teacher]  # In a list, so that its weights are none of this module's.
        count, of = len(layers(student)), len(layers(teacher))
        self.heights = [round((place + 1) * of / count) for place in range(count)]
        widths = student.config.hidden_size, teacher.config.hidden_size
        projections = [nn.Linear(*widths, bias=False) for _ in self.heights]
        for projection in projections:
            nn.init.eye_(projection.weight)
        self.projections = nn.ModuleList(projections)
        self.to(student.device)

    def run(self, student: Any, batch: Batch) -> tuple[Any, torch.Tensor]:
        """The student's output for the batch, and how far its states are apart."""
        output = student(**batch, output_hidden_states=True)
        inputs = _inputs(batch)
        with torch.no_grad():
            wanted = self.teacher[0].base_model(**inputs, output_hidden_states=True).hidden_states
        present = batch["attention_mask"].bool()
        apart = [
            F.mse_loss(projection(states[present]), wanted[height][present])
            for projection, states, height in zip(self.projections, output.hidden_states[1:], self.heights, strict=True)
        ]
        return output, torch.stack(apart).mean()


class Relations(nn.Module):
    """How queries, keys and values of the last layer relate to one another, token by token.

    The mean over the three of KL(teacher || student) of softmax(A A^T / sqrt(d)), with A divided into as many heads as
    fit both (Wang et al. 2021, "MiniLMv2", equation 5).
    """

    def __init__(self, teacher: Any) -> None:
        super().__init__()
        self.teacher = [teacher]

    def run(self, student: Any, batch: Batch) -> tuple[Any, torch.Tensor]:
        """The student's output for the batch, and how far its relations are apart."""
        with _projections(student) as of_student:
            output = student(**batch)
        with torch.no_grad(), _projections(self.teacher[0]) as of_teacher:
            self.teacher[0].base_model(**_inputs(batch))
        present = batch["attention_mask"].bool()
        apart = []
        for mine, theirs in zip(of_student, of_teacher, strict=True):
            heads = math.gcd(mine.shape[-1], theirs.shape[-1], 48)
            found, wanted = (_relations(states, present, heads) for states in (mine, theirs))
            each = F.kl_div(found, wanted, log_target=True, reduction="none").sum(-1)
            apart.append(each.transpose(1, 2)[present].mean())
        return output, torch.stack(apart).mean()


def _inputs(batch: Batch) -> Batch:
    return {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch}


@contextmanager
def _projections(model: Any) -> Iterator[list[torch.Tensor]]:
    """What the last layer's three projections return while the model runs, each (batch, length, width)."""
    found: list[torch.Tensor] = []
    last = layers(model)[-1]
    hooks = [
        last.get_submodule(path).register_forward_hook(lambda _, __, output: found.append(output))
        for path in layout(model).attention_inputs
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _relations(states: torch.Tensor, present: torch.Tensor, heads: int) -> torch.Tensor:
    """Log of the share that each token gives to each token there is, (batch, heads, length, length)."""
    batch, length, width = states.shape
    divided = states.view(batch, length, heads, width // heads).transpose(1, 2)
    scores = divided @ divided.transpose(-1, -2) / math.sqrt(width // heads)
    return scores.masked_fill(~present[:, None, None, :], -1e4).log_softmax(-1)
