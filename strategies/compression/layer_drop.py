"""Remove the layers that change their input least (Men et al. 2024, "ShortGPT")."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from autoopt.strategies.candidate import Candidate, Features
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks import calibration
from autoopt.strategies.networks.architectures import layers, set_layers
from autoopt.strategies.situation import Situation, kept
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training import batches
from autoopt.strategies.training.precision import mixed_precision

if TYPE_CHECKING:
    import torch


class LayerDrop(Strategy):
    """Latency falls in proportion to the number of layers. Needs recovery training.

    - ``keep``: share of the layers that stays, rounded to whole layers, at least one. With recovery training, encoders
      tolerate 0.5 well and 0.33 often.
    - ``choose``: which layers stay. ``influence``: the first, the last, and those with the largest 1 - cosine between
      input and output on the candidate's texts. ``spread``: evenly spaced, as DistilBERT (Sanh et al. 2019).
      ``bottom``: the first ones, which costs ten points more with a trained head but may be as good before one (Sajjad
      et al. 2023).
    """

    cuts = True
    standard = True

    keep: Annotated[float, Choice(0.83, 0.67, 0.5, 0.33, 0.17)] = 0.5
    choose: Literal["influence", "spread", "bottom"] = "influence"
    calibration_texts: int = 96

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        model = candidate.copy_model()
        all_layers = list(layers(model))
        count = self.layers_left(len(all_layers))
        if self.choose == "bottom":
            places = list(range(count))
        elif self.choose == "spread" or effort == 0 or count <= 2:  # The first and the last one stay in any case.
            places = _spread(count, len(all_layers))
        else:
            features = calibration.sample(candidate, self.calibration_texts, seed)
            places = _most_important(_influences(model, features, candidate.tokenizer.pad_token_id), count)
        set_layers(model, [all_layers[index] for index in places])
        return candidate.evolve(f"kept layers {places} of {len(all_layers)}", model=model)

    def layers_left(self, layers: int) -> int:
        return kept(self.keep, layers)

    def effect(self, situation: Situation) -> LayerDrop | None:
        layers = situation.layers
        if layers is None:
            return self
        left = self.layers_left(layers)
        return None if left == layers else self.model_copy(update={"keep": left / layers})


def _spread(count: int, total: int) -> list[int]:
    """``count`` places from the first to the last of ``total``, evenly apart."""
    return [round(step * (total - 1) / max(1, count - 1)) for step in range(count)]


def _most_important(influences: list[float], count: int) -> list[int]:
    """The first and the last place, and those between them with the greatest influence, in order."""
    last = len(influences) - 1
    ends = list(dict.fromkeys([0, last]))[:count]
    middle = sorted(range(1, last), key=lambda index: influences[index], reverse=True)
    return sorted(ends + middle[: count - len(ends)])


def _influences(model: Any, features: list[Features], pad_token_id: int) -> list[float]:
    """For each layer 1 - the mean cosine between what enters and what leaves it, over all tokens."""
    import torch

    total, tokens = torch.zeros(len(layers(model)), device=model.device), 0
    with mixed_precision(model.device):
        for _, batch, output in batches.forward(model, features, pad_token_id=pad_token_id, hidden_states=True):
            mask = batch["attention_mask"].to(model.device).bool()
            states: tuple[torch.Tensor, ...] = output.hidden_states
            for index, (before, after) in enumerate(pairwise(states)):
                apart = 1 - torch.cosine_similarity(before[mask].float(), after[mask].float(), dim=-1)
                total[index] += apart.sum()
            tokens += int(mask.sum())
    return (total / tokens).tolist()
