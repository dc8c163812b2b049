"""Prune layers, heads and feed-forward columns together (Kwon et al. 2022, "Fast post-training pruning")."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.candidate import Candidate, Features
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks import calibration
from autoopt.strategies.networks.architectures import layers, layout, set_layers
from autoopt.strategies.networks.calibration import LayerCall
from autoopt.strategies.networks.pruning import (
    head_count,
    keep_heads,
    keep_width,
    labelled_sample,
    loss_of,
    sensitivity,
)
from autoopt.strategies.strategy import Strategy

if TYPE_CHECKING:
    import torch

OVERHEAD = 0.25
"""The share of a whole layer's time that does not shrink with its matrices: norms, sums, calls. Measured on MiniLM with
64 tokens on a CPU; the trial measures what the cut model really takes."""
STEPS = 16
"""Into how many equal groups the feed-forward columns of a layer are divided."""
GRAIN = 400
"""Units of cost in a whole layer."""
DEPTHS = 3
"""How many numbers of layers are tried."""
LEAST = 0.4
"""A layer that keeps less than this share of its time is worth less than a part of the others."""
FEWEST = 32
"""So many examples even where they are long; on so many it is seen which layer to leave out, since that is done once
for each pair of layers."""


class JointPruning(Strategy):
    """Each layer keeps as many heads and columns as its importance justifies, and some layers go; the rest is refitted.

    Layers are removed one at a time, each time the one whose removal gives the least loss. For several numbers of
    layers, the remaining cost is divided among heads and columns: their importance is the squared gradient of the loss
    by a gate (the diagonal of the Fisher information), and the division is a knapsack problem, solved exactly. Of the
    resulting models, the one with the least loss on training examples is kept. Layers come to differ, so the saved
    model needs autoopt to be opened.

    - ``keep``: share of the layers' time that stays, by a cost model. 0.5 costs almost nothing with distillation; 0.25
      is for tight limits.
    - ``calibration_tokens``: number of tokens, from at most ``calibration_texts`` training examples, to measure losses
      on. Half as many lowered quality, twice as many only took longer.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "separate heads", "feed-forward"})
    excludes: ClassVar[frozenset[str]] = frozenset({"layer_drop", "ffn_pruning", "head_pruning", "weight_sharing"})
    cuts = True
    standard = True
    adaptive = True

    keep: Annotated[float, Choice(0.75, 0.5, 0.33, 0.25, 0.17)] = 0.5
    calibration_texts: int = 256
    calibration_tokens: int = 4096

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        whole: Any = candidate.copy_model()
        total, heads = len(layers(whole)), head_count(whole)
        full: int = getattr(whole.config, layout(whole).ffn_width)
        if effort == 0:
            counts = _counts(whole, self.keep)
            places = _spread(counts[len(counts) // 2], total)
            model, parts = _cut(candidate, places, self.keep, [], [])
        else:
            labelled = labelled_sample(candidate, self.calibration_texts, seed)
            tokens = sum(len(item["input_ids"]) for item in labelled)
            enough = math.ceil(len(labelled) * self.calibration_tokens / tokens)
            labelled = _some(labelled, max(FEWEST, enough))
            texts = calibration.without_labels(labelled)
            tried = []
            for places in _fewer_and_fewer(candidate, _counts(whole, self.keep), labelled):
                model, parts = _cut(candidate, places, self.keep, labelled, texts)
                tried.append((loss_of(candidate, model, labelled), places, model, parts))
            _, places, model, parts = min(tried, key=lambda found: found[0])
        shape = {"heads": [part.heads for part in parts], "widths": [part.width for part in parts]}
        event = (
            f"kept layers {places} of {total} with {shape['heads']} of {heads} heads and feed-forward widths "
            f"{shape['widths']} of {full}"
        )
        return candidate.evolve(event, model=model, edits=(*candidate.edits, {"strategy": self.name, **shape}))

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:
        import torch

        for layer, heads, width in zip(layers(model), edit["heads"], edit["widths"], strict=True):
            keep_heads(model, layer, torch.arange(heads), [])
            keep_width(model, layer, width, [])
        return model


@dataclass(frozen=True)
class Part:
    """What one layer keeps."""

    heads: int
    width: int


def _counts(model: Any, keep: float) -> list[int]:
    """At most ``DEPTHS`` numbers of layers for which there is enough, the most first.

    With the most each layer keeps about ``LEAST`` of its time, with the least next to all of it.
    """
    total = len(layers(model))
    smallest = _cost(1 / head_count(model), 1 / STEPS, _attention_share(model)) / GRAIN
    most = max(1, min(total, round(keep * total / LEAST), int(keep * total / smallest)))
    least = min(most, max(1, math.ceil(keep * total)))
    return sorted({most - place for place in _spread(DEPTHS, most - least + 1)}, reverse=True)


def _spread(count: int, total: int) -> list[int]:
    """``count`` places from the first to the last of ``total``, evenly apart."""
    return [round(step * (total - 1) / max(1, count - 1)) for step in range(count)]


def _some(features: list[Features], count: int) -> list[Features]:
    """At most ``count`` of them, of all lengths where they are in the order of it."""
    return [features[place] for place in _spread(min(count, len(features)), len(features))]


def _fewer_and_fewer(candidate: Candidate, counts: list[int], labelled: list[Features]) -> Iterator[list[int]]:
    """For each number of layers those to keep; each time the one goes without which the loss is least."""
    model: Any = candidate.copy_model()
    present = list(layers(model))
    kept = list(range(len(present)))
    some = _some(labelled, FEWEST)
    while True:
        if len(kept) in counts:
            yield kept
        if len(kept) <= counts[-1]:
            return
        tried = []
        for place in kept:
            rest = [other for other in kept if other != place]
            set_layers(model, [present[other] for other in rest])
            tried.append((loss_of(candidate, model, some), rest))
        _, kept = min(tried)


def _cut(
    candidate: Candidate, places: list[int], keep: float, labelled: list[Features], texts: list[Features]
) -> tuple[Any, list[Part]]:
    """A model of these layers, cut to the cost, and what each layer keeps; without examples the shapes alone."""
    import torch

    model: Any = candidate.copy_model()
    total = len(layers(model))
    set_layers(model, [layers(model)[place] for place in places])
    heads: int = head_count(model)
    full: int = getattr(model.config, layout(model).ffn_width)
    calls: list[LayerCall] = []
    of_heads = torch.arange(heads, 0, -1.0).expand(len(places), heads) / heads**2
    of_columns = torch.arange(full, 0, -1.0).expand(len(places), full) / full**2
    if labelled:
        found = sensitivity(candidate, model, labelled)
        of_heads, of_columns = found.heads.square().sum(0), found.columns.square().sum(0)
        calls = calibration.first_layer_calls(model, texts, pad_token_id=candidate.tokenizer.pad_token_id)
    parts = _best_parts(of_heads, of_columns, _attention_share(model), keep * total)
    for layer, scores, part in zip(layers(model), of_heads, parts, strict=True):
        keep_heads(model, layer, scores.topk(part.heads).indices.sort().values, calls)
        keep_width(model, layer, part.width, calls)
        calls = [call.through(layer) for call in calls]
    return model, parts


def _attention_share(model: Any) -> float:
    """The attention's share of the weights of a layer's matrices."""
    where, layer = layout(model), layers(model)[0]

    def weights(*paths: str) -> int:
        matrices: list[Any] = [layer.get_submodule(path) for path in paths]
        return sum(matrix.weight.numel() for matrix in matrices)

    attention = weights(*where.attention_inputs, where.attention_output)
    return attention / (attention + weights(*where.ffn_inputs, where.ffn_out))


def _best_parts(of_heads: torch.Tensor, of_columns: torch.Tensor, attention_share: float, budget: float) -> list[Part]:
    """For each layer what it keeps: the greatest sum of importances that costs ``budget`` whole layers at most.

    A knapsack with one choice for each layer, by dynamic programming over the cost. ``of_heads`` is (layers, heads),
    ``of_columns`` (layers, width). Where even the least is too much, it is that.
    """
    import numpy as np

    count, heads = of_heads.shape
    width = of_columns.shape[1]
    values_of_heads = of_heads.double().sort(dim=1, descending=True).values.cumsum(1).tolist()
    values_of_columns = of_columns.double().sort(dim=1, descending=True).values.cumsum(1).tolist()
    widths = sorted({max(1, round(width * step / STEPS)) for step in range(1, STEPS + 1)})
    parts = [(Part(h, w), _cost(h / heads, w / width, attention_share)) for h in range(1, heads + 1) for w in widths]
    left = max(int(budget * GRAIN), count * min(cost for _, cost in parts))
    best = np.zeros(left + 1)  # By the cost that may be spent, the greatest sum so far.
    taken = []
    for place in range(count):
        found, choice = np.full(left + 1, -np.inf), np.full(left + 1, -1)
        for number, (part, cost) in enumerate(parts):
            worth = values_of_heads[place][part.heads - 1] + values_of_columns[place][part.width - 1]
            spent = np.full(left + 1, -np.inf)
            spent[cost:] = best[: max(0, left + 1 - cost)] + worth
            better = spent > found
            found[better], choice[better] = spent[better], number
        best = found
        taken.append(choice)
    plan: list[Part] = []
    for choice in reversed(taken):
        part, cost = parts[choice[left]]
        plan.insert(0, part)
        left -= cost
    return plan


def _cost(heads: float, columns: float, attention_share: float) -> int:
    """What a layer takes with these shares of its heads and columns, in ``GRAIN`` of a whole one, rounded up."""
    matrices = attention_share * heads + (1 - attention_share) * columns
    return math.ceil(GRAIN * (OVERHEAD + (1 - OVERHEAD) * matrices))
