"""A model that cannot be used ends plan and search at once with code 2; what was chosen for one is said."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

from autoopt.search.cli.main import autoopt
from autoopt.search.experiment.experiment import load_experiment
from autoopt.search.paths import Root
from autoopt.search.study.assembly import checked
from tests import tiny, tiny_decoder
from tests.search.samples import write_experiment

COMMANDS = ("plan", "search")
TENSOR = "bert.encoder.layer.0.output.dense.weight"


def configured(**changes: Any) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        path = model / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), encoding="utf-8")

    return change


def with_value(value: float) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        tensors = load_file(model / "model.safetensors")
        tensors[TENSOR][0, 0] = value
        save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})

    return change


def pickled(model: Path) -> None:
    tensors = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    torch.save(tensors, model / "pytorch_model.bin")


def malicious(model: Path) -> None:
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(print))


def run(command: str, file: Path, root: Path) -> Result:
    return CliRunner().invoke(autoopt, [command, str(file), "--root", str(root)])


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            configured(num_hidden_layers=1_000_000),
            "asks for num_hidden_layers 1,000,000, and its weights have 4 layers",
        ),
        (configured(hidden_size=10**9), "asks for hidden_size 1,000,000,000, and its weights have 64 in any dimension"),
        (with_value(float("nan")), f"hold 1 NaN (no numbers), the first in {TENSOR}: training cannot repair them"),
        (pickled, "has pytorch_model.bin, a format that can run code when it is read: run 'autoopt convert "),
        (malicious, "has pytorch_model.bin, a format that can run code when it is read: run 'autoopt convert "),
    ],
    ids=["a million layers", "a billion columns", "NaN", "a pickle", "a malicious pickle"],
)
def test_a_model_that_cannot_be_used_ends_the_command(
    tmp_path: Path, command: str, change: Callable[[Path], None], message: str
) -> None:
    file = write_experiment(tmp_path / "given")
    change(tmp_path / "given" / "model")
    result = run(command, file, tmp_path / "root")
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert message in line
    assert str(tmp_path / "given" / "model") in line
    assert not (tmp_path / "root").exists()


def warnings(file: Path) -> tuple[list[str], Any]:
    said: list[str] = []
    return said, checked(load_experiment(str(file), ()), Root(file.parent / "root"), said.append).space


def test_infinite_weights_are_a_warning(tmp_path: Path) -> None:
    file = write_experiment(tmp_path / "given")
    assert warnings(file)[0] == []
    with_value(float("inf"))(tmp_path / "given" / "model")
    (said,) = warnings(file)[0]
    assert f"hold 1 infinite numbers, the first in {TENSOR}" in said


def test_a_tokenizer_without_padding_and_mask_is_said_and_has_no_masked_language_modeling(tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    offered: dict[str, Any] = {"others": False, "masked_language_modeling": True, "full_finetuning": True}
    file = write_experiment(tmp_path / "given", strategies=offered)
    said, space = warnings(file)
    assert said == []
    assert space.offer("masked_language_modeling") is not None
    model = tmp_path / "given" / "model"
    made: Any = PreTrainedTokenizerFast
    tokenizer = made(tokenizer_object=tiny_decoder.tokenizer().backend_tokenizer, eos_token=tiny_decoder.END)
    tokenizer.save_pretrained(model)
    (model / "vocab.txt").unlink(missing_ok=True)
    network = tiny.model()
    network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    network.save_pretrained(model)
    said, space = warnings(file)
    assert said == [f"the tokenizer of {model} has no padding token: {tiny_decoder.END} is used for it"]
    assert space.offer("masked_language_modeling") is None
    reason = f"it needs a mask token, and the tokenizer of {model} has none"
    assert space.withheld["masked_language_modeling"] == reason
