"""Set the smallest weights to zero and store the others (Han et al. 2015, "Learning both weights and connections")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.architectures import linear_paths, replace_module
from autoopt.strategies.strategy import Strategy


class MagnitudePruning(Strategy):
    """A smaller file at the same latency, for limits on size: a CPU does not skip zeros.

    The largest weights of each row of a matrix stay; recovery training adjusts them.

    - ``keep``: share of the weights that stays; 0.5 costs little, 0.3 needs recovery training.
    - ``pattern``: ``2:4`` keeps two of every four neighbours, which some accelerators support, and ignores ``keep``.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"linear layers"})
    after: ClassVar[frozenset[str]] = frozenset(
        {"layer_drop", "ffn_pruning", "head_pruning", "joint_pruning", "weight_sharing"}
    )
    excludes: ClassVar[frozenset[str]] = frozenset(
        {"low_rank", "wanda", "int8_dynamic", "int8_weight_only", "int4_weight_only", "onnx_runtime"}
    )
    cuts = True
    cut_share = 0.0

    keep: Annotated[float, Choice(0.7, 0.5, 0.3)] = 0.5
    pattern: Literal["rows", "2:4"] = "rows"

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        from autoopt.strategies.stand_ins.sparse_linear import SparseLinear, kept_of, recorded

        model = candidate.copy_model()
        for path in linear_paths(model):
            linear: Any = model.get_submodule(path)
            kept = kept_of(linear.weight.detach().abs(), self.keep, self.pattern)
            replace_module(model, path, SparseLinear.of(linear, kept))
        return recorded(candidate, model, strategy=self.name)

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:
        from autoopt.strategies.stand_ins.sparse_linear import reshaped

        return reshaped(model, edit)
