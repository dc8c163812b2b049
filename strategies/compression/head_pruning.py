"""Remove the attention heads that the loss depends on least (Michel et al. 2019, "Are sixteen heads really better")."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies import calibration, quiet
from autoopt.strategies.batches import collate
from autoopt.strategies.calibration import LayerCall
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.encoder import layers, layout, replace_module
from autoopt.strategies.knobs import Choice
from autoopt.strategies.refitting import linear_of, refit, second_moments
from autoopt.strategies.strategy import Strategy

if TYPE_CHECKING:
    import torch
    from torch import nn


class HeadPruning(Strategy):
    """The projections are rebuilt smaller, so the model is really faster, though less than by narrowing what follows.

    A head counts by how much the loss on training examples would change without it, to first order. The same number
    stays in each layer, and the matrix after them is refitted by least squares (Kwon et al. 2022 tune masks so).

    ``keep``: the share of each layer's heads that stays. Half of them costs little with recovery training, and makes
    the model a sixth faster.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"encoder", "labels"})
    after: ClassVar[frozenset[str]] = frozenset({"layer_drop"})
    cuts = True

    keep: Annotated[float, Choice(0.75, 0.5, 0.25)] = 0.5
    calibration_texts: int = 128

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        import torch

        model = candidate.copy_model()
        size = _head_size(model)
        heads = _heads(model, size)
        kept = max(1, round(self.keep * heads))
        calls: list[LayerCall] = []
        importance = torch.arange(heads, 0, -1.0).expand(len(layers(model)), heads)
        if effort > 0:
            importance = _importance(candidate, self.calibration_texts, heads, seed)
            features = calibration.sample(candidate, self.calibration_texts, seed)
            calls = calibration.first_layer_calls(model, features, pad_token_id=candidate.tokenizer.pad_token_id)
        for layer, scores in zip(layers(model), importance, strict=True):
            chosen = scores.topk(kept).indices.sort().values
            _narrow(model, layer, (chosen[:, None] * size + torch.arange(size)).flatten(), calls)
            calls = [call.through(layer) for call in calls]
        edit = {"strategy": self.name, "width": kept * size}
        event = f"{kept} of {heads} heads in each layer"
        return candidate.evolve(event, model=model, edits=(*candidate.edits, edit))

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:
        import torch

        for layer in layers(model):
            _narrow(model, layer, torch.arange(edit["width"]), [])
        return model


def _head_size(model: Any) -> int:
    size: int = model.config.hidden_size // model.config.num_attention_heads
    return size


def _heads(model: Any, size: int) -> int:
    """How many heads each layer has now."""
    query: Any = layers(model)[0].get_submodule(layout(model).attention_inputs[0])
    heads: int = query.out_features // size
    return heads


def _narrow(model: Any, layer: nn.Module, columns: torch.Tensor, calls: list[LayerCall]) -> None:
    """Keep these outputs of the three projections and the inputs that they are for the matrix after them."""
    import torch

    where = layout(model)
    mixing: Any = layer.get_submodule(where.attention_output)
    columns = columns.to(mixing.weight.device)
    with torch.no_grad():
        weight = mixing.weight[:, columns]
        if calls:
            weight = refit(second_moments(layer, mixing, calls), mixing.weight, columns)
        for path in where.attention_inputs:
            projection: Any = layer.get_submodule(path)
            replace_module(layer, path, linear_of(projection.weight[columns], projection.bias[columns]))
        replace_module(layer, where.attention_output, linear_of(weight, mixing.bias))


def _importance(candidate: Candidate, count: int, heads: int, seed: int) -> torch.Tensor:
    """|d loss / d gate| of each head, summed over batches of training examples, (layers, heads)."""
    import torch

    model: Any = candidate.copy_model()
    chosen = random.Random(seed).sample(candidate.train, min(count, len(candidate.train)))
    features = sorted(candidate.task.encode(chosen, candidate.tokenizer), key=lambda item: len(item["input_ids"]))
    gates = torch.ones(len(layers(model)), heads, device=model.device, requires_grad=True)
    model.requires_grad_(False)

    def gate(place: int) -> Any:
        def scale(_: Any, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            found = args[0]
            return ((found.view(*found.shape[:-1], heads, -1) * gates[place][:, None]).flatten(-2),)

        return scale

    for place, layer in enumerate(layers(model)):
        layer.get_submodule(layout(model).attention_output).register_forward_pre_hook(gate(place))
    total = torch.zeros_like(gates)
    for start in range(0, len(features), 8):
        batch = collate(features[start : start + 8], pad_token_id=candidate.tokenizer.pad_token_id)
        batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
        with quiet.step():
            loss = candidate.criterion(model(**batch), batch)
            total += torch.autograd.grad(loss, gates)[0].abs()
    return total.detach().cpu()
