"""The dtype of training. Inference with a finished model is not affected."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def training_precision(device: torch.device) -> torch.dtype:
    """Return bfloat16 if the device has units for it, else float16 on a GPU and float32 on a CPU.

    With such units a step of MiniLM takes half the time, without them three times as long. Weights and optimizer state
    are float32 either way (Micikevicius et al. 2018, "Mixed precision training"). In float16 the loss has to be scaled.
    """
    import torch

    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    capabilities = torch.cpu.get_capabilities()
    is_native = device.type == "cpu" and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return torch.bfloat16 if is_native else torch.float32


def mixed_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Compute matrix products in ``training_precision`` within the block."""
    import torch

    dtype = training_precision(device)
    return nullcontext() if dtype is torch.float32 else torch.autocast(device.type, dtype)
