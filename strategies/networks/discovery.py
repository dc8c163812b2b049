"""Discovery of a model's parts: its layers, and the matrices of attention and feed-forward block in each layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from autoopt.strategies.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

_QUERY = frozenset({"query", "q", "q_proj", "q_lin", "query_proj", "to_q", "linear_q"})
_KEY = frozenset({"key", "k", "k_proj", "k_lin", "key_proj", "to_k", "linear_k"})
_VALUE = frozenset({"value", "v", "v_proj", "v_lin", "value_proj", "to_v", "linear_v"})
_FUSED = frozenset({"qkv", "qkv_proj", "Wqkv", "c_attn", "query_key_value", "in_proj", "in_proj_qkv"})
_OUTPUT = frozenset({"dense", "out_proj", "o_proj", "out_lin", "o", "Wo", "c_proj", "out"})
_WIDTH_KEYS = ("intermediate_size", "ffn_dim", "hidden_dim", "d_ff", "n_inner", "d_inner", "ffn_hidden_size")


@dataclass(frozen=True)
class Layout:
    """Attribute paths within one architecture. ``layers`` is read from the base model, the rest from one layer.

    Properties raise ``ModelError`` for a part that was not found, or that has another form than they promise.
    """

    architecture: str
    layers: str
    layer_count: str
    """Configuration key of the number of layers."""
    is_complete: bool
    """Whether there are as many layers as the configuration says; else they are shared, or in several lists."""
    attention: tuple[str, ...] = ()
    """Inputs of the attention: query, key and value, or one matrix for all three; empty if unknown."""
    output: str = ""
    inner: tuple[str, ...] = ()
    """Inputs of the feed-forward block: one matrix, or two if one of them is a gate; empty if unknown."""
    outer: str = ""
    has_fused_gate: bool = False
    """Whether the only input of the feed-forward block has the gate in its other half."""
    width_key: str = ""
    heads: int = 0
    """Number of heads of the whole model; 0 if unknown."""
    head_width: int = 0
    """Width of one head; 0 if unknown."""
    has_shared_biases: bool = False
    """Whether all layers add the same table of position biases, which has a column for each head."""
    group: int = 1
    """Number of query heads that share a key and a value."""

    @property
    def attention_inputs(self) -> tuple[str, ...]:
        """The query, key and value projections."""
        if len(self.attention) != 3:
            what = "one matrix for query, key and value" if self.attention else "an attention of unknown parts"
            raise ModelError(f"{self.architecture} has {what}; this needs one matrix for each")
        return self.attention

    @property
    def attention_output(self) -> str:
        """The output projection of the attention."""
        if not self.output:
            raise ModelError(f"the output matrix of the attention was not found in {self.architecture}")
        return self.output

    @property
    def ffn_inputs(self) -> tuple[str, ...]:
        """The input matrices of the feed-forward block."""
        if not self.inner:
            raise ModelError(f"{self.architecture} does not have one feed-forward block of linear layers in each layer")
        return self.inner

    @property
    def ffn_out(self) -> str:
        """The output matrix of the feed-forward block."""
        return self.outer if self.ffn_inputs else ""

    @property
    def ffn_width(self) -> str:
        """Configuration key of the width of the feed-forward blocks."""
        if self.ffn_inputs and not self.width_key:
            raise ModelError(f"the configuration of {self.architecture} does not state the feed-forward width")
        return self.width_key

    @property
    def head_size(self) -> int:
        """Width of a head's keys, and of its values; heads that share them count as one."""
        if self.attention_inputs and not self.head_width:
            raise ModelError(f"the number of heads of {self.architecture} was not found")
        if self.has_shared_biases:
            raise ModelError(
                f"all layers of {self.architecture} share position biases for each head; heads are not cut"
            )
        return self.head_width

    def check_complete(self) -> None:
        """Raise ``ModelError`` if the layers cannot be removed or cut one by one."""
        if not self.is_complete:
            raise ModelError(f"{self.architecture} shares its layers or has several lists of them; they are not cut")


def layout_of(model: Any) -> Layout:
    """Return the layout of the model's architecture, from an unchanged copy without weights; cached.

    Raises ``ModelError`` if no transformer layers are found.
    """
    base_class: Any = type(model.base_model)
    return _layout(base_class, model.config.to_json_string(use_diff=False))


@lru_cache(maxsize=256)
def _layout(base_class: Any, settings: str) -> Layout:
    import json

    import torch

    config = base_class.config_class.from_dict(json.loads(settings))
    with torch.device("meta"):
        base = base_class(config)
    architecture = str(config.model_type)
    path, modules = _find_layers(base)
    if not path:
        raise ModelError(f"no transformer layers were found in the architecture '{architecture}'")
    key = config.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    declared = _declared(config, path)
    attention = _attention(config, modules[0], declared)
    feed_forward = _feed_forward(config, modules[0])
    count = getattr(config, key, None)
    return Layout(
        architecture,
        path,
        key,
        is_complete=count == len(modules),
        has_shared_biases=_has_shared_biases(base, path, attention.get("heads", 0)),
        **attention,
        **feed_forward,
    )


