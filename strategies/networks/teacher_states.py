"""Distances between the inner states of two encoders: hidden states, or relations within the attention."""

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
    """Mean squared error of each layer's projected states to those of the teacher's layer at the same height.

    The projections are trained with the student and discarded (Jiao et al. 2020, "TinyBERT", equation 8).
    """

    def __init__(self, student: Any, teacher: Any) -> None:
        super().__init__()
        self.teacher = [teacher]  # In a list, so that its weights are not registered here.
        count, of = len(layers(student)), len(layers(teacher))
        self.heights = [round((place + 1) * of / count) for place in range(count)]
        widths = student.config.hidden_size, teacher.config.hidden_size
        projections = [nn.Linear(*widths, bias=False) for _ in self.heights]
        for projection in projections:
            nn.init.eye_(projection.weight)
        self.projections = nn.ModuleList(projections)
        self.to(student.device)

    def run(self, student: Any, batch: Batch) -> tuple[Any, torch.Tensor]:
        """Return the student's output for the batch and the distance of its states, a scalar."""
        output = student(**batch, output_hidden_states=True)
        inputs = _inputs(batch)
        with torch.no_grad():
            targets = self.teacher[0].base_model(**inputs, output_hidden_states=True).hidden_states
        present = batch["attention_mask"].bool()
        distances = [
            F.mse_loss(projection(states[present]), targets[height][present])
            for projection, states, height in zip(self.projections, output.hidden_states[1:], self.heights, strict=True)
        ]
        return output, torch.stack(distances).mean()


class Relations(nn.Module):
    """Divergence of the self-attention relations of queries, keys and values in the last layer.

    Mean over the three of KL(teacher || student) of softmax(A A^T / sqrt(d)), with A split into as many heads as
    fit both (Wang et al. 2021, "MiniLMv2", equation 5).
    """

    def __init__(self, teacher: Any) -> None:
        super().__init__()
        self.teacher = [teacher]

    def run(self, student: Any, batch: Batch) -> tuple[Any, torch.Tensor]:
        """Return the student's output for the batch and the distance of its relations, a scalar."""
        with _projections(student) as student_outputs:
            output = student(**batch)
        with torch.no_grad(), _projections(self.teacher[0]) as teacher_outputs:
            self.teacher[0].base_model(**_inputs(batch))
        present = batch["attention_mask"].bool()
        distances = []
        for student_states, teacher_states in zip(student_outputs, teacher_outputs, strict=True):
            heads = math.gcd(student_states.shape[-1], teacher_states.shape[-1], 48)
            predicted, target = (_relations(states, present, heads) for states in (student_states, teacher_states))
            divergences = F.kl_div(predicted, target, log_target=True, reduction="none").sum(-1)
            distances.append(divergences.transpose(1, 2)[present].mean())
        return output, torch.stack(distances).mean()


def _inputs(batch: Batch) -> Batch:
    return {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch}


@contextmanager
def _projections(model: Any) -> Iterator[list[torch.Tensor]]:
    """Record the outputs of the last layer's three projections, each (batch, length, width), while the model runs."""
    outputs: list[torch.Tensor] = []
    last = layers(model)[-1]
    hooks = [
        last.get_submodule(path).register_forward_hook(lambda _, __, output: outputs.append(output))
        for path in layout(model).attention_inputs
    ]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def _relations(states: torch.Tensor, present: torch.Tensor, heads: int) -> torch.Tensor:
    """Return log attention weights between tokens that are no padding, (batch, heads, length, length)."""
    batch, length, width = states.shape
    divided = states.view(batch, length, heads, width // heads).transpose(1, 2)
    scores = divided @ divided.transpose(-1, -2) / math.sqrt(width // heads)
    return scores.masked_fill(~present[:, None, None, :], -1e4).log_softmax(-1)
