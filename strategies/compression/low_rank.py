"""Factor linear layers, weighted by their inputs (Chen et al. 2021, "DRONE")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks import calibration
from autoopt.strategies.networks.architectures import layers, linear_paths, replace_module
from autoopt.strategies.networks.calibration import LayerCall
from autoopt.strategies.networks.refitting import RIDGE, linear_of, second_moments
from autoopt.strategies.strategy import Strategy

if TYPE_CHECKING:
    import torch
    from torch import nn


class LowRank(Strategy):
    """Each matrix becomes the product of two thin ones, the best of their rank for the calibration activations.

    A matrix stays as it is if two factors would be larger.

    - ``keep``: rank as a share of the matrix's smaller side. 0.33 is 1.4 times as fast and needs recovery training;
      0.17 is twice as fast and loses more than other cuts.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"linear layers"})
    after: ClassVar[frozenset[str]] = frozenset({"layer_drop", "ffn_pruning", "head_pruning", "joint_pruning"})
    cuts = True
    cut_share = 0.52

    keep: Annotated[float, Choice(0.33, 0.25, 0.17)] = 0.33
    calibration_texts: int = 128

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        model = candidate.copy_model()
        linear_paths(model)  # Raises ``ModelError`` if there is nothing to change.
        calls: list[LayerCall] = []
        if effort > 0:
            features = calibration.sample(candidate, self.calibration_texts, seed)
            calls = calibration.first_layer_calls(model, features, pad_token_id=candidate.tokenizer.pad_token_id)
        ranks: dict[str, int] = {}
        prefix = {id(module): path for path, module in model.named_modules()}
        for layer in layers(model):
            after = [call.through(layer) for call in calls]  # Of the layer as it was, so that errors do not add up.
            for path, rank in _ranks(layer, self.keep).items():
                linear: Any = layer.get_submodule(path)
                ranks[prefix[id(linear)]] = rank
                moments = second_moments(layer, linear, calls) if calls else None
                replace_module(
                    layer, path, _blank(linear, rank) if moments is None else _factored(linear, rank, moments)
                )
            calls = after
        edit = {"strategy": self.name, "ranks": ranks}
        event = f"{len(ranks)} linear layers factored to {self.keep} of their rank"
        return candidate.evolve(event, model=model, edits=(*candidate.edits, edit))

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:
        for path, rank in edit["ranks"].items():
            replace_module(model, path, _blank(model.get_submodule(path), rank))
        return model


def _ranks(layer: nn.Module, keep: float) -> dict[str, int]:
    """The rank of each linear layer within ``layer`` for which two factors are smaller than the matrix."""
    from torch import nn

    found = {}
    for path, module in layer.named_modules():
        if isinstance(module, nn.Linear):
            outputs, inputs = module.weight.shape
            rank = max(1, round(keep * min(outputs, inputs)))
            if rank * (outputs + inputs) < outputs * inputs:
                found[path] = rank
    return found


def _blank(linear: Any, rank: int) -> nn.Module:
    """Two linear layers of the right shapes."""
    outputs, inputs = linear.weight.shape
    thin, wide = linear.weight.new_zeros(rank, inputs), linear.weight.new_zeros(outputs, rank)
    return _in_turn(linear_of(thin, None), linear_of(wide, linear.bias))


def _factored(linear: Any, rank: int, moments: torch.Tensor) -> nn.Module:
    """``linear`` as two, the best of this rank for inputs with these second moments.

    With C = S S^T and the SVD of W S = U D V^T the first ``rank`` columns give W ~ (U D) (V^T S^-1). Each column and
    its row are then scaled to the same length: AdamW moves all weights by about as much, so that recovery training
    would ruin a factor of tiny ones (BBC News: 24 % instead of 94).
    """
    import torch

    moments.diagonal().add_(RIDGE * moments.diagonal().mean())
    root = torch.linalg.cholesky(moments)
    weight = linear.weight.detach()
    left, strength, right = torch.linalg.svd(weight.double() @ root, full_matrices=False)
    wide = left[:, :rank] * strength[:rank]
    thin = torch.linalg.solve_triangular(root, right[:rank], upper=False, left=False)
    balance = (thin.norm(dim=1) / wide.norm(dim=0).clamp_min(1e-30)).sqrt()
    wide, thin = wide * balance, thin / balance[:, None].clamp_min(1e-30)
    return _in_turn(linear_of(thin.to(weight.dtype), None), linear_of(wide.to(weight.dtype), linear.bias))


def _in_turn(thin: nn.Linear, wide: nn.Linear) -> nn.Module:
    from torch import nn

    factors = nn.Sequential(thin, wide)
    vars(factors)["weight"] = None  # T5 asks each of its layers for the type of its weights.
    return factors
