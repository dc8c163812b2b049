"""Weights in another floating-point type; what is computed from the configuration stays in fp32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def cast_weights(model: Any, dtype: torch.dtype) -> None:
    """Change the model's weights to ``dtype``, in place.

    Buffers that are not saved stay as they are. They are tables made from the configuration, such as the frequencies of
    rotary positions, which turn positions above 256 into others if they are rounded to 16 bits.
    """
    saved = set(model.state_dict())
    tables = {
        (module, name): buffer
        for path, module in model.named_modules()
        for name, buffer in module.named_buffers(recurse=False)
        if f"{path}.{name}".lstrip(".") not in saved
    }
    model.to(dtype)
    for (module, name), buffer in tables.items():
        setattr(module, name, buffer)
