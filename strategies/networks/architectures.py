"""Get, count and replace the parts of a Hugging Face model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autoopt.strategies.errors import ModelError
from autoopt.strategies.networks.discovery import Layout, layout_of
from autoopt.strategies.situation import Situation

if TYPE_CHECKING:
    from torch import nn


_PER_LAYER = ("layer_", "attention_window", "no_rope_layers")
"""How keys of a configuration begin that list something for each layer."""
_SETTINGS = "_settings_of_layer"
LAYER_COUNTS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers")
"""Usual keys of a configuration for the number of layers."""


def layout(model: Any) -> Layout:
    """Return the layout of the model's architecture. Raises ``ModelError`` if no transformer layers are found."""
    return layout_of(model)


def layers(model: Any) -> nn.ModuleList:
    """Return the transformer layers, first to last."""
    return model.base_model.get_submodule(layout(model).layers)  # type: ignore[no-any-return]


def layer_count(config: Mapping[str, Any]) -> int | None:
    """Return the number of layers that a config.json states; None if it has none."""
    count = next((config[key] for key in LAYER_COUNTS if key in config), None)
    return count if isinstance(count, int) else None


def situation_of(config: Mapping[str, Any], *, unlabeled: int) -> Situation:
    """Return what a model's configuration, as a dict, says of the settings of strategies."""
    heads = config.get("num_attention_heads")
    is_grouped = config.get("num_key_value_heads", heads) != heads
    known = heads if isinstance(heads, int) and not is_grouped else None
    return Situation(layer_count(config), known, unlabeled)


def forward_size(config: Mapping[str, Any]) -> float | None:
    """Return about how many weights the layers have, with which the time of a forward pass grows; None if unknown."""
    count, width, ffn_width = (
        next((config[key] for key in keys if isinstance(config.get(key), int)), None)
        for keys in (
            LAYER_COUNTS,
            ("hidden_size", "dim", "n_embd"),
            ("intermediate_size", "hidden_dim", "n_inner"),
        )
    )
    if count is None or width is None:
        return None
    return float(count * (4 * width * width + 2 * width * (ffn_width or 4 * width)))


def linear_paths(model: Any, *, attention_only: bool = False) -> list[str]:
    """Return the paths of the linear layers within the layers, or of the attention inputs alone if known.

    Raises ``ModelError`` if there are none.
    """
    from torch import nn

    inner = {id(module) for module in layers(model).modules() if isinstance(module, nn.Linear)}
    if not inner:
        raise ModelError(f"{layout(model).architecture} has no linear layers; its matrices are of another kind")
    ends = tuple(f".{path}" for path in layout(model).attention)
    return [
        path
        for path, module in model.named_modules()
        if id(module) in inner and (not attention_only or not ends or path.endswith(ends))
    ]


def output_paths(model: Any) -> list[str]:
    """Return the path of a language model's output matrix; empty for other heads, and if it is no linear layer."""
    from torch import nn

    matrix = model.get_output_embeddings()
    if not isinstance(matrix, nn.Linear):
        return []
    return [path for path, module in model.named_modules() if module is matrix]


def untie_outputs(model: Any) -> None:
    """Note that the output matrix is no longer the word embeddings, if it was replaced by a layer of its own."""
    from torch import nn

    matrix = model.get_output_embeddings()
    if matrix is not None and not isinstance(matrix, nn.Linear):
        model.config.tie_word_embeddings = False
        model.all_tied_weights_keys = {}


def set_layers(model: Any, new_layers: list[nn.Module]) -> None:
    """Replace the model's layers and write their number into its configuration, with what it says of each layer.

    Raises ``ModelError`` for an architecture that shares its layers.
    """
    from torch import nn

    where = layout(model)
    where.check_complete()
    _remember_settings(model)
    parent, _, attribute = where.layers.rpartition(".")
    setattr(model.base_model.get_submodule(parent), attribute, nn.ModuleList(new_layers).train(model.training))
    settings: list[Any] = [vars(layer).get(_SETTINGS, {}) for layer in new_layers]
    for key in settings[0]:
        setattr(model.config, key, [own[key] for own in settings])
    setattr(model.config, where.layer_count, len(new_layers))
    for place, layer in reversed(list(enumerate(new_layers))):  # A layer that stands in two places counts as the first.
        for part in layer.modules():
            if isinstance(vars(part).get("layer_idx"), int):
                part.layer_idx = place  # type: ignore[assignment]


def _remember_settings(model: Any) -> None:
    """Note on each layer what the configuration says of it, such as whether its attention is local."""
    present: list[Any] = list(layers(model))
    for key, values in vars(model.config).items():
        if isinstance(values, list) and key.startswith(_PER_LAYER) and len(values) == len(present):
            for layer, value in zip(present, values, strict=True):
                vars(layer).setdefault(_SETTINGS, {}).setdefault(key, value)


def embeddings(model: Any) -> nn.Module:
    """Return the module below the layers: all embeddings if they stand together, else the word embeddings."""
    embeddings: nn.Module = getattr(model.base_model, "embeddings", None) or model.get_input_embeddings()
    return embeddings


def first_position(model: Any) -> int:
    """Return the number of the first position: RoBERTa and its kin count from the one after the padding token's id."""
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return 0 if padding is None else padding + 1


def replace_module(root: nn.Module, path: str, module: nn.Module) -> None:
    """Replace the module at the dotted ``path`` below ``root``; the train or eval mode is kept."""
    module.train(root.get_submodule(path).training)
    parent, _, attribute = path.rpartition(".")
    setattr(root.get_submodule(parent), attribute, module)


def replace_word_embeddings(model: Any, module: nn.Module) -> None:
    """Replace the model's word embeddings.

    Raises ``ModelError`` if theirs is a class of its own and ``module`` is not: Gemma scales what it looks up.
    """
    from torch import nn

    present = model.get_input_embeddings()
    own: Any = type(present)
    if isinstance(present, nn.Embedding) and own is not nn.Embedding and not isinstance(module, own):
        raise ModelError(f"{layout(model).architecture} does more than look its word embeddings up ({own.__name__})")
    paths: dict[Any, str] = {part: path for path, part in model.named_modules()}
    replace_module(model, paths[present], module)
