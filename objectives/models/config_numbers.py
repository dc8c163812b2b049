"""Numbers of a configuration that the weights do not have, found before a model of that size is built."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autoopt.objectives.models.safetensors_header import StoredTensor
from autoopt.strategies.errors import ModelError
from autoopt.strategies.networks.architectures import LAYER_COUNTS

MAX_LAYERS = 1_000
"""Several times as many as the deepest published models have."""
MAX_CLASSES = 1_000_000
MAX_POSITIONS = 2**27
SIZES = (
    *("vocab_size", "hidden_size", "dim", "n_embd", "d_model", "embedding_size", "word_embed_proj_dim", "head_dim"),
    *("intermediate_size", "hidden_dim", "n_inner", "d_ff", "d_inner", "ffn_dim", "moe_intermediate_size", "d_kv"),
    *("num_attention_heads", "n_heads", "n_head", "num_heads", "num_key_value_heads", "type_vocab_size"),
    *("num_experts", "num_local_experts", "n_routed_experts"),
)
"""Keys of sizes, none of which can exceed the largest dimension of the weights, that of the vocabulary."""
_POSITIONS = ("max_position_embeddings", "n_positions")
_POSITION_TABLE = re.compile(r"(position_embeddings|embed_positions|wpe)\.weight$")


def check_numbers(path: Path, config: Mapping[str, Any], weights: Mapping[str, StoredTensor]) -> None:
    """Raise ``ModelError`` for a number in the configuration at ``path`` that the weights do not have.

    What the weights cannot tell, as of layers that share theirs, has to be plausible.
    """
    largest = max((max(tensor.shape, default=0) for tensor in weights.values()), default=0)
    layers, positions = _layers(config, weights), _positions(weights)
    for key, value in _numbers(config):
        if key in LAYER_COUNTS and value > (layers or MAX_LAYERS):
            _refuse(path, key, value, "layers", layers, MAX_LAYERS)
        elif key in SIZES and value > largest:
            _refuse(path, key, value, "in any dimension", largest, largest)
        elif key in _POSITIONS and value > (positions or MAX_POSITIONS):
            _refuse(path, key, value, "positions", positions, MAX_POSITIONS)
        elif key == "num_labels" and value > MAX_CLASSES:
            _refuse(path, key, value, "classes", None, MAX_CLASSES)
        elif key == "pad_token_id" and value >= config.get("vocab_size", value + 1):
            raise ModelError(
                f"{path} has {key} {value:,}, and its vocabulary ends at {config['vocab_size'] - 1:,}; set {key} to "
                "the number of a token"
            )


def _refuse(path: Path, key: str, value: int, what: str, present: int | None, limit: int) -> None:
    weights = f"its weights have {present:,} {what}" if present else f"at most {limit:,} {what} are plausible"
    raise ModelError(f"{path} asks for {key} {value:,}, and {weights}; correct it, or download the model again")


def _numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield all whole numbers, those of the configurations inside it too."""
    for key, value in config.items():
        if isinstance(value, int) and not isinstance(value, bool):
            yield key, value
        elif key.endswith("_config") and isinstance(value, dict):
            yield from _numbers(value)


def _layers(config: Mapping[str, Any], weights: Mapping[str, StoredTensor]) -> int | None:
    """Return the largest number of numbered parts, which is that of the layers or above; None if layers are shared."""
    numbers = (int(part) for name in weights for part in name.split(".") if part.isdecimal())
    count = 1 + max(numbers, default=-1)
    return None if "num_hidden_groups" in config or count < 2 else min(count, MAX_LAYERS)


def _positions(weights: Mapping[str, StoredTensor]) -> int | None:
    """Return the length of the table of positions; None if positions are not learned."""
    lengths = (tensor.shape[0] for name, tensor in weights.items() if tensor.shape and _POSITION_TABLE.search(name))
    return max(lengths, default=None)
