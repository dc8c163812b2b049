"""Remove heads and feed-forward columns from transformer layers, and measure the loss's sensitivity to each."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoopt.strategies.candidate import Batch, Candidate, Features
from autoopt.strategies.networks.architectures import layers, layout, replace_module
from autoopt.strategies.networks.calibration import LayerCall
from autoopt.strategies.networks.refitting import linear_of, refit, second_moments
from autoopt.strategies.system import measurement_gate
from autoopt.strategies.training.batches import collate
from autoopt.strategies.training.precision import mixed_precision

if TYPE_CHECKING:
    import torch
    from torch import nn

    from autoopt.strategies.networks.discovery import Layout

BATCH_SIZE = 8
_HEAD_COUNTS = ("num_attention_heads", "num_heads", "n_heads")
_KEY_COUNTS = ("num_key_value_heads", "num_kv_heads")
"""What the attentions of transformers call their number of heads, and of keys and values if there are fewer."""
_ALL_HEADS = "all_head_size"
"""And the width of all heads together."""


def head_count(model: Any) -> int:
    """Return the current number of heads of the first layer; heads that share a key and a value count as one."""
    where = layout(model)
    key: Any = layers(model)[0].get_submodule(where.attention_inputs[1])
    heads: int = key.out_features // where.head_size
    return heads


def keep_heads(model: Any, layer: nn.Module, heads: torch.Tensor, calls: list[LayerCall]) -> None:
    """Keep the heads of one layer with these indices; with ``calls`` the output projection is refitted.

    A key and a value that several queries share are kept with all of these.
    """
    import torch

    where = layout(model)
    where.check_complete()
    output_projection: Any = layer.get_submodule(where.attention_output)
    heads = heads.to(output_projection.weight.device)
    keys, columns = (_places(heads, size) for size in (where.head_size, where.group * where.head_size))
    with torch.no_grad():
        weight = output_projection.weight[:, columns]
        if calls:
            weight = refit(second_moments(layer, output_projection, calls), output_projection.weight, columns)
        attention = layer.get_submodule(where.attention_inputs[0].rpartition(".")[0])
        _keep_in_attention(attention, where, columns, keys)
        for path, rows in zip(where.attention_inputs, (columns, keys, keys), strict=True):
            replace_module(layer, path, _rows(layer.get_submodule(path), rows))
        replace_module(layer, where.attention_output, linear_of(weight, output_projection.bias))


def _keep_in_attention(attention: nn.Module, where: Layout, columns: torch.Tensor, keys: torch.Tensor) -> None:
    """Adjust what else an attention has for each head: its counts of heads, and norms over all of them together."""
    from torch import nn

    query: Any
    key: Any
    query, key = (attention.get_submodule(path.rpartition(".")[2]) for path in where.attention_inputs[:2])
    for part, kept, names in ((query, columns, _HEAD_COUNTS), (key, keys, _KEY_COUNTS)):
        before, after = (size // where.head_size for size in (part.out_features, len(kept)))
        for name in names:
            if vars(attention).get(name) == before:
                setattr(attention, name, after)
        if vars(attention).get(_ALL_HEADS) == part.out_features:
            setattr(attention, _ALL_HEADS, len(kept))
    for name, norm in attention.named_children():
        weight = getattr(norm, "weight", None)
        if isinstance(norm, nn.Linear) or weight is None or weight.ndim != 1 or len(weight) == where.head_size:
            continue
        part, kept = (key, keys) if name.startswith("k") else (query, columns)
        if len(weight) == part.out_features:
            for own, values in list(norm.named_parameters(recurse=False)):
                setattr(norm, own, nn.Parameter(values[kept], requires_grad=values.requires_grad))
            if isinstance(norm, nn.LayerNorm):
                norm.normalized_shape = (len(kept),)


def _places(heads: torch.Tensor, size: int) -> torch.Tensor:
    """Return the indices of all columns of these heads, of ``size`` columns each."""
    import torch

    return (heads[:, None] * size + torch.arange(size, device=heads.device)).flatten()


def keep_width(model: Any, layer: nn.Module, width: int, calls: list[LayerCall]) -> None:
    """Narrow the feed-forward block of one layer to ``width`` columns.

    With ``calls`` the columns with the largest root mean square activation times weight norm are kept and the second
    matrix is refitted; without them the first columns are kept, which is enough for the shapes.
    """
    import torch

    where = layout(model)
    where.check_complete()
    outer: Any = layer.get_submodule(where.ffn_out)
    with torch.no_grad():
        if calls:
            moments = second_moments(layer, outer, calls)
            scores = moments.diagonal().sqrt() * outer.weight.double().norm(dim=0)
            columns = scores.topk(width).indices.sort().values
            refitted = refit(moments, outer.weight, columns)
        else:
            columns = torch.arange(width, device=outer.weight.device)
            refitted = outer.weight[:, :width]
        full = outer.in_features
        for path in where.ffn_inputs:
            rows = torch.cat([columns, columns + full]) if where.has_fused_gate else columns
            replace_module(layer, path, _rows(layer.get_submodule(path), rows))
        replace_module(layer, where.ffn_out, linear_of(refitted, outer.bias))


def _rows(linear: Any, rows: torch.Tensor) -> nn.Linear:
    """Return a linear layer with these outputs of ``linear``."""
    return linear_of(linear.weight[rows], None if linear.bias is None else linear.bias[rows])


@dataclass(frozen=True)
class Sensitivity:
    """Gradient of the loss with respect to gates of value 1, for each batch of training examples."""

    heads: torch.Tensor
    """(batches, layers, heads)"""
    columns: torch.Tensor
    """(batches, layers, feed-forward width)"""


def loss_of(candidate: Candidate, model: Any, features: Sequence[Features]) -> float:
    """Return the mean loss of ``model`` on labelled examples, with the candidate's criterion."""
    import torch

    total = 0.0
    for batch in _batches(candidate, features):
        with torch.inference_mode(), measurement_gate.compute_step(), mixed_precision(model.device):
            total += float(candidate.criterion(model(**batch), batch)) * len(batch["input_ids"])
    return total / len(features)


