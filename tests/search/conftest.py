from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.search.backends.mlflow_client import open_client, prepare_environment
from autoopt.search.paths import Root
from autoopt.strategies import saving
from autoopt.strategies.candidate import Candidate

WORDS = ("chelsea", "won", "the", "cup", "shares", "fell", "sharply", "today")


def tiny_candidate(seed: int) -> Candidate:
    """A BERT of two layers that has learned nothing, with a vocabulary of a few words."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS)
    labels = {0: "business", 1: "sport"}
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=1.0,
        id2label=labels,
        label2id={name: number for number, name in labels.items()},
    )
    model = BertForSequenceClassification(config)
    return Candidate(
        model=model.eval(),  # type: ignore[no-untyped-call]
        tokenizer=BertTokenizer({word: number for number, word in enumerate(words)}),
        task=TextClassification(labels=tuple(labels.values()), max_length=16),
    )


@pytest.fixture(scope="session")
def candidates(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Candidate, Path]]:
    """By trial number: a tiny candidate and the folder in which it is saved."""
    folder = tmp_path_factory.mktemp("candidates")
    found = {}
    for trial, seed in ((3, 5), (7, 6)):
        candidate = tiny_candidate(seed)
        saving.save(candidate, folder / f"{trial:04d}")
        found[trial] = (candidate, folder / f"{trial:04d}")
    return found


@pytest.fixture(scope="session")
def empty_mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Making one takes seconds, copying it does not."""
    root = Root(tmp_path_factory.mktemp("empty"))
    open_client(None, root)
    return root.mlflow_database


@pytest.fixture
def root(tmp_path: Path, empty_mlflow_database: Path) -> Root:
    """A root of its own with an MLflow database in which nothing is."""
    made = Root(tmp_path / "root")
    made.path.mkdir()
    shutil.copy(empty_mlflow_database, made.mlflow_database)
    return made


@pytest.fixture
def mlflow_server(tmp_path: Path, empty_mlflow_database: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """The address of an MLflow server that is not there yet, and what starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path / "server"
    folder.mkdir()
    shutil.copy(empty_mlflow_database, folder / "mlflow.db")
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        prepare_environment()
        options = {
            "host": "127.0.0.1",
            "port": port,
            "workers": 1,
            "backend-store-uri": f"sqlite:///{folder / 'mlflow.db'}",
            "artifacts-destination": folder / "artifacts",
        }
        command = [sys.executable, "-m", "mlflow", "server", *(f"--{name}={value}" for name, value in options.items())]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (folder / "log.txt").open("wb") as log:
            started.append(
                subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment, start_new_session=True)
            )
        _wait_for(f"http://127.0.0.1:{port}/health", started[0], folder / "log.txt")

    yield f"http://127.0.0.1:{port}", start
    for process in started:
        os.killpg(process.pid, 15)
        process.wait(30)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"no MLflow server at {address}: {log.read_text(encoding='utf-8')}")
