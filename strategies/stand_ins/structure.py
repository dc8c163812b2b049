"""Digests of a model: of its structure, on which its time and its graph depend, and of its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from autoopt.strategies.networks.pooling import pooling_of
from autoopt.strategies.stand_ins.contract import structure_text
from autoopt.strategies.system.digests import tensor_digest

_NO_STRUCTURE = frozenset({"layer_idx", "training"})
"""Attributes of a module that cost no time: which layer of the original it was, whether it trains."""
_NO_CONFIGURATION = frozenset({"problem_type", "_name_or_path"})
"""Keys of a configuration about a loss and about where a model came from."""


def structure_digest(model: Any, *, configuration: bool = False) -> str:
    """Return sixteen hexadecimal digits of the sha256 of all that a call's time depends on; weights do not count.

    These are name, class, shape and dtype of each tensor and which of them are tied, class and settings (heads, widths,
    activation) of each module, and the implementation of attention. With ``configuration`` also the model's
    configuration, as an exported graph depends on it.
    """
    config = getattr(model, "config", None)
    about: list[Any] = [structure_text(model) or _tensors(model), _modules(model)]
    about.append(getattr(config, "_attn_implementation", None))
    if configuration and config is not None:
        about.append({key: value for key, value in config.to_dict().items() if key not in _NO_CONFIGURATION})
    return hashlib.sha256(json.dumps(about, default=str, sort_keys=True).encode()).hexdigest()[:16]


def weights_digest(model: Any) -> str:
    """Return the sha256 over the names, shapes, dtypes and values of all tensors of the state, and the pooling."""
    pooling = "" if pooling_of(model) is None else f"{type(model).__qualname__}-"
    return pooling + tensor_digest(model.state_dict().items())


def _tensors(model: Any) -> list[Any]:
    first: dict[int, int] = {}
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return [
        (name, type(tensor).__name__, list(tensor.shape), str(tensor.dtype), first.setdefault(tensor.data_ptr(), place))
        for place, (name, tensor) in enumerate(named)
    ]


def _modules(model: Any) -> list[tuple[str, str, Mapping[str, str]]]:
    return [(name, type(module).__qualname__, _settings(module)) for name, module in model.named_modules()]


def _settings(module: Any) -> dict[str, str]:
    return {
        key: repr(value)
        for key, value in sorted(vars(module).items())
        if isinstance(value, int | float | str | tuple) and key not in _NO_STRUCTURE and not key.startswith("_")
    }
