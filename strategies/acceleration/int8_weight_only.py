"""Store weights in 8 bits, compute in fp32 (after Dettmers et al. 2022, "LLM.int8()")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.strategy import Strategy


class Int8WeightOnly(Strategy):
    """A quarter of the file size for the linear layers, at the latency and memory of fp32.

    Worth it if the model must answer nearly as before; if latency counts, ``int8_dynamic`` is as small and faster.
    Weights are unpacked at their first use.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"linear layers"})
    excludes: ClassVar[frozenset[str]] = frozenset({"int8_dynamic", "int4_weight_only", "onnx_runtime"})

    group: int = 128

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        from autoopt.strategies.stand_ins.weight_only_linear import packed

        return packed(candidate, strategy=self.name, bits=8, group=self.group)

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:
        from autoopt.strategies.stand_ins.weight_only_linear import reshaped

        return reshaped(model, edit)
