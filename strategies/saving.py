"""Save and load candidates: safetensors, JSON and the tokenizer's files; no pickle, verified by sha256 on load.

``config.json`` and ``model.safetensors`` follow Hugging Face as long as the configuration describes the architecture,
so ``from_pretrained`` opens the folder without autoopt. Otherwise (quantized tensors, say) the weights are in
``autoopt.safetensors``, so that ``from_pretrained`` fails instead of initializing missing weights at random, and
``autoopt.json`` holds the edits that are replayed on load.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.strategies.candidate import Candidate, TaskView
from autoopt.strategies.casting import cast_weights
from autoopt.strategies.catalog import find
from autoopt.strategies.errors import CorruptArtefact, ModelError
from autoopt.strategies.networks.decoders.generic_heads import model_class
from autoopt.strategies.stand_ins.contract import TextModel, architecture_of
from autoopt.strategies.system.files import whole_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FORMAT = 1
PLAIN_WEIGHTS = "model.safetensors"
EDITED_WEIGHTS = "autoopt.safetensors"
DESCRIPTION = "autoopt.json"
MANIFEST = "manifest.json"


def save(candidate: Candidate, folder: Path, *, notes: Mapping[str, Any] | None = None) -> None:
    """Write the candidate's model, tokenizer, task, edits and history into ``folder``, atomically.

    An existing folder is replaced. ``notes`` is JSON to store with the model, such as its recipe. Training data are
    not saved.
    """
    with whole_folder(folder) as work:
        _write_model(candidate, work)
        candidate.tokenizer.save_pretrained(work)
        description = {
            "format": FORMAT,
            "task": candidate.task.to_json(),
            "edits": [dict(edit) for edit in candidate.edits],
            "history": list(candidate.history),
            "notes": dict(notes or {}),
        }
        (work / DESCRIPTION).write_text(json.dumps(description, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        digests = {path.name: _digest(path) for path in sorted(work.iterdir())}
        (work / MANIFEST).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")


def load(folder: Path, *, open_task: Callable[[Mapping[str, Any]], TaskView]) -> Candidate:
    """Load what ``save`` wrote; on the same machine it returns the same logits, bit for bit.

    Raises ``ModelError`` if ``folder`` holds no saved candidate, ``CorruptArtefact`` if a file differs from what was
    written.
    """
    from transformers import AutoTokenizer

    model, edits, history = load_weights(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    task = open_task(describe(folder)["task"])
    return Candidate(model=model, tokenizer=tokenizer, task=task, edits=edits, history=history)


def load_weights(folder: Path) -> tuple[PreTrainedModel, tuple[Mapping[str, Any], ...], tuple[str, ...]]:
    """Return the model, its edits and its history, without tokenizer and task."""
    verify(folder)
    description = describe(folder)
    return _read_model(folder, description["edits"]), tuple(description["edits"]), tuple(description["history"])


def describe(folder: Path) -> dict[str, Any]:
    """Return ``autoopt.json``: ``task``, ``edits``, ``history``, ``notes``."""
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ModelError(f"{folder} holds no saved candidate: it has no {DESCRIPTION}")
    description: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if description.get("format") != FORMAT:
        raise ModelError(f"{path} has format {description.get('format')!r}; this version reads format {FORMAT}")
    return description


def verify(folder: Path) -> None:
    """Check every file of a saved candidate against its manifest. Raises ``CorruptArtefact`` if one differs."""
    path = folder / MANIFEST
    if not path.is_file():
        raise ModelError(f"{folder} holds no saved candidate: it has no {MANIFEST}")
    try:
        digests = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptArtefact(f"{path} is no JSON: {error}") from error
    names = {item.name for item in folder.iterdir()} - {MANIFEST}
    if names != set(digests):
        differing = ", ".join(sorted(names ^ set(digests)))
        raise CorruptArtefact(f"the files of {folder} are not those of its {MANIFEST}: {differing}")
    for name, digest in digests.items():
        if _digest(folder / name) != digest:
            raise CorruptArtefact(f"{folder / name} is not what was written: its sha256 differs from {MANIFEST}")


def size_bytes(folder: Path) -> int:
    """Return the bytes of all files of a saved candidate."""
    return sum(path.stat().st_size for path in folder.iterdir())


def _write_model(candidate: Candidate, folder: Path) -> None:
    from safetensors.torch import save_file

    model = candidate.model
    config = model.config.to_dict()
    config["architectures"] = [architecture_of(model)]
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    tensors, seen = {}, set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() in seen and tensor.numel() > 0:
            continue  # A tied weight is stored once; tie_weights() restores the other name.
        seen.add(tensor.data_ptr())
        tensors[name] = tensor.detach().cpu().contiguous()
    save_file(tensors, folder / (EDITED_WEIGHTS if candidate.edits else PLAIN_WEIGHTS), metadata={"format": "pt"})


def _read_model(folder: Path, edits: list[Mapping[str, Any]]) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from transformers.initialization import no_init_weights

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if "auto_map" in config:
        raise ModelError(
            f"{folder / 'config.json'} has the key 'auto_map', which runs code from the folder; it is refused"
        )
    architecture = (config.get("architectures") or ["none"])[0]
    network_class = model_class(str(config.get("model_type")), architecture)
    if network_class is None:
        raise ModelError(
            f"{folder / 'config.json'} names the architecture '{architecture}', which is not in transformers"
        )
    with no_init_weights():
        model: Any = network_class(network_class.config_class.from_dict(config))
    for edit in edits:
        model = find(edit["strategy"]).reshape(model, edit)
    if model.config.dtype is not None and not isinstance(model, TextModel):
        cast_weights(model, model.config.dtype)
    path = folder / (EDITED_WEIGHTS if edits else PLAIN_WEIGHTS)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CorruptArtefact(f"{path} cannot be read: {error}") from error
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    tied = set(model.all_tied_weights_keys) | _shared(model, tensors)
    if unexpected or set(missing) - tied:
        raise CorruptArtefact(f"{path} lacks {sorted(set(missing) - tied)} and has unknown {sorted(unexpected)}")
    model.tie_weights()
    return model.eval()


def _shared(model: Any, loaded: Iterable[str]) -> set[str]:
    """Return all names of the loaded tensors, those of shared modules included."""
    tensors = model.state_dict()
    filled = {tensors[name].data_ptr() for name in loaded if name in tensors}
    return {name for name, tensor in tensors.items() if tensor.data_ptr() in filled}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
