"""Digests of tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def tensor_digest(named_tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Return the sha256 over names, shapes, dtypes and values of the tensors, in the order given."""
    import torch

    total = hashlib.sha256()
    for name, tensor in named_tensors:
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()
