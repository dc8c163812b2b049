"""A configuration that asks for more than the weights have is refused, at once and without building anything."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from autoopt.objectives.models.config_numbers import MAX_LAYERS, check_numbers
from autoopt.objectives.models.model_folder import find_model
from autoopt.objectives.models.safetensors_header import StoredTensor
from autoopt.strategies.errors import ModelError

PATH = Path("model/config.json")


def configure(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), encoding="utf-8")


def tensors(*shapes: tuple[str, tuple[int, ...]]) -> dict[str, StoredTensor]:
    return {name: StoredTensor("F32", shape, 0, 0) for name, shape in shapes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"num_hidden_layers": 1_000_000},
            r"asks for num_hidden_layers 1,000,000, and its weights have 2 layers; co",
        ),
        ({"num_hidden_layers": 3}, r"asks for num_hidden_layers 3, and its weights have 2 layers"),
        ({"hidden_size": 10**9}, r"asks for hidden_size 1,000,000,000, and its weights have 64 in any dimension"),
        ({"intermediate_size": 65}, r"asks for intermediate_size 65, and its weights have 64 in any dimension"),
        ({"vocab_size": 10**12}, r"asks for vocab_size 1,000,000,000,000, and its weights have 64 in any"),
        ({"type_vocab_size": 10**9}, r"asks for type_vocab_size 1,000,000,000"),
        ({"num_attention_heads": 10**7}, r"asks for num_attention_heads 10,000,000"),
        ({"max_position_embeddings": 41}, r"asks for max_position_embeddings 41, and its weights have 40 positions"),
        ({"num_labels": 10**9}, r"asks for num_labels 1,000,000,000, and at most 1,000,000 classes are plausible"),
        ({"pad_token_id": 17}, r"has pad_token_id 17, and its vocabulary ends at 16; set pad_token_id to the number"),
        ({"text_config": {"hidden_size": 10**9}}, r"asks for hidden_size 1,000,000,000"),
    ],
)
def test_a_number_that_the_weights_do_not_have_is_refused(
    model_folder: Path, changes: dict[str, Any], message: str
) -> None:
    configure(model_folder, **changes)
    started_at = time.monotonic()
    with pytest.raises(ModelError, match=message) as caught:
        find_model(str(model_folder))
    assert time.monotonic() - started_at < 2
    assert "config.json" in str(caught.value)


def test_layers_that_share_their_weights_may_be_more_than_the_weights_have() -> None:
    weights = tensors(("encoder.groups.0.weight", (8, 8)), ("words", (30, 8)))
    check_numbers(PATH, {"num_hidden_layers": 12, "num_hidden_groups": 1, "hidden_size": 8}, weights)
    check_numbers(PATH, {"num_hidden_layers": 12}, weights)
    with pytest.raises(ModelError, match=rf"and at most {MAX_LAYERS:,} layers are plausible"):
        check_numbers(PATH, {"num_hidden_layers": 1_000_000, "num_hidden_groups": 1}, weights)


def test_positions_that_are_computed_may_be_many() -> None:
    weights = tensors(("model.layers.0.weight", (8, 8)), ("model.layers.1.weight", (8, 8)))
    check_numbers(PATH, {"max_position_embeddings": 10_485_760, "num_hidden_layers": 2}, weights)
    with pytest.raises(
        ModelError, match=r"max_position_embeddings 1,000,000,000,000, and at most 134,217,728 positions"
    ):
        check_numbers(PATH, {"max_position_embeddings": 10**12}, weights)


def test_the_layers_of_all_files_count(model_folder: Path) -> None:
    content = load_file(model_folder / "model.safetensors")
    (model_folder / "model.safetensors").unlink()
    names = {name: f"model-0000{1 + ('layer.1' in name)}-of-00002.safetensors" for name in content}
    for file in sorted(set(names.values())):
        save_file({name: content[name] for name in content if names[name] == file}, model_folder / file)
    index = model_folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}), encoding="utf-8")
    assert len(find_model(str(model_folder)).weights) == 2
    configure(model_folder, num_hidden_layers=3)
    with pytest.raises(ModelError, match="and its weights have 2 layers"):
        find_model(str(model_folder))
