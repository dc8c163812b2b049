"""The whole model in 16-bit floating point (Micikevicius et al. 2018, "Mixed precision training")."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy


class HalfPrecision(Strategy):
    """Half the size, and on a GPU about twice as fast; a CPU without units for it is three times as slow.

    ``format``: ``bfloat16`` has the range of fp32 and never overflows, ``float16`` has three more bits of precision.
    For limits on size alone, where no answer may change, it is the mildest of all cuts.
    """

    excludes: ClassVar[frozenset[str]] = frozenset(
        {"int8_dynamic", "int8_embeddings", "int8_weight_only", "int4_weight_only", "onnx_runtime"}
    )

    format: Annotated[str, Choice("bfloat16", "float16")] = "bfloat16"

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        import torch

        dtype: torch.dtype = getattr(torch, self.format)
        model: Any = candidate.copy_model()
        model.to(dtype)
        model.config.dtype = dtype  # What a saved model is opened with.
        return candidate.evolve(f"all weights in {self.format}", model=model)
