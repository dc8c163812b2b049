"""Least squares: refit a linear layer to the inputs that remain after pruning, on calibration texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autoopt.strategies.networks.calibration import LayerCall

if TYPE_CHECKING:
    import torch
    from torch import nn


RIDGE = 1e-3
"""Added to the diagonal of the second moments, as a share of its mean: keeps the solution small and defined."""


class _InputRecorded(Exception):
    """Ends a layer's call once the input of the linear layer is known."""

    def __init__(self, entered: torch.Tensor) -> None:
        self.entered = entered


def second_moments(layer: nn.Module, linear: nn.Linear, calls: list[LayerCall]) -> torch.Tensor:
    """Return C = X^T X of the inputs of ``linear``, a part of ``layer``, over all tokens; (width, width), double.

    Raises ``ValueError`` if the layer does not call it.
    """
    import torch

    def catch(_: Any, args: tuple[torch.Tensor]) -> None:
        raise _InputRecorded(args[0])

    hook = linear.register_forward_pre_hook(catch)
    moments = torch.zeros(linear.in_features, linear.in_features, dtype=torch.double, device=linear.weight.device)
    try:
        for call in calls:
            try:
                call.run(layer)
            except _InputRecorded as caught:
                tokens = caught.entered[call.mask].float()  # Inputs may be in half precision; sums may not.
                moments.add_(tokens.T @ tokens)
            else:
                raise ValueError(f"{linear} is not called by the layer that was given")
    finally:
        hook.remove()
    return moments


def refit(moments: torch.Tensor, weight: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Return W' = W C[:, k] (C[k, k] + ridge)^-1, the least squares solution for W on the kept columns k."""
    import torch

    kept = moments[columns][:, columns]
    kept.diagonal().add_(RIDGE * kept.diagonal().mean())
    target = weight.double() @ moments[:, columns]
    refitted: torch.Tensor = torch.cholesky_solve(target.T, torch.linalg.cholesky(kept)).T
    return refitted.to(weight.dtype)


def linear_of(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    """Return a linear layer with these weights, (outputs, inputs) and (outputs,)."""
    import torch
    from torch import nn

    outputs, inputs = weight.shape
    with torch.device("meta"):  # Skips random numbers that would be overwritten.
        linear = nn.Linear(inputs, outputs, bias=bias is not None)
    linear.weight = nn.Parameter(weight.contiguous())
    if bias is not None:
        linear.bias = nn.Parameter(bias)
    return linear
