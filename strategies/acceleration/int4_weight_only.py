"""Store weights in 4 bits, compute in fp32 (after Frantar et al. 2023, "GPTQ", its rounding to nearest)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy


class Int4WeightOnly(Strategy):
    """An eighth of the file size for the linear layers, at the latency and memory of fp32. Worth it for limits on size.

    Together with ``int8_embeddings``, MiniLM is 20 MB. Weights are unpacked at their first use.

    - ``group``: number of inputs that share a scale. 32 is the most accurate and takes an eighth more space than 128.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"linear layers"})
    excludes: ClassVar[frozenset[str]] = frozenset({"int8_dynamic", "onnx_runtime"})

    group: Annotated[int, Choice(32, 64, 128)] = 32

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        from autoopt.strategies.stand_ins.weight_only_linear import packed

        return packed(candidate, strategy=self.name, bits=4, group=self.group)

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:
        from autoopt.strategies.stand_ins.weight_only_linear import reshaped

        return reshaped(model, edit)
