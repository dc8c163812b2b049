"""Narrow the feed-forward blocks, refit their outputs by least squares (after He et al. 2017, "Channel pruning")."""

from __future__ import annotations

from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks import calibration
from autoopt.strategies.networks.architectures import layers, layout
from autoopt.strategies.networks.calibration import LayerCall
from autoopt.strategies.networks.pruning import keep_width
from autoopt.strategies.strategy import Strategy


class FFNPruning(Strategy):
    """Both matrices of each block are rebuilt with fewer columns; the model is faster and its architecture plain.

    Layers are cut from first to last, on activations of the model cut so far: the columns that contribute most to the
    block's output stay, and the output matrix is refitted to make up for the others.

    - ``keep``: share of the width that stays, rounded to a multiple of 8. 0.5 costs less than a point with recovery
      training; 0.25 is for tight limits.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"feed-forward"})
    after: ClassVar[frozenset[str]] = frozenset({"layer_drop"})
    cuts = True
    cut_share = 0.56
    standard = True

    keep: Annotated[float, Choice(0.75, 0.5, 0.25, 0.125)] = 0.5
    calibration_texts: int = 128

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        model = candidate.copy_model()
        module_names = layout(model)
        full: int = getattr(model.config, module_names.ffn_width)
        width = min(full, max(8, round(self.keep * full / 8) * 8))
        calls: list[LayerCall] = []
        if effort > 0:
            features = calibration.sample(candidate, self.calibration_texts, seed)
            calls = calibration.first_layer_calls(model, features, pad_token_id=candidate.tokenizer.pad_token_id)
        for layer in layers(model):
            keep_width(model, layer, width, calls)
            calls = [call.through(layer) for call in calls]
        setattr(model.config, module_names.ffn_width, width)
        return candidate.evolve(f"feed-forward width {width} of {full}", model=model)
