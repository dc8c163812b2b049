"""Set the weights that contribute least to zero (Sun et al. 2024, "Wanda")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks import calibration
from autoopt.strategies.networks.architectures import layers, linear_paths, replace_module
from autoopt.strategies.networks.calibration import LayerCall
from autoopt.strategies.networks.refitting import second_moments
from autoopt.strategies.strategy import Strategy


class Wanda(Strategy):
    """Magnitude pruning with each weight scaled by the norm of its input on calibration texts. Latency stays the same.

    Better than magnitude pruning without recovery training, about the same with it.

    - ``keep``: share of each row that stays; 0.5 costs little, 0.3 needs recovery training.
    - ``pattern``: ``2:4`` keeps two of every four neighbours and ignores ``keep``.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"linear layers"})
    after: ClassVar[frozenset[str]] = frozenset(
        {"layer_drop", "ffn_pruning", "head_pruning", "joint_pruning", "weight_sharing"}
    )
    excludes: ClassVar[frozenset[str]] = frozenset(
        {"low_rank", "magnitude_pruning", "int8_dynamic", "int8_weight_only", "int4_weight_only", "onnx_runtime"}
    )
    cuts = True
    cut_share = 0.0

    keep: Annotated[float, Choice(0.7, 0.5, 0.3)] = 0.5
    pattern: Literal["rows", "2:4"] = "rows"
    calibration_texts: int = 128

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        import torch

        from autoopt.strategies.stand_ins.sparse_linear import SparseLinear, kept_of, recorded

        model = candidate.copy_model()
        linear_paths(model)  # Raises ``ModelError`` if there is nothing to change.
        calls: list[LayerCall] = []
        if effort > 0:
            features = calibration.sample(candidate, self.calibration_texts, seed)
            calls = calibration.first_layer_calls(model, features, pad_token_id=candidate.tokenizer.pad_token_id)
        for layer in layers(model):
            within: list[tuple[str, Any]] = [(p, m) for p, m in layer.named_modules() if isinstance(m, torch.nn.Linear)]
            for path, linear in within:
                norms = second_moments(layer, linear, calls).diagonal().sqrt().float() if calls else torch.ones(())
                scores = linear.weight.detach().abs() * norms.to(linear.weight.device)
                replace_module(layer, path, SparseLinear.of(linear, kept_of(scores, self.keep, self.pattern)))
            calls = [call.through(layer) for call in calls]
        return recorded(candidate, model, strategy=self.name)

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:
        from autoopt.strategies.stand_ins.sparse_linear import reshaped

        return reshaped(model, edit)
