"""A training that is cut off goes on from its checkpoint, to the very same weights."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from autoopt.objectives.loading import load_labelled
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.catalog import catalog
from autoopt.strategies.errors import Diverged
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training import checkpoints, progress
from tests import tiny, tiny_decoder, tiny_given
from tests.places import ROOT

EFFORT = 0.5

every_training = pytest.mark.parametrize(
    "strategy",
    [
        pytest.param(cls, id=name)
        for name, cls in catalog().items()
        if cls.trains and "causal" not in cls.needs and name != "linear_probe"  # It is solved, without a step.
    ],
)


checkpointing = partial(checkpoints.checkpointing, interval_s=0)
reporting = partial(progress.reporting, interval_s=0)


class Cut(BaseException):
    """What ends a process from outside."""


def given(strategy: Strategy | None = None) -> Candidate:
    if strategy is not None and "causal" in strategy.needs:
        return replace(tiny_decoder.candidate(), unlabeled=tiny_decoder.CORPUS * 8)
    other_data = partial(load_labelled, task_type=TextClassification)
    return replace(tiny.candidate(layers=2), teacher=tiny.model(layers=2, seed=7), other_data=other_data)


def cut_after(steps: int) -> Callable[[int, int], None]:
    """End everything when so many steps were done."""
    left = steps

    def look(done: int, total: int) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Cut

    return look


def trained(strategy: Strategy, folder: Path, *, cuts: tuple[int, ...] = ()) -> Candidate:
    """What the strategy makes of the candidate, cut off after so many steps and begun again each time."""
    for steps in cuts:
        with (
            pytest.raises(Cut),
            checkpointing(folder),
            reporting(cut_after(steps)),
        ):
            strategy.apply(given(strategy), effort=EFFORT, seed=0)
        assert list(folder.glob("*.safetensors"))
        torch.rand(3)  # What else has drawn random numbers must not matter.
    with checkpointing(folder):
        return strategy.apply(given(strategy), effort=EFFORT, seed=0)


@every_training
def test_cut_off_twice_it_comes_to_the_same_weights(strategy: type[Strategy], tmp_path: Path) -> None:
    made = tiny_given.made(strategy, batch_size=4, **({"block": 16} if "causal" in strategy.needs else {}))
    whole = trained(made, tmp_path / "whole")
    again = trained(made, tmp_path / "cut", cuts=(2, 1))
    assert tiny.digest(again.model) == tiny.digest(whole.model)
    assert again.history == whole.history
    assert list(tmp_path.iterdir()) == []


def test_it_goes_on_and_does_not_begin_again(tmp_path: Path) -> None:
    folder, seen = tmp_path / "stage", list[int]()
    with (
        pytest.raises(Cut),
        checkpointing(folder),
        reporting(cut_after(2)),
    ):
        FullFinetuning().apply(given(), effort=1, seed=0)
    with (
        checkpointing(folder),
        reporting(lambda done, _: seen.append(done)),
    ):
        FullFinetuning().apply(given(), effort=1, seed=0)
    assert seen == [3, 4, 5, 6]


def flipped(content: bytes, percent: int) -> bytes:
    place = len(content) * percent // 100
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[:-10],
    "no safetensors": lambda _: b"nonsense",
    "zeroed tail": lambda content: content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
    **{f"bit flipped at {percent} %": partial(flipped, percent=percent) for percent in (5, 35, 65, 95)},
}


@pytest.mark.parametrize("damage", ["another training", *DAMAGES])
def test_a_checkpoint_that_cannot_be_used_is_left_aside(damage: str, tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    with (
        pytest.raises(Cut),
        checkpointing(folder),
        reporting(cut_after(3)),
    ):
        FullFinetuning().apply(given(), effort=1 if damage == "another training" else EFFORT, seed=0)
    (file,) = folder.iterdir()
    if damage in DAMAGES:
        file.write_bytes(DAMAGES[damage](file.read_bytes()))
    after = trained(FullFinetuning(), folder)
    assert tiny.digest(after.model) == tiny.digest(trained(FullFinetuning(), tmp_path / "whole").model)


def test_a_training_that_diverges_leaves_no_checkpoint(tmp_path: Path) -> None:
    def diverge(done: int, total: int) -> None:
        if done == 2:
            raise Diverged("as if")

    with (
        pytest.raises(Diverged),
        checkpointing(tmp_path / "stage"),
        reporting(diverge),
    ):
        FullFinetuning().apply(given(), effort=1, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_without_a_place_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    FullFinetuning().apply(given(), effort=EFFORT, seed=0)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.strategies.training.test_checkpoints import EFFORT, FullFinetuning, checkpointing, given, reporting, tiny
from tests.places import ROOT

def kill(done, total):
    if done == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

with checkpointing(Path(sys.argv[1])), reporting(kill):
    print(tiny.digest(FullFinetuning().apply(given(), effort=EFFORT, seed=0).model))
"""


@pytest.mark.slow
def test_killed_in_mid_training_another_process_comes_to_the_same_weights(tmp_path: Path) -> None:
    whole = tiny.digest(FullFinetuning().apply(given(), effort=EFFORT, seed=0).model)

    def run(kill_after: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", KILLED, str(tmp_path / "stage"), str(kill_after)]
        return subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
        )

    assert run(2).returncode == -signal.SIGKILL
    assert (tmp_path / "stage" / "1.safetensors").is_file()
    again = run(-1)
    assert again.stdout.split() == [whole], again.stderr


def test_no_damaged_checkpoint_becomes_the_weights(tmp_path: Path) -> None:
    """300 flipped bits, 50 cuts and 50 zeroed ends, none of which is used."""
    chance, file = random.Random(0), tmp_path / "1.safetensors"

    def checkpoint() -> checkpoints.Checkpoint:
        module = torch.nn.Sequential(torch.nn.Linear(32, 32), torch.nn.LayerNorm(32))
        optimizer = torch.optim.AdamW(module.parameters())
        module(torch.ones(1, 32)).sum().backward()
        optimizer.step()
        return checkpoints.Checkpoint([module], optimizer, steps=9, file=file, interval_s=0.0)

    checkpoint().save_if_due([0.5, 0.25])
    content = file.read_bytes()
    for _ in range(300):
        damaged = bytearray(content)
        damaged[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        file.write_bytes(damaged)
        assert checkpoint().restore() == []
    for length in (chance.randrange(8, len(content)) for _ in range(50)):
        file.write_bytes(content[:-length])
        assert checkpoint().restore() == []
        file.write_bytes(content[:-length] + bytes(length))
        assert checkpoint().restore() == []
    file.write_bytes(content)
    assert checkpoint().restore() == [0.5, 0.25]
