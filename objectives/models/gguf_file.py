"""Models in GGUF files, the format of llama.cpp: their headers checked, their weights dequantized to fp32."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO

from autoopt.strategies.errors import EnvironmentProblem, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SUFFIX = ".gguf"
ARCHITECTURE = "general.architecture"
VERSIONS = (2, 3)
MAX_ENTRIES = 100_000
"""Maximum number of settings, and of tensors, of a file. Real ones have some hundreds."""
MAX_HEADER_BYTES = 200_000_000

_NUMBER_BYTES = MappingProxyType({0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8})
"""Size of a number by its type."""
_TEXT, _LIST = 8, 9


def architecture(path: Path) -> str:
    """Return the name of the architecture, without importing torch.

    Raises ``ModelError`` for a file that is not GGUF, damaged or truncated, and ``EnvironmentProblem`` if the package
    ``gguf`` is not installed.
    """
    sizes = _block_sizes()
    with path.open("rb") as file, _errors_reported(path):
        reader = _Header(file)
        name = reader.architecture()
        end = reader.end_of_tensors(sizes)
    if end > path.stat().st_size:
        raise ModelError(f"{path} is cut short: its header describes {end:,} bytes; download it again")
    if not name:
        raise ModelError(f"{path} does not name its architecture ({ARCHITECTURE}); convert the model again")
    return name


def open_gguf(path: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the model, dequantized to fp32, and its tokenizer. ``architecture`` must have checked the file.

    Dequantizing takes half a minute for 135 million parameters.
    """
    import torch
    import transformers

    model_class: Any = transformers.AutoModelForCausalLM
    options: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True}
    tokenizer = read_tokenizer(path)
    # Progress bars of the dequantizing cannot be turned off.
    with redirect_stderr(io.StringIO()), _errors_reported(path):
        packed, report = model_class.from_pretrained(
            path.parent, dtype=torch.float32, output_loading_info=True, **options
        )
        if report["missing_keys"]:
            raise ValueError(f"it lacks {min(report['missing_keys'])} ({len(report['missing_keys'])} like it)")
    return _without_quantization(packed), tokenizer


def read_configuration(path: Path) -> Any:
    """Return the configuration in the header. ``architecture`` must have checked the file."""
    from transformers import AutoConfig

    with redirect_stderr(io.StringIO()), _errors_reported(path):
        config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
    return _plain_configuration(config)


def read_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer in the header. ``architecture`` must have checked the file."""
    from transformers import AutoTokenizer

    with redirect_stderr(io.StringIO()), _errors_reported(path):
        return AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)


def _plain_configuration(config: Any) -> Any:
    """Return the configuration without the note that its model is quantized, with which it could not be saved."""
    settings = config.to_dict()
    settings.pop("quantization_config", None)
    return type(config).from_dict(settings)


def _without_quantization(packed: Any) -> PreTrainedModel:
    """Return the model with a configuration that does not call it quantized."""
    from transformers.initialization import no_init_weights

    config = _plain_configuration(packed.config)
    config.architectures = [type(packed).__name__]
    with no_init_weights():
        model = type(packed)(config)
    model.load_state_dict(packed.state_dict(), assign=True)
    model.tie_weights()
    return model.requires_grad_(True).eval()  # type: ignore[no-any-return]


class _Header:
    """Reader of the header, which stands before the weights. Raises ``ValueError`` if it is not valid."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        magic, version = self._read_bytes(4), self._number("<I")
        if magic != b"GGUF" or version not in VERSIONS:
            raise ValueError(f"it begins with {magic!r} and version {version}")
        self._tensors, self._settings = self._entry_count(), self._entry_count()
        self._alignment = 32

    def architecture(self) -> str:
        """Read all settings and return the architecture among them, empty if there is none."""
        name = ""
        for _ in range(self._settings):
            key, kind = self._text(), self._number("<I")
            if key == ARCHITECTURE and kind == _TEXT:
                name = self._text()
            elif key == "general.alignment" and kind == 4:
                self._alignment = max(1, self._number("<I"))
            else:
                self._skip(kind)
        return name

    def end_of_tensors(self, sizes: dict[int, tuple[int, int]]) -> int:
        """Return the offset after the last tensor. Must be called after ``architecture``."""
        ends = [0]
        for _ in range(self._tensors):
            self._text()
            count = 1
            for _ in range(self._dimension_count()):
                count *= self._number("<Q")
            elements, size = sizes[self._number("<I")]
            ends.append(self._number("<Q") + count // elements * size)
        begin = -(-self._file.tell() // self._alignment) * self._alignment
        return begin + max(ends)

    def _dimension_count(self) -> int:
        dimensions = self._number("<I")
        if dimensions > 8:
            raise ValueError(f"a tensor has {dimensions} dimensions")
        return dimensions

    def _entry_count(self) -> int:
        count = self._number("<Q")
        if count > MAX_ENTRIES:
            raise ValueError(f"it announces {count:,} entries")
        return count

    def _skip(self, kind: int) -> None:
        if kind == _TEXT:
            self._text()
        elif kind == _LIST:
            inner, count = self._number("<I"), self._number("<Q")
            if inner in _NUMBER_BYTES:
                self._read_bytes(_NUMBER_BYTES[inner] * count)
            else:
                if inner != _TEXT or count > MAX_HEADER_BYTES:
                    raise ValueError(f"a list of {count:,} values of type {inner}")
                for _ in range(count):
                    self._text()
        else:
            self._read_bytes(_NUMBER_BYTES[kind])

    def _text(self) -> str:
        return self._read_bytes(self._number("<Q")).decode("utf-8", errors="replace")

    def _number(self, form: str) -> int:
        return int(struct.unpack(form, self._read_bytes(struct.calcsize(form)))[0])

    def _read_bytes(self, count: int) -> bytes:
        if count > MAX_HEADER_BYTES or self._file.tell() > MAX_HEADER_BYTES:
            raise ValueError("its header is too long")
        content = self._file.read(count)
        if len(content) < count:
            raise ValueError("it ends in the middle of its header")
        return content


def _block_sizes() -> dict[int, tuple[int, int]]:
    try:
        from gguf import GGML_QUANT_SIZES
    except ImportError:
        raise EnvironmentProblem("a model in a GGUF file needs the package 'gguf': pip install gguf") from None
    return {int(kind): size for kind, size in GGML_QUANT_SIZES.items()}


@contextmanager
def _errors_reported(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, IndexError, OSError, RuntimeError, TypeError) as error:
        line = " ".join(str(error).split())[:200]
        raise ModelError(f"{path} is not a readable GGUF file: {line}; download it again") from None
