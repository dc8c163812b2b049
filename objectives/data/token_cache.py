"""Tokenized examples in files that every trial and every process of a machine shares: each set is tokenized once."""

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

LEAST_CHARACTERS = 200_000
"""Texts that are shorter in all are tokenized in less than two tenths of a second, and leave no file."""
_LIBRARIES = ("transformers", "tokenizers")
_SETTINGS = (
    *("model_max_length", "truncation_side", "padding_side", "model_input_names", "split_special_tokens"),
    *("chat_template", "bos_token", "eos_token"),
)
"""What a tokenizer does beyond what its ``tokenizer.json`` says."""
_STATE_ENDS = '"added_tokens"'
"""Before this key ``tokenizer.json`` has how the last call cut and padded, which says nothing of the next one."""


@dataclass(frozen=True)
class TokenCache:
    """A folder of Arrow files, ``KEY-SHA256.arrow``. A file is verified whenever it is read; there are no locks.

    Two processes that want the same at once both compute it, and one file stays.
    """

    folder: Path
    least_characters: int = LEAST_CHARACTERS

    @gc_paused()
    def features(
        self, task: TaskView, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]
    ) -> list[Features]:
        """What ``task.encode(examples, tokenizer)`` returns, value for value; kept where that is worth a file."""
        if _characters(examples) < self.least_characters or not hasattr(tokenizer, "backend_tokenizer"):
            return task.encode(examples, tokenizer)
        key = key_of(task, tokenizer, examples)
        kept = self._read(key)
        if kept is not None:
            return kept
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
                continue  # Somebody cleaned up meanwhile.
            path.unlink(missing_ok=True)
        return None

    def _write(self, key: str, features: Sequence[Features]) -> None:
        """Keep features, all or none: none where a table could not give them back, or where the disk is full."""
        import pyarrow

        table = features_to_table(features)
        if table is None:
            return
        with contextlib.suppress(OSError):  # The features are known; what is lost is time.
            buffer = pyarrow.BufferOutputStream()
            with pyarrow.ipc.new_file(buffer, table.schema) as writer:
                writer.write_table(table)
            content = buffer.getvalue()
            write_whole(self.folder / f"{key}-{hashlib.sha256(content).hexdigest()}.arrow", content)


def key_of(task: TaskView, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]) -> str:
    """40 hexadecimal digits of all that the features depend on: task, tokenizer, examples, code, versions."""
    backend: Any = tokenizer.backend_tokenizer
    rules = backend.to_str()
    about = {
        "task": task.to_json(),
        "tokenizer": type(tokenizer).__name__,
        "settings": {name: getattr(tokenizer, name, None) for name in _SETTINGS},
        "libraries": {name: version(name) for name in _LIBRARIES},
        "code": code_digest(type(task).__module__, __name__),
    }
    total = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
    total.update(rules[max(0, rules.find(_STATE_ENDS)) :].encode())
    content = [(example.text, example.text_pair, example.label) for example in examples]
    total.update(json.dumps(content, default=_plain).encode())
    return total.hexdigest()[:40]


def _plain(span: Span) -> tuple[str, int]:
    return span.text, span.start


def _characters(examples: Sequence[Example]) -> int:
    return sum(len(example.text) + len(example.text_pair or "") for example in examples)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
