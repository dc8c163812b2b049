"""The process that reads pickled weights: cut off from network and files, ``weights_only=True``; writes safetensors.

``python -m autoopt.objectives.weights.pickle_process PAIRS`` reads the first file of each pair of paths (JSON), writes
the second, and prints the names and sizes in bytes of the tensors of each.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

REFUSED = 3
"""Exit code for a file that is not read."""
_DENIED = (
    *("socket.", "subprocess.", "urllib.", "http.", "ftplib.", "smtplib.", "webbrowser.", "pty.", "ctypes."),
    *("os.system", "os.exec", "os.spawn", "os.posix_spawn", "os.fork", "os.remove", "os.rename", "os.truncate"),
    *("os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.kill", "shutil."),
)
"""What the names of audit events begin with that nothing here causes."""
_NEW_USERS, _NEW_NETWORK = 0x10000000, 0x40000000
"""``CLONE_NEWUSER`` and ``CLONE_NEWNET`` of unshare(2)."""


class Refused(Exception):
    """The file is not read, for the reason in the message."""


def main(arguments: Sequence[str]) -> int:
    """Convert all pairs and return the exit code."""
    pairs = [(Path(source), Path(target)) for source, target in json.loads(arguments[0])]
    leave_network()
    import safetensors.torch  # noqa: F401
    import torch  # noqa: F401

    sys.dont_write_bytecode = True
    deny_side_effects()
    sizes = []
    for source, target in pairs:
        try:
            sizes.append(write(read(source), target))
        except Refused as error:
            sys.stderr.write(f"{source.name} {error}\n")
            return REFUSED
    sys.stdout.write(json.dumps(sizes) + "\n")
    return 0


def leave_network() -> None:
    """Give the process a network of its own, without connections, where the system lets it."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):  # Linux only; deny_side_effects refuses connections anywhere.
        library = ctypes.CDLL(None)
        _ = library.unshare(_NEW_NETWORK) and library.unshare(_NEW_USERS | _NEW_NETWORK)


def deny_side_effects() -> None:
    """Let every attempt of Python code to connect, to start a process or to change a file raise ``Refused``."""

    def refuse(event: str, values: tuple[Any, ...]) -> None:
        writes = event == "open" and bool(int(values[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if writes or event.startswith(_DENIED):
            raise Refused(f"tries {event} when it is read; nothing was done")

    sys.addaudithook(refuse)


def read(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors by name. Raises ``Refused`` for a file with anything else in it."""
    import pickle

    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise Refused(f"is more than weights, and is not read: {_cause(error)}") from None
    except (RuntimeError, ValueError, EOFError, OSError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise Refused(f"is damaged, or no file of weights: {_cause(error)}") from None
    if not isinstance(content, dict) or not content:
        raise Refused(f"holds {type(content).__name__}, not tensors by name")
    strange = [key for key, value in content.items() if not (isinstance(key, str) and isinstance(value, torch.Tensor))]
    if strange:
        raise Refused(f"holds {type(content[strange[0]]).__name__} under {strange[0]!r:.60}, not a tensor")
    for name, tensor in content.items():
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise Refused(f"holds a tensor of a special kind under {name!r:.60}")
        if tensor.nbytes > path.stat().st_size:
            raise Refused(f"announces {tensor.nbytes:,} bytes under {name!r:.60}, more than it has")
    return content


def write(tensors: dict[str, torch.Tensor], path: Path) -> dict[str, int]:
    """Write the tensors and return their sizes in bytes by name; what several names share is written for each."""
    from safetensors.torch import save_file

    seen: set[int] = set()
    own = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        own[name] = tensor.contiguous().clone() if storage in seen else tensor.contiguous()
        seen.add(storage)
    save_file(own, path, metadata={"format": "pt"})
    return {name: tensor.nbytes for name, tensor in own.items()}


def _cause(error: Exception) -> str:
    """Return the problem that torch's message names, in a line."""
    text = str(error)
    if asked := re.search(r"GLOBAL (\S+)", text):
        return f"it asks for {asked[1]}"
    problem = text.partition("WeightsUnpickler error:")[2].strip() or text.strip() or type(error).__name__
    return problem.splitlines()[0][:200]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
