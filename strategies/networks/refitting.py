"""Least squares: let what is left of a linear layer's inputs stand in for all of them, on calibration texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autoopt.strategies.networks.calibration import LayerCall

if TYPE_CHECKING:
    import torch
    from torch import nn


RIDGE = 1e-3
"""Added to the diagonal of the second moments, relative to its mean: keeps the solution small and defined."""


class _Caught(Exception):
    """Ends a layer's call where all that is wanted of it is known."""

    def __init__(self, entered: torch.Tensor) -> None:
        self.entered = entered


def second_moments(layer: nn.Module, linear: nn.Linear, calls: list[LayerCall]) -> torch.Tensor:
    """C = X^T X of what enters ``linear``, a part of ``layer``, over all tokens; (width, width), double precision.

    Raises ``ValueError`` where the layer does not call it.
    """
    import torch

    def catch(_: Any, args: tuple[torch.Tensor]) -> None:
        raise _Caught(args[0])

    hook = linear.register_forward_pre_hook(catch)
    moments = torch.zeros(linear.in_features, linear.in_features, dtype=torch.double, device=linear.weight.device)
    try:
        for call in calls:
            try:
                call.run(layer)
            except _Caught as caught:
                tokens = caught.entered[call.mask].float()  # It may be in half precision; the sums may not.
                moments.add_(tokens.T @ tokens)
            else:
                raise ValueError(f"{linear} is not called by the layer that it should be a part of")
    finally:
        hook.remove()
    return moments


def refit(moments: torch.Tensor, weight: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """W' = W C[:, k] (C[k, k] + ridge)^-1: the least squares stand-in for W on the kept columns k."""
    import torch

    kept = moments[columns][:, columns]
    kept.diagonal().add_(RIDGE * kept.diagonal().mean())
    target = weight.double() @ moments[:, columns]
    refitted: torch.Tensor = torch.cholesky_solve(target.T, torch.linalg.cholesky(kept)).T
    return refitted.to(weight.dtype)


def linear_of(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    """A linear layer of these weights, (outputs, inputs) and (outputs,)."""
    import torch
    from torch import nn

    outputs, inputs = weight.shape
    with torch.device("meta"):  # No time for random numbers that are overwritten.
        linear = nn.Linear(inputs, outputs, bias=bias is not None)
    linear.weight = nn.Parameter(weight.contiguous())
    if bias is not None:
        linear.bias = nn.Parameter(bias)
    return linear
