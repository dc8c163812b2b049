"""8-bit weights, arithmetic as before (after Dettmers et al. 2022, "LLM.int8()")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.strategy import Strategy


class Int8WeightOnly(Strategy):
    """A quarter of the file for the linear layers, next to the same answers, and the latency of fp32.

    The weights are unpacked at their first use, so memory is what it was. Where latency counts ``int8_dynamic`` is as
    small and faster; this one is for a model that must answer as it did.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    excludes: ClassVar[frozenset[str]] = frozenset({"int8_dynamic", "int4_weight_only", "onnx_runtime"})

    group: int = 128

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        from autoopt.strategies.stand_ins.weight_only_linear import packed

        return packed(candidate, strategy=self.name, bits=8, group=self.group)

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:
        from autoopt.strategies.stand_ins.weight_only_linear import reshaped

        return reshaped(model, edit)
