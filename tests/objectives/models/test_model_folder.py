# ruff: noqa: E501 - in a table of cases each case is a line

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoopt.objectives.models.model_folder import find_model
from autoopt.strategies.errors import EnvironmentProblem, ModelError
from tests.canary import Canary

Damage = Callable[[Path], None]


def configured(file: str = "config.json", **changes: Any) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), encoding="utf-8")

    return damage


def written(name: str, content: bytes) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return damage


def removed(*names: str) -> Damage:
    def damage(folder: Path) -> None:
        for name in names:
            (folder / name).unlink(missing_ok=True)

    return damage


def only_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Canary(folder.parent / "canary")))


def renamed_pickle(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(Canary(folder.parent / "canary")))


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def linked_outside(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "weights")
    (folder / "model.safetensors").symlink_to(folder.parent / "weights")


def missing_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}), encoding="utf-8")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
DAMAGES: dict[str, tuple[Damage, str]] = {
    "no configuration": (removed("config.json"), r"is no model: it holds .*; looked for config.json, model.safetensors"),
    "a configuration that is no JSON": (written("config.json", b"{"), r"config.json is not JSON: .*; download the model"),
    "a configuration that is a list": (written("config.json", b"[]"), r"config.json does not hold a JSON object"),
    "an unknown architecture": (configured(model_type="nobert"), r"architecture 'nobert', which the installed transformers does not open with AutoModelForSeq"),
    "no architecture": (configured(model_type=None), r"config.json has no 'model_type'; give a model that transformers opens, an encoder"),
    "code of its own": (configured(auto_map={"AutoModel": "x.Y"}), r"config.json has 'auto_map': it asks for code of its own"),
    "code for the tokenizer": (configured("tokenizer_config.json", auto_map={}), r"tokenizer_config.json has 'auto_map'"),
    "kernels from a hub": (configured(_attn_implementation_internal="someone/kernel"), r"_attn_implementation_internal: 'someone/kernel'; allowed are eager, sdpa"),
    "a quantized model": (configured(quantization_config={"bits": 4}), r"is of a quantized model; give the model that it was made from"),
    "an adapter": (written("adapter_config.json", b"{}"), r"holds an adapter \(adapter_config.json\); merge it"),
    "no weights": (removed("model.safetensors"), r"has no weights; looked for model.safetensors and model.safetensors.index.json"),
    "pickled weights": (only_pickle, r"It has pytorch_model.bin, a format that can run code when it is read: run 'autoopt convert"),
    "pickled weights under another name": (renamed_pickle, r"model.safetensors is not a safetensors file"),
    "weights cut short": (cut_short, r"model.safetensors is cut short or damaged: its header describes another size"),
    "empty weights": (written("model.safetensors", b""), r"model.safetensors is not a safetensors file"),
    "a header that lies": (written("model.safetensors", b"\x0d\0\0\0\0\0\0\0{\"a\": [1, 2]}"), r"is cut short or damaged"),
    "an endless header": (written("model.safetensors", b"\xff" * 64), r"model.safetensors is not a safetensors file"),
    "a missing shard": (missing_shard, r"lacks the weights 'model-00002-of-00002.safetensors' that its"),
    "weights that are a pointer": (written("model.safetensors", LFS), r"model.safetensors is a Git LFS pointer.*run 'git lfs pull'"),
    "a configuration that is a pointer": (written("config.json", LFS), r"config.json is a Git LFS pointer"),
    "no tokenizer": (removed("tokenizer.json", "vocab.txt"), r"has no tokenizer; looked for tokenizer.json, vocab.txt"),
    "a link that leads outside": (linked_outside, r"model.safetensors is a link that leads out of the model's folder"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_model_that_cannot_or_must_not_be_opened_is_refused(model_folder: Path, damage: Damage, message: str) -> None:
    damage(model_folder)
    with pytest.raises(ModelError, match=message) as caught:
        find_model(str(model_folder))
    assert str(model_folder) in str(caught.value)
    assert not (model_folder.parent / "canary").exists()


def test_a_sound_folder_is_found_with_its_configuration(model_folder: Path) -> None:
    model = find_model(str(model_folder))
    assert model.path == model_folder
    assert model.config["model_type"] == "bert"


def test_the_links_of_a_hub_cache_stay_inside_it(model_folder: Path) -> None:
    cache = model_folder.parent / "models--org--name"
    snapshot = cache / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    model_folder.rename(cache / "blobs")
    for blob in (cache / "blobs").iterdir():
        (snapshot / blob.name).symlink_to(blob)
    assert find_model(str(snapshot)).path == snapshot


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mdel", r"there is no model folder .*mdel; did you mean 'model'\?; give a folder, package://NAME/PATH"),
        ("model/config.json", r"config.json is a file; a model is a folder with config.json"),
    ],
)
def test_a_path_that_is_no_folder_is_refused(model_folder: Path, name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        find_model(str(model_folder.parent / name))


def test_a_hub_that_cannot_be_reached_is_a_problem_of_the_environment() -> None:
    with pytest.raises(EnvironmentProblem, match=r"there is no folder 'org/name', and the Hub cannot be reached"):
        find_model("org/name")


def test_looking_at_a_model_does_not_import_torch(model_folder: Path) -> None:
    program = (
        "import sys; from autoopt.objectives.models.model_folder import find_model; find_model(sys.argv[1]);"
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(model_folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "False False"
