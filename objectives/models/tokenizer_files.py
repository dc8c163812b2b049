"""The files of a tokenizer, and the packages that reading them needs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from autoopt.objectives.models.json_file import check_no_pointer
from autoopt.strategies.errors import EnvironmentProblem, ModelError

_SELF_CONTAINED = ("tokenizer.json", "vocab.txt", "vocab.json")
_SENTENCEPIECE = (
    *("sentencepiece.bpe.model", "spiece.model", "spm.model", "sentencepiece.model", "tokenizer.model"),
    "tiktoken.model",
)
NAMES = (*_SELF_CONTAINED, *_SENTENCEPIECE)
"""Names of files with the vocabulary of a tokenizer."""
EXTRA = "sentencepiece"
"""The extra of autoopt with the packages below."""
_TIKTOKEN = ("tiktoken",)
_PROTOCOL_BUFFER = ("sentencepiece", "google.protobuf")


def check(folder: Path) -> None:
    """Check that the folder has the files of a tokenizer, and that the packages to read them are installed.

    Raises ``ModelError`` and ``EnvironmentProblem``.
    """
    present = [name for name in NAMES if (folder / name).is_file()]
    if not present:
        raise ModelError(f"{folder} has no tokenizer; looked for {', '.join(NAMES)}")
    for name in present:
        check_no_pointer(folder / name)
    if present[0] in _SELF_CONTAINED:
        return
    needed = _PROTOCOL_BUFFER if sentencepiece_file(folder) else _TIKTOKEN
    if missing := [package for package in needed if not _is_installed(package)]:
        raise EnvironmentProblem(
            f"{folder} has its tokenizer as {present[0]} only, and reading it needs the package "
            f"{missing[0].replace('google.', '')}: pip install 'autoopt[{EXTRA}]'"
        )


def sentencepiece_file(folder: Path) -> Path | None:
    """Return the file of sentencepiece from which the tokenizer has to be read; None if there is another one."""
    present = next((name for name in NAMES if (folder / name).is_file()), _SELF_CONTAINED[0])
    return None if present in _SELF_CONTAINED or _is_tiktoken(folder / present) else folder / present


def _is_tiktoken(path: Path) -> bool:
    """Return whether the file is a list of tokens in base64, no protocol buffer of sentencepiece."""
    with path.open("rb") as file:
        first = file.readline(1000).split()
    return len(first) == 2 and first[1].isdigit()


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # Of the package above it.
        return False
