"""Run the whole model in ONNX Runtime, in 8 bits or fp32 (8 bits after Wu et al. 2020, "Integer quantization")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.system import measurement_gate


class OnnxRuntime(Strategy):
    """Two to three times as fast as torch for single short texts; no faster for large batches.

    The first export of an architecture takes about five seconds, further ones one and a half.

    - ``precision``: ``int8`` shrinks MiniLM to 23 MB, embeddings included, and costs almost no quality; ``fp32`` keeps
      the answers and is worth it only at batch size 1 and few tokens.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"one pass", "cpu"})
    packages: ClassVar[frozenset[str]] = frozenset({"onnx", "onnxruntime", "onnxscript"})
    excludes: ClassVar[frozenset[str]] = frozenset({"int8_dynamic", "int8_embeddings"})
    standard = True

    precision: Annotated[str, Choice("int8", "fp32")] = "int8"

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        import torch

        from autoopt.strategies.stand_ins.contract import parameter_count
        from autoopt.strategies.stand_ins.onnx_export import exported
        from autoopt.strategies.stand_ins.onnx_model import OnnxModel
        from autoopt.strategies.stand_ins.structure import structure_digest

        model: Any = candidate.copy_model()
        with measurement_gate.compute_step():
            graph = exported(model, int8=self.precision == "int8")
        described: dict[str, Any] = {
            "size": len(graph),
            "shape": f"{structure_digest(model)}-{self.precision}",
            "weights": parameter_count(model),
        }
        made: Any = OnnxModel(model.config, type(model).__name__, **described).eval()
        made.graph = torch.frombuffer(bytearray(graph), dtype=torch.uint8)
        edit = {"strategy": self.name, **described}
        event = f"ONNX Runtime, {self.precision}"
        return candidate.evolve(event, model=made, edits=(*candidate.edits, edit))

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:
        from autoopt.strategies.stand_ins.onnx_model import OnnxModel

        described = {name: edit[name] for name in ("size", "shape", "weights")}
        return OnnxModel(model.config, type(model).__name__, **described)
