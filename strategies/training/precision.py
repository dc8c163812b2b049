"""In which numbers models are trained, and looked at on the way; what a finished model answers is not touched."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def training_precision(device: torch.device) -> torch.dtype:
    """In which numbers models are trained on this device: bfloat16 where it has units for them.

    A processor with them needs half of the time for a step of MiniLM, one without three times as much. Weights and the
    optimizer's state are float32 either way (Micikevicius et al. 2018, "Mixed precision training").
    """
    import torch

    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        found = torch.cpu.get_capabilities()
        native = device.type == "cpu" and bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    return torch.bfloat16 if native else torch.float32


def mixed_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Matrix products in ``training_precision`` within the block, for training and for what only guides it."""
    import torch

    numbers = training_precision(device)
    return nullcontext() if numbers is torch.float32 else torch.autocast(device.type, numbers)
