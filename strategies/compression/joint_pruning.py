"""Cut layers, heads and feed-forward columns together (Kwon et al. 2022, "Fast post-training pruning")."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies import calibration
from autoopt.strategies.calibration import LayerCall
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.encoder import layers, layout, set_layers
from autoopt.strategies.knobs import Choice
from autoopt.strategies.pruning import head_count, keep_heads, keep_width, sensitivity
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


class JointPruning(Strategy):
    """Each layer keeps as many heads and columns as it is worth, or goes altogether; what stays is refitted.

    A head or column counts by the square of the gradient of the loss by a gate on it, the diagonal of the Fisher
    information; the best choice within the cost is a knapsack over the layers, solved exactly. Unlike with the cuts
    that do one thing, layers come to differ, so the saved model needs autoopt to be opened.

    ``keep``: the share of the layers' time that stays, by a table of what a layer costs. 0.5 costs next to nothing
    with distillation; 0.25 is for tight limits.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"encoder", "labels"})
    excludes: ClassVar[frozenset[str]] = frozenset({"layer_drop", "ffn_pruning", "head_pruning", "weight_sharing"})
    cuts = True
    adaptive = True

    keep: Annotated[float, Choice(0.75, 0.5, 0.33, 0.25, 0.17)] = 0.5
    calibration_texts: int = 256

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        model: Any = candidate.copy_model()
        present, heads = list(layers(model)), head_count(model)
        where = layout(model)
        full: int = getattr(model.config, where.ffn_width)
        calls: list[LayerCall] = []
        of_heads, of_columns = _alike(len(present), heads), _alike(len(present), full)
        if effort > 0:
            found = sensitivity(candidate, self.calibration_texts, seed)
            of_heads, of_columns = found.heads.square().sum(0), found.columns.square().sum(0)
            features = calibration.sample(candidate, self.calibration_texts, seed)
            calls = calibration.first_layer_calls(model, features, pad_token_id=candidate.tokenizer.pad_token_id)
        plan = _best_plan(of_heads, of_columns, _attention_share(model), self.keep)
        kept = [(place, choice) for place, choice in enumerate(plan) if choice is not None]
        set_layers(model, [present[place] for place, _ in kept])
        for place, choice in kept:
            layer = present[place]
            keep_heads(model, layer, of_heads[place].topk(choice.heads).indices.sort().values, calls)
            keep_width(model, layer, choice.width, calls)
            calls = [call.through(layer) for call in calls]
        shape = {"heads": [choice.heads for _, choice in kept], "widths": [choice.width for _, choice in kept]}
        event = (
            f"kept layers {[place for place, _ in kept]} of {len(present)} with {shape['heads']} of {heads} heads "
            f"and feed-forward widths {shape['widths']} of {full}"
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


def _alike(count: int, parts: int) -> torch.Tensor:
    """Importances of layers of which nothing is known: alike, and each further part of one is worth less."""
    import torch

    return (1 / torch.arange(1, parts + 1).double()).expand(count, parts) / parts


def _attention_share(model: Any) -> float:
    """The attention's share of the weights of a layer's matrices."""
    where, layer = layout(model), layers(model)[0]

    def weights(*paths: str) -> int:
        matrices: list[Any] = [layer.get_submodule(path) for path in paths]
        return sum(matrix.weight.numel() for matrix in matrices)

    attention = weights(*where.attention_inputs, where.attention_output)
    return attention / (attention + weights(where.ffn_in, where.ffn_out))


def _best_plan(
    of_heads: torch.Tensor, of_columns: torch.Tensor, attention_share: float, keep: float
) -> list[Part | None]:
    """For each layer what it keeps, or None: the greatest sum of importances whose cost is ``keep`` of all at most.

    A knapsack with one choice for each layer, by dynamic programming over the cost. ``of_heads`` is (layers, heads),
    ``of_columns`` (layers, width).
    """
    import numpy as np

    count, heads = of_heads.shape
    width = of_columns.shape[1]
    values_of_heads = of_heads.double().sort(dim=1, descending=True).values.cumsum(1).tolist()
    values_of_columns = of_columns.double().sort(dim=1, descending=True).values.cumsum(1).tolist()
    widths = sorted({max(1, round(width * step / STEPS)) for step in range(1, STEPS + 1)})
    parts = [(Part(h, w), _cost(h / heads, w / width, attention_share)) for h in range(1, heads + 1) for w in widths]
    budget = max(int(keep * count * GRAIN), min(cost for _, cost in parts))
    best = np.zeros(budget + 1)  # By the cost that may be spent, the greatest sum so far.
    taken = []
    for place in range(count):
        found, choice = best.copy(), np.full(budget + 1, -1)
        for number, (part, cost) in enumerate(parts):
            if cost <= budget:
                worth = values_of_heads[place][part.heads - 1] + values_of_columns[place][part.width - 1]
                spent = np.full(budget + 1, -np.inf)
                spent[cost:] = best[: budget + 1 - cost] + worth
                better = spent >= found
                found[better], choice[better] = spent[better], number
        best = found
        taken.append(choice)
    plan: list[Part | None] = []
    for choice in reversed(taken):
        if choice[budget] < 0:
            plan.insert(0, None)
        else:
            part, cost = parts[choice[budget]]
            plan.insert(0, part)
            budget -= cost
    return plan


def _cost(heads: float, columns: float, attention_share: float) -> int:
    """What a layer takes with these shares of its heads and columns, in ``GRAIN`` of a whole one, rounded up."""
    matrices = attention_share * heads + (1 - attention_share) * columns
    return math.ceil(GRAIN * (OVERHEAD + (1 - OVERHEAD) * matrices))