def labelled_sample(candidate: Candidate, count: int, seed: int) -> list[Features]:
    """Return at most ``count`` of the training examples, tokenized, shortest first."""
    subset = random.Random(seed).sample(candidate.train, min(count, len(candidate.train)))
    return sorted(candidate.task.encode(subset, candidate.tokenizer), key=lambda item: len(item["input_ids"]))


def _batches(candidate: Candidate, features: Sequence[Features]) -> Iterator[Batch]:
    for start in range(0, len(features), BATCH_SIZE):
        batch = collate(features[start : start + BATCH_SIZE], pad_token_id=candidate.tokenizer.pad_token_id)
        yield {name: tensor.to(candidate.model.device) for name, tensor in batch.items()}


def sensitivity(candidate: Candidate, model: Any, features: Sequence[Features]) -> Sensitivity:
    """Return the sensitivity of ``model``'s loss on labelled examples to its heads and feed-forward columns."""
    import torch

    model = copy.deepcopy(model).requires_grad_(False)
    where, heads = layout(model), head_count(model)
    present = list(layers(model))
    width: Any = present[0].get_submodule(where.ffn_out)
    head_gates = torch.ones(len(present), heads, device=model.device, requires_grad=True)
    column_gates = torch.ones(len(present), width.in_features, device=model.device, requires_grad=True)

    def gate(gates: torch.Tensor, index: int, groups: int) -> Any:
        def scale(_: Any, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            inputs = args[0]
            return ((inputs.view(*inputs.shape[:-1], groups, -1) * gates[index][:, None]).flatten(-2),)

        return scale

    for index, layer in enumerate(present):
        layer.get_submodule(where.attention_output).register_forward_pre_hook(gate(head_gates, index, heads))
        layer.get_submodule(where.ffn_out).register_forward_pre_hook(gate(column_gates, index, width.in_features))
    gradients = []
    for batch in _batches(candidate, features):
        with measurement_gate.compute_step():
            with mixed_precision(model.device):
                loss = candidate.criterion(model(**batch), batch)
            gradients.append(torch.autograd.grad(loss, [head_gates, column_gates]))
    by_heads, by_columns = zip(*gradients, strict=True)
    return Sensitivity(torch.stack(by_heads).cpu(), torch.stack(by_columns).cpu())
