from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.search.backends.mlflow_client import open_client
from autoopt.search.paths import Root
from autoopt.strategies import saving
from autoopt.strategies.candidate import Candidate
from tests import servers

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
    port = servers.free_port()
    with ExitStack() as stack:
        yield (
            f"http://127.0.0.1:{port}",
            lambda: stack.enter_context(servers.mlflow_server(tmp_path / "server", port, empty_mlflow_database)),
        )
