"""Attribute paths of the parts of Hugging Face encoders: the layers and the matrices in each layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoopt.strategies.errors import ModelError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Layout:
    """Attribute paths within one architecture. ``layers`` is read from the base model, the rest from one layer."""

    layers: str
    attention_inputs: tuple[str, ...]
    """The query, key and value projections."""
    attention_output: str
    """The output projection of the attention."""
    ffn_in: str
    ffn_out: str
    layer_count: str
    """Configuration key of the number of layers."""
    ffn_width: str
    """Configuration key of the width of the feed-forward blocks."""


_BERT = Layout(
    layers="encoder.layer",
    attention_inputs=("attention.self.query", "attention.self.key", "attention.self.value"),
    attention_output="attention.output.dense",
    ffn_in="intermediate.dense",
    ffn_out="output.dense",
    layer_count="num_hidden_layers",
    ffn_width="intermediate_size",
)
_DISTILBERT = Layout(
    layers="transformer.layer",
    attention_inputs=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    attention_output="attention.out_lin",
    ffn_in="ffn.lin1",
    ffn_out="ffn.lin2",
    layer_count="n_layers",
    ffn_width="hidden_dim",
)
LAYOUTS = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "electra": _BERT,
    "distilbert": _DISTILBERT,
}
"""By ``config.model_type``."""


def layout(model: Any) -> Layout:
    """Return the layout of the model's architecture. Raises ``ModelError`` if it is not supported."""
    kind = model.config.model_type
    if kind not in LAYOUTS:
        raise ModelError(f"the architecture '{kind}' is not supported; supported are {', '.join(sorted(LAYOUTS))}")
    return LAYOUTS[kind]


def layers(model: Any) -> nn.ModuleList:
    """Return the transformer layers, first to last."""
    return model.base_model.get_submodule(layout(model).layers)  # type: ignore[no-any-return]


def layer_count(config: Mapping[str, Any]) -> int | None:
    """Return the number of layers that a config.json states; None if it has none or is of another architecture."""
    where = LAYOUTS.get(config.get("model_type", ""))
    count = config.get(where.layer_count) if where else None
    return count if isinstance(count, int) else None


def forward_size(config: Mapping[str, Any]) -> float | None:
    """Return about how many weights the layers have, with which the time of a forward pass grows; None if unknown."""
    count, width, ffn_width = (
        next((config[key] for key in keys if isinstance(config.get(key), int)), None)
        for keys in (
            ("num_hidden_layers", "n_layers", "n_layer"),
            ("hidden_size", "dim", "n_embd"),
            ("intermediate_size", "hidden_dim", "n_inner"),
        )
    )
    if count is None or width is None:
        return None
    return float(count * (4 * width * width + 2 * width * (ffn_width or 4 * width)))


def linear_paths(model: Any, *, attention_only: bool = False) -> list[str]:
    """Return the paths of the linear layers within the transformer layers, or of the attention inputs alone."""
    from torch import nn

    inner = {id(module) for module in layers(model).modules() if isinstance(module, nn.Linear)}
    ends = layout(model).attention_inputs
    return [
        path
        for path, module in model.named_modules()
        if id(module) in inner and (not attention_only or path.endswith(ends))
    ]


def set_layers(model: Any, new_layers: list[nn.Module]) -> None:
    """Replace the model's layers and write their number into its configuration."""
    from torch import nn

    where = layout(model)
    parent, _, attribute = where.layers.rpartition(".")
    setattr(model.base_model.get_submodule(parent), attribute, nn.ModuleList(new_layers).train(model.training))
    setattr(model.config, where.layer_count, len(new_layers))


def replace_module(root: nn.Module, path: str, module: nn.Module) -> None:
    """Replace the module at the dotted ``path`` below ``root``; the train or eval mode is kept."""
    module.train(root.get_submodule(path).training)
    parent, _, attribute = path.rpartition(".")
    setattr(root.get_submodule(parent), attribute, module)


def replace_word_embeddings(model: Any, module: nn.Module) -> None:
    """Replace the model's word embeddings."""
    paths: dict[Any, str] = {part: path for path, part in model.named_modules()}
    replace_module(model, paths[model.get_input_embeddings()], module)
