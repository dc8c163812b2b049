"""A cache of tokenized examples on disk, shared by all trials and processes of a machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.objectives.data.feature_table import features_to_table, table_to_features
from autoopt.objectives.data.gc_pause import gc_paused
from autoopt.strategies.candidate import Example, Features, Span, TaskView
from autoopt.strategies.system.code_digest import code_digest
from autoopt.strategies.system.files import write_whole

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MIN_CHARACTERS = 200_000
"""Shorter data sets are tokenized in less than 0.2 s and are not cached."""
_LIBRARIES = ("transformers", "tokenizers")
_SETTINGS = (
    *("model_max_length", "truncation_side", "padding_side", "model_input_names", "split_special_tokens"),
    *("chat_template", "bos_token", "eos_token"),
)
"""Attributes that change what a tokenizer does and are not in its ``tokenizer.json``."""
_STATE_ENDS = '"added_tokens"'
"""First key of ``tokenizer.json`` after the truncation and padding of the last call, which do not matter."""


@dataclass(frozen=True)
class TokenCache:
    """A folder of Arrow files named ``KEY-SHA256.arrow``, verified whenever they are read.

    There are no locks: two processes may tokenize the same data at once, and one file remains.
    """

    folder: Path
    min_characters: int = MIN_CHARACTERS

    @gc_paused()
    def features(
        self, task: TaskView, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]
    ) -> list[Features]:
        """Return exactly what ``task.encode(examples, tokenizer)`` does, from the cache if it is there."""
        if _characters(examples) < self.min_characters or not hasattr(tokenizer, "backend_tokenizer"):
            return task.encode(examples, tokenizer)
        key = cache_key(task, tokenizer, examples)
        cached = self._read(key)
        if cached is not None:
            return cached
        computed = task.encode(examples, tokenizer)
        self._write(key, computed)
        return computed

    def _read(self, key: str) -> list[Features] | None:
        import pyarrow

        for path in sorted(self.folder.glob(f"{key}-*.arrow")):
            try:
                if _digest(path) == path.stem.rpartition("-")[2]:
                    os.utime(path)
                    with pyarrow.memory_map(str(path)) as file:
                        return table_to_features(pyarrow.ipc.open_file(file).read_all())
            except FileNotFoundError:
                continue  # Another process has just removed it.
            path.unlink(missing_ok=True)
        return None

    def _write(self, key: str, features: Sequence[Features]) -> None:
        """Write the features, unless a table cannot represent them or the disk is full."""
        import pyarrow

        table = features_to_table(features)
        if table is None:
            return
        with contextlib.suppress(OSError):  # Tokenizing again costs only time.
            buffer = pyarrow.BufferOutputStream()
            with pyarrow.ipc.new_file(buffer, table.schema) as writer:
                writer.write_table(table)
            content = buffer.getvalue()
            write_whole(self.folder / f"{key}-{hashlib.sha256(content).hexdigest()}.arrow", content)


def cache_key(task: TaskView, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]) -> str:
    """Return a digest of all that the features depend on: task, tokenizer, examples, code, library versions."""
    backend: Any = tokenizer.backend_tokenizer
    rules = backend.to_str()
    dependencies = {
        "task": task.to_json(),
        "tokenizer": type(tokenizer).__name__,
        "settings": {name: getattr(tokenizer, name, None) for name in _SETTINGS},
        "libraries": {name: version(name) for name in _LIBRARIES},
        "code": code_digest(type(task).__module__, __name__),
    }
    total = hashlib.sha256(json.dumps(dependencies, sort_keys=True, default=str).encode())
    total.update(rules[max(0, rules.find(_STATE_ENDS)) :].encode())
    content = [(example.text, example.text_pair, example.label) for example in examples]
    total.update(json.dumps(content, default=_span_to_json).encode())
    return total.hexdigest()[:40]


def _span_to_json(span: Span) -> tuple[str, int]:
    return span.text, span.start


def _characters(examples: Sequence[Example]) -> int:
    return sum(len(example.text) + len(example.text_pair or "") for example in examples)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
