"""Remove the attention heads that affect the loss least (Michel et al. 2019, "Are sixteen heads really better")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks import calibration
from autoopt.strategies.networks.architectures import layers
from autoopt.strategies.networks.calibration import LayerCall
from autoopt.strategies.networks.pruning import head_count, keep_heads, labelled_sample, sensitivity
from autoopt.strategies.situation import Situation, kept
from autoopt.strategies.strategy import Strategy


class HeadPruning(Strategy):
    """The projections are rebuilt smaller: faster, though less so than with narrower feed-forward blocks.

    A head's importance is the first-order change of the loss without it. Each layer keeps the same number, and its
    output matrix is refitted by least squares (after Kwon et al. 2022, who tune masks this way).

    - ``keep``: share of each layer's heads that stays. 0.5 costs little with recovery training and saves a sixth of the
      latency.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "separate heads"})
    after: ClassVar[frozenset[str]] = frozenset({"layer_drop"})
    cuts = True
    cut_share = 0.3

    keep: Annotated[float, Choice(0.75, 0.5, 0.25)] = 0.5
    calibration_texts: int = 128

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        import torch

        model = candidate.copy_model()
        heads = head_count(model)
        count = kept(self.keep, heads)
        calls: list[LayerCall] = []
        importance = torch.arange(heads, 0, -1.0).expand(len(layers(model)), heads)
        if effort > 0:
            labelled = labelled_sample(candidate, self.calibration_texts, seed)
            importance = sensitivity(candidate, model, labelled).heads.abs().sum(0)
            features = calibration.sample(candidate, self.calibration_texts, seed)
            calls = calibration.first_layer_calls(model, features, pad_token_id=candidate.tokenizer.pad_token_id)
        for layer, scores in zip(layers(model), importance, strict=True):
            keep_heads(model, layer, scores.topk(count).indices.sort().values, calls)
            calls = [call.through(layer) for call in calls]
        edit = {"strategy": self.name, "heads": count}
        event = f"{count} of {heads} heads in each layer"
        return candidate.evolve(event, model=model, edits=(*candidate.edits, edit))

    def effect(self, situation: Situation) -> HeadPruning | None:
        heads = situation.heads
        if heads is None:
            return self
        left = kept(self.keep, heads)
        return None if left == heads else self.model_copy(update={"keep": left / heads})

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:
        import torch

        for layer in layers(model):
            keep_heads(model, layer, torch.arange(edit["heads"]), [])
        return model
