"""How large a model is: bytes of the saved artefact, and its parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.strategies.saving import size_bytes

PARAMETERS = "parameters"


def measure_size(folder: Path) -> Measurement:
    """All files of a saved candidate, tokenizer included."""
    return Measurement.exact("size", float(size_bytes(folder)), "bytes", Direction.MINIMIZE)


def parameters(model: Any) -> int:
    """Numbers in the model's weights, quantized ones included; a tied weight counts once."""
    if isinstance(known := getattr(model, "weights", None), int):  # A graph of another runtime.
        return known
    tensors = {tensor.data_ptr(): tensor for tensor in model.state_dict().values() if tensor.numel()}
    return sum(tensor.numel() for tensor in tensors.values())
