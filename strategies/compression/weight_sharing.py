"""Share weights between neighbouring layers, then train them (Lan et al. 2020, "ALBERT")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.architectures import layers, set_layers
from autoopt.strategies.strategy import Strategy


class WeightSharing(Strategy):
    """Smaller but not faster, since every layer still runs. For limits on size; needs recovery training.

    Dropping the layers instead is as small and faster.

    - ``group``: number of neighbours that share weights, initialized to their mean. 2 loses some quality, 3 more.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"one pass", "layers"})
    after: ClassVar[frozenset[str]] = frozenset({"layer_drop", "ffn_pruning", "head_pruning"})
    excludes: ClassVar[frozenset[str]] = frozenset({"low_rank"})
    cuts = True

    group: Annotated[int, Choice(2, 3)] = 2

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        model: Any = candidate.copy_model()
        count = len(layers(model))
        groups = [place // self.group for place in range(count)]
        _average_groups(model, groups)
        _share_weights(model, groups)
        edit = {"strategy": self.name, "groups": groups}
        event = f"{count} layers share the weights of {groups[-1] + 1}"
        return candidate.evolve(event, model=model, edits=(*candidate.edits, edit))

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:
        _share_weights(model, edit["groups"])
        return model


def _average_groups(model: Any, groups: list[int]) -> None:
    """Give the first layer of each group the mean of the group's weights."""
    import torch

    present = list(layers(model))
    for group in set(groups):
        members = [dict(layer.named_parameters()) for layer, of in zip(present, groups, strict=True) if of == group]
        with torch.no_grad():
            for name, parameter in members[0].items():
                parameter.copy_(torch.stack([member[name] for member in members]).mean(0))


def _share_weights(model: Any, groups: list[int]) -> None:
    """Put the first layer of each group in the place of all of it."""
    present = list(layers(model))
    set_layers(model, [present[groups.index(group)] for group in groups])