def _has_shared_biases(base: nn.Module, layers: str, heads: int) -> bool:
    from torch import nn

    return any(
        isinstance(module, nn.Embedding) and module.embedding_dim == heads and "bias" in path
        for path, module in base.named_modules()
        if not path.startswith(f"{layers}.")
    )


def _find_layers(base: nn.Module) -> tuple[str, list[nn.Module]]:
    """Return the list of modules of one class that holds most parameters, the innermost of equal ones."""
    from torch import nn

    best, where, members = 0, "", list[nn.Module]()
    for path, module in base.named_modules():
        if isinstance(module, nn.ModuleList) and len({type(part) for part in module}) == 1:
            size = sum(parameter.numel() for parameter in module.parameters())
            if size >= best and size and not isinstance(module[0], nn.ModuleList):
                best, where, members = size, path, list(module)
    return where, members


def _declared(config: Any, layers: str) -> dict[str, str]:
    """Return how transformers would divide each matrix of a layer between devices: by column or by row."""
    plan = getattr(config, "base_model_tp_plan", None) or {}
    prefix = f"{layers}.*."
    return {path.removeprefix(prefix): str(how) for path, how in plan.items() if path.startswith(prefix)}


def _linears(root: nn.Module) -> dict[str, Any]:
    from torch import nn

    return {path: module for path, module in root.named_modules() if isinstance(module, nn.Linear)}


def _attention_roots(layer: nn.Module) -> list[str]:
    """Return the paths of the outermost modules that are called an attention."""
    roots: list[str] = []
    for path, module in layer.named_modules():
        is_inside = any(path.startswith(root + ".") for root in roots)
        if path and not is_inside and "attention" in type(module).__name__.lower():
            roots.append(path)
    return roots


def _attention(config: Any, layer: nn.Module, declared: dict[str, str]) -> dict[str, Any]:
    roots = [root for root in _attention_roots(layer) if _linears(layer.get_submodule(root))]
    if len(roots) != 1:
        return {}
    linears = {path: part for path, part in _linears(layer).items() if path.startswith(roots[0] + ".")}
    inputs, output = _by_declaration(linears, declared)
    if not inputs or not output:
        inputs, output = _by_name(linears)
    if not inputs:
        inputs, output = _by_shape(linears)
    heads = getattr(config, "num_attention_heads", None)
    parts: dict[str, Any] = {"attention": inputs, "output": output}
    if len(inputs) == 3 and isinstance(heads, int):
        query, key, _ = (linears[path].out_features for path in inputs)
        if query % heads == 0 and query % key == 0:
            parts |= {"heads": heads, "head_width": query // heads, "group": query // key}
    return parts


def _by_declaration(linears: dict[str, Any], declared: dict[str, str]) -> tuple[tuple[str, ...], str]:
    inputs = tuple(path for path in linears if "colwise" in declared.get(path, ""))
    outputs = [path for path in linears if "rowwise" in declared.get(path, "")]
    return (inputs, outputs[0]) if len(inputs) in (1, 3) and len(outputs) == 1 else ((), "")


def _by_name(linears: dict[str, Any]) -> tuple[tuple[str, ...], str]:
    def named(names: frozenset[str]) -> list[str]:
        return [path for path in linears if path.rpartition(".")[2] in names]

    separate = [named(_QUERY), named(_KEY), named(_VALUE)]
    fused, outputs = named(_FUSED), named(_OUTPUT)
    output = outputs[0] if len(outputs) == 1 else ""
    if all(len(paths) == 1 for paths in separate):
        return tuple(paths[0] for paths in separate), output
    return (tuple(fused), output) if len(fused) == 1 and not any(separate) else ((), output)


def _by_shape(linears: dict[str, Any]) -> tuple[tuple[str, ...], str]:
    """Take four matrices for query, key, value and output, in the order in which the model has them."""
    paths = list(linears)
    shapes = [(linear.in_features, linear.out_features) for linear in linears.values()]
    if len(paths) == 4 and shapes[1] == shapes[2] and shapes[3] == shapes[0][::-1]:
        return tuple(paths[:3]), paths[3]
    return (), ""


def _feed_forward(config: Any, layer: nn.Module) -> dict[str, Any]:
    """Return the feed-forward block: the two or three matrices outside of the attention, the output last."""
    roots = tuple(f"{root}." for root in _attention_roots(layer))
    linears = {path: part for path, part in _linears(layer).items() if not path.startswith(roots or "\0")}
    if len(linears) not in (2, 3) or not roots:
        return {}
    *inner, outer = linears
    width, hidden = linears[outer].in_features, linears[outer].out_features
    shapes = {(linears[path].in_features, linears[path].out_features) for path in inner}
    has_fused_gate = len(inner) == 1 and shapes == {(hidden, 2 * width)}
    if shapes != {(hidden, width)} and not has_fused_gate:
        return {}
    own: Any = type(config)()  # Only what the architecture reads: a configuration may hold any other key too.
    key = next((key for key in _WIDTH_KEYS if hasattr(own, key) and getattr(config, key, None) == width), "")
    return {"inner": tuple(inner), "outer": outer, "has_fused_gate": has_fused_gate, "width_key": key}
