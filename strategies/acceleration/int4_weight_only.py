"""4-bit weights in small groups, arithmetic as before (after Frantar et al. 2023, "GPTQ", its rounding to nearest)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy


class Int4WeightOnly(Strategy):
    """An eighth of the file for the linear layers, at the latency of fp32. For limits on size.

    With ``int8_embeddings`` MiniLM is 20 MB. The weights are unpacked at their first use, so memory is what it was.

    ``group``: inputs that share a scale. 32 is nearest to the weights and takes an eighth more space than 128.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    excludes: ClassVar[frozenset[str]] = frozenset({"int8_dynamic", "onnx_runtime"})

    group: Annotated[int, Choice(32, 64, 128)] = 32

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        from autoopt.strategies.stand_ins.weight_only_linear import packed

        return packed(candidate, strategy=self.name, bits=4, group=self.group)

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:
        from autoopt.strategies.stand_ins.weight_only_linear import reshaped

        return reshaped(model, edit)
