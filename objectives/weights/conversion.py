"""Conversion of pickled weights to safetensors, in a process of its own that can do nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from autoopt.objectives.models.json_file import check_no_pointer
from autoopt.objectives.models.model_folder import (
    PICKLE_SUFFIXES,
    PICKLED_INDEX,
    PICKLED_WEIGHTS,
    WEIGHTS,
    WEIGHTS_INDEX,
    check_links,
    shards_of,
)
from autoopt.objectives.models.safetensors_header import read_header
from autoopt.objectives.weights.pickle_process import REFUSED
from autoopt.strategies.errors import EnvironmentProblem, ModelError, UsageError
from autoopt.strategies.system.files import whole_file, whole_folder, write_whole
from autoopt.strategies.system.processes import last_line

TIMEOUT_S = 3600.0
_KEPT_VARIABLES = ("PATH", "PYTHONPATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
"""Environment variables of the process; others may hold secrets."""


@dataclass(frozen=True)
class Conversion:
    """What was written."""

    folder: Path
    files: tuple[str, ...]
    tensors: int
    size: int
    """Bytes of all tensors."""


def convert(folder: Path, output: Path | None = None) -> Conversion:
    """Write the pickled weights of a model's folder as safetensors.

    They are put beside its other files, or with a copy of these into ``output``, a new folder. Nothing is overwritten.
    Raises ``UsageError`` where that would be necessary, ``ModelError`` for a folder or a file of weights that is not
    read, and ``EnvironmentProblem`` if the process fails.
    """
    sources = _pickled_files(folder)
    if output is None:
        if not os.access(folder, os.W_OK):
            raise UsageError(f"{folder} cannot be written to; give a new folder with --output")
        return _write(sources, folder)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} is not empty; give a folder that does not exist yet")
    with whole_folder(output) as work:
        for path in sorted(folder.iterdir()):
            if path.is_file() and path.suffix not in PICKLE_SUFFIXES and path.name != PICKLED_INDEX:
                shutil.copyfile(path, work / path.name)
        written = _write(sources, work)
    return Conversion(output, written.files, written.tensors, written.size)


def _pickled_files(folder: Path) -> list[Path]:
    """Return the files of pickled weights. Raises ``ModelError`` and ``UsageError`` if there is nothing to convert."""
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} is no model folder: it has no config.json; give the folder that has it")
    check_links(folder)
    for name in (WEIGHTS, WEIGHTS_INDEX):
        if (folder / name).exists():
            raise UsageError(f"{folder} has its weights as {name} already; it can be used as it is")
    if (folder / PICKLED_WEIGHTS).is_file():
        files = [folder / PICKLED_WEIGHTS]
    elif (folder / PICKLED_INDEX).is_file():
        files = shards_of(folder / PICKLED_INDEX)
    else:
        held = ", ".join(sorted(path.name for path in folder.iterdir())[:10])
        raise ModelError(
            f"{folder} has no weights to convert; looked for {PICKLED_WEIGHTS} and {PICKLED_INDEX}, and it holds {held}"
        )
    for file in files:
        check_no_pointer(file)
    return files


def _write(sources: Sequence[Path], folder: Path) -> Conversion:
    """Convert the files into ``folder``; their index, if there are several, is written last."""
    count = len(sources)
    names = [WEIGHTS] if count == 1 else [f"model-{n:05}-of-{count:05}.safetensors" for n in range(1, count + 1)]
    with ExitStack() as stack:
        targets = [stack.enter_context(whole_file(folder / name)) for name in names]
        sizes = _run_process(list(zip(sources, targets, strict=True)))
        for target in targets:
            read_header(target)
    total = sum(sum(of_file.values()) for of_file in sizes)
    if count > 1:
        places = {tensor: name for name, of_file in zip(names, sizes, strict=True) for tensor in of_file}
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
        write_whole(folder / WEIGHTS_INDEX, json.dumps(index, indent=1) + "\n")
    return Conversion(folder, tuple(names), sum(map(len, sizes)), total)


def _run_process(pairs: Sequence[tuple[Path, Path]]) -> list[Mapping[str, int]]:
    """Return the sizes of the tensors of each file."""
    arguments = json.dumps([[str(source.absolute()), str(target.absolute())] for source, target in pairs])
    command = [sys.executable, "-m", "autoopt.objectives.weights.pickle_process", arguments]
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    try:
        process = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentProblem(f"converting {pairs[0][0].parent} did not finish within {TIMEOUT_S:.0f} s") from None
    if process.returncode == REFUSED:
        raise ModelError(
            f"{pairs[0][0].parent}: {last_line(process.stderr)}; nothing was written: get the model as safetensors"
        )
    if process.returncode != 0:
        raise EnvironmentProblem(
            f"the process that converts {pairs[0][0].parent} exited with {process.returncode}: "
            f"{last_line(process.stderr)}"
        )
    sizes: list[Mapping[str, int]] = json.loads(last_line(process.stdout))
    return sizes
