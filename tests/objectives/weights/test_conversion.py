"""Pickled weights become safetensors with the same tensors; a pickle that does more is refused, and does nothing."""

from __future__ import annotations

import io
import json
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from autoopt.objectives.models.model_folder import find_model
from autoopt.objectives.models.pretrained import Head, open_pretrained
from autoopt.objectives.weights import pickle_process
from autoopt.objectives.weights.conversion import convert
from autoopt.strategies.errors import ModelError, UsageError
from tests.canary import Canary

HEAD = Head("AutoModelForSequenceClassification", pools=True)


@pytest.fixture
def tensors(model_folder: Path) -> dict[str, torch.Tensor]:
    """The weights of the folder, which now has them as pytorch_model.bin only."""
    loaded = load_file(model_folder / "model.safetensors")
    (model_folder / "model.safetensors").unlink()
    torch.save(loaded, model_folder / "pytorch_model.bin")
    return dict(loaded)


def answers(folder: Path) -> torch.Tensor:
    opened = open_pretrained(
        find_model(str(folder)), head=HEAD, labels=("a", "b"), problem_type=None, max_length=16, seed=0
    )
    with torch.inference_mode():
        return opened[0](input_ids=torch.tensor([[2, 5, 6, 3]])).logits  # type: ignore[no-any-return]


def test_a_folder_with_a_pickle_names_the_command_that_makes_it_usable(
    model_folder: Path, tensors: dict[str, torch.Tensor]
) -> None:
    with pytest.raises(ModelError, match=f"has pytorch_model.bin, .* run 'autoopt convert {model_folder}'"):
        find_model(str(model_folder))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_tensor_of_two_names_and_a_view_are_written_for_each(tmp_path: Path, zipped: bool) -> None:
    table = torch.arange(12.0).view(4, 3)
    content = {"embedding": table, "decoder": table, "turned": table.T, "half": table[1:].half()}
    torch.save(content, tmp_path / "weights.bin", _use_new_zipfile_serialization=zipped)
    sizes = pickle_process.write(pickle_process.read(tmp_path / "weights.bin"), tmp_path / "model.safetensors")
    assert sizes == {"embedding": 48, "decoder": 48, "turned": 48, "half": 18}
    written = load_file(tmp_path / "model.safetensors")
    assert {name: tensor.dtype for name, tensor in written.items()} == {k: v.dtype for k, v in content.items()}
    assert all(torch.equal(written[name], tensor) for name, tensor in content.items())


def test_shards_are_converted_each_with_a_new_index(model_folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    (model_folder / "pytorch_model.bin").unlink()
    shards: list[dict[str, torch.Tensor]] = [{}, {}]
    for number, (name, tensor) in enumerate(tensors.items()):
        shards[number % 2][name] = tensor
    names = [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]
    for name, shard in zip(names, shards, strict=True):
        torch.save(shard, model_folder / name)
    places = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
    index = model_folder / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": places}), encoding="utf-8")
    written = convert(model_folder)
    assert written.files == ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    assert find_model(str(model_folder)).weights == tuple(model_folder / name for name in written.files)
    assert all(torch.equal(load_file(model_folder / written.files[0])[name], shards[0][name]) for name in shards[0])
    assert answers(model_folder).isfinite().all()


def refusals(canary: Path) -> dict[str, tuple[Any, str]]:
    endless = torch.zeros(1).expand(10**12)
    return {
        "a plain pickle": (
            pickle.dumps({"a": Canary(canary)}, protocol=2),
            r"is more than weights.* asks for posix.mkdir",
        ),
        "an object among tensors": ({"a": torch.zeros(2), "b": Canary(canary)}, r"is more than weights.*posix.mkdir"),
        "a number": ({"a": torch.zeros(2), "epoch": 3}, r"holds int under 'epoch', not a tensor"),
        "a list": ([torch.zeros(2)], r"holds list, not tensors by name"),
        "nothing": ({}, r"holds dict, not tensors by name"),
        "no pickle": (b"no weights at all", r"is (damaged|more than weights)"),
        "a file cut short": (_cut_short(), r"is (damaged|more than weights)"),
        "a tensor without end": ({"a": endless}, r"announces 4,000,000,000,000 bytes under 'a', more than it has"),
    }


def _cut_short() -> bytes:
    file = io.BytesIO()
    torch.save({"a": torch.zeros(100)}, file)
    return file.getvalue()[:500]


@pytest.mark.parametrize("case", refusals(Path()))
def test_anything_but_tensors_is_refused_and_not_run(tmp_path: Path, case: str) -> None:
    content, message = refusals(tmp_path / "canary")[case]
    path = tmp_path / "weights.bin"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(pickle_process.Refused, match=message) as caught:
        pickle_process.read(path)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "canary").exists()


def test_the_canary_sings_where_a_pickle_is_run(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Canary(tmp_path / "canary")))  # noqa: S301
    assert (tmp_path / "canary").exists()


def test_the_process_reaches_no_network_and_changes_no_file(tmp_path: Path) -> None:
    attempts = """
import os, socket, subprocess, sys
from autoopt.objectives.weights import pickle_process
from tests.canary import Canary
pickle_process.leave_network() if sys.argv[3] == "namespace" else pickle_process.deny_side_effects()
def works(attempt):
    try:
        attempt()
    except (pickle_process.Refused, OSError):
        return False
    return True
connects = works(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5))
runs = works(lambda: subprocess.run(["true"], check=True))
writes = works(lambda: open(sys.argv[2], "w").close())
reads = works(lambda: open(os.devnull).close())
print(connects, runs, writes, reads)
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        arguments = [str(server.getsockname()[1]), str(tmp_path / "file")]
        results = {
            how: subprocess.run(
                [sys.executable, "-B", "-c", attempts, *arguments, how], capture_output=True, text=True, check=True
            ).stdout.split()
            for how in ("namespace", "audit")
        }
    assert results["audit"] == ["False", "False", "False", "True"]
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode == 0:  # Not every system allows it.
        assert results["namespace"][0] == "False"


def folder_with_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def folder_without_weights(folder: Path) -> None:
    (folder / "pytorch_model.bin").unlink()


def folder_without_configuration(folder: Path) -> None:
    (folder / "config.json").unlink()


def folder_with_a_link(folder: Path) -> None:
    (folder / "pytorch_model.bin").rename(folder.parent / "weights.bin")
    (folder / "pytorch_model.bin").symlink_to(folder.parent / "weights.bin")


def folder_with_a_lost_shard(folder: Path) -> None:
    (folder / "pytorch_model.bin").unlink()
    index = {"weight_map": {"a": "pytorch_model-00001-of-00002.bin"}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (folder_with_safetensors, r"has its weights as model.safetensors already; it can be used as it is"),
        (
            folder_without_weights,
            r"has no weights to convert; looked for pytorch_model.bin and .*, and it holds config",
        ),
        (folder_without_configuration, r"is no model folder: it has no config.json; give the folder that has it"),
        (folder_with_a_link, r"pytorch_model.bin is a link that leads out of the model's folder"),
        (folder_with_a_lost_shard, r"lacks the weights 'pytorch_model-00001-of-00002.bin' that its pytorch_model.bin"),
    ],
)
def test_a_folder_with_nothing_to_convert_is_refused(
    model_folder: Path, tensors: dict[str, torch.Tensor], change: Any, message: str
) -> None:
    change(model_folder)
    with pytest.raises(UsageError, match=message):
        convert(model_folder)


def test_an_output_that_holds_something_is_left_alone(
    model_folder: Path, tensors: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(UsageError, match=r"mine is not empty; give a folder that does not exist yet"):
        convert(model_folder, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
