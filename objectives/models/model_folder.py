"""Location and checks of a model: its files are complete, supported and run no code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from autoopt.objectives.models import gguf_file, known_architectures, packages, sentence_modules, tokenizer_files
from autoopt.objectives.models.config_numbers import check_numbers
from autoopt.objectives.models.hub import connection_errors, first_line
from autoopt.objectives.models.json_file import read_json
from autoopt.objectives.models.safetensors_header import StoredTensor, read_header
from autoopt.strategies.errors import EnvironmentProblem, ModelError, did_you_mean
from autoopt.strategies.networks.pooling import STRATEGY as POOLING
from autoopt.strategies.saving import DESCRIPTION, EDITED_WEIGHTS

WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
PICKLED_WEIGHTS = "pytorch_model.bin"
PICKLED_INDEX = "pytorch_model.bin.index.json"
OTHER_FILES = ("merges.txt", "chat_template.jinja")
PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack"})
ATTENTION = frozenset({"eager", "sdpa"})

_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


class Body(StrEnum):
    """What a task's head stands on."""

    ANY = "any"
    """An encoder or a decoder."""
    DECODER = "decoder"

    @property
    def example(self) -> str:
        """One of this kind, in words."""
        return "an encoder such as bert or a decoder such as llama" if self is Body.ANY else "a decoder such as llama"


_AUTO_CLASSES = {Body.ANY: "AutoModelForSequenceClassification", Body.DECODER: "AutoModelForCausalLM"}
_OF_ENCODER_ALONE = frozenset({"AutoModelForSequenceClassification", "AutoModelForTokenClassification"})
"""Heads that stand on the encoder of a model such as T5, without its decoder."""


@dataclass(frozen=True)
class ModelFolder:
    """A model that passed all checks and may be opened."""

    path: Path
    """A folder, or a GGUF file."""
    name: str
    """As it was given."""
    config: Mapping[str, Any]
    weights: tuple[Path, ...] = ()
    """Files of safetensors."""

    @property
    def is_pooled(self) -> bool:
        """Whether it is a saved candidate of which ``config.json`` does not describe the pooling, but all else."""
        return (self.path / EDITED_WEIGHTS).is_file()

    @property
    def decodes(self) -> bool:
        """Whether each token sees those before it only."""
        return self.config.get("model_type") in known_architectures.decoders()


def find_model(name: str, *, body: Body = Body.ANY, auto_class: str = "", task: str = "this task") -> ModelFolder:
    """Return the model at a folder, a GGUF file, ``package://name/path``, or a name on the Hub, which is downloaded.

    ``auto_class`` is the class of transformers that will open it, by default that of classifiers or of decoders.
    ``task`` names what needs it in messages. Reads JSON and the header of the weights, without importing
    torch. Raises ``ModelError``, and ``EnvironmentProblem`` if the Hub cannot be reached.
    """
    path = _folder(name)
    auto_class = auto_class or _AUTO_CLASSES[body]
    if path.suffix == gguf_file.SUFFIX:
        config: Mapping[str, Any] = {"model_type": gguf_file.architecture(path)}
        _check_architecture(path, config, name, body, auto_class, task)
        return ModelFolder(path, name, config)
    config = read_json(path / "config.json")
    _check_config(path / "config.json", config)
    _check_architecture(path / "config.json", config, name, body, auto_class, task)
    _check_other_files(path)
    files = tuple(_weight_files(path))
    tensors: dict[str, StoredTensor] = {}
    for file in files:
        tensors |= read_header(file)
    check_numbers(path / "config.json", config, tensors)
    return ModelFolder(path, name, config, files)


def _folder(name: str) -> Path:
    if name.startswith(packages.PREFIX):
        path = packages.locate(name, error=ModelError)
    else:
        path = Path(name).expanduser()
        if not path.exists() and _HUB_NAME.fullmatch(name):
            return _download(name)
    if path.is_file() and path.suffix == gguf_file.SUFFIX:
        return path
    if path.is_file():
        raise ModelError(f"{path} is a file; a model is a folder with config.json, {WEIGHTS} and a tokenizer")
    if not path.is_dir():
        near = did_you_mean(path.name, [item.name for item in path.parent.iterdir()]) if path.parent.is_dir() else ""
        raise ModelError(
            f"there is no model folder {path}{near}; give a folder, package://NAME/PATH or a name on the Hub"
        )
    if not (path / "config.json").is_file():
        held = ", ".join(sorted(item.name for item in path.iterdir())[:10]) or "nothing"
        raise ModelError(
            f"{path} is no model: it holds {held}; looked for config.json, {WEIGHTS} and a tokenizer such as "
            f"{tokenizer_files.NAMES[0]}; give the folder that has them"
        )
    return path


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    patterns = ["config.json", WEIGHTS, WEIGHTS_INDEX, "model-*.safetensors", "tokenizer*", "special_tokens_map.json"]
    try:
        return Path(
            snapshot_download(
                name, allow_patterns=[*patterns, *tokenizer_files.NAMES, *OTHER_FILES, *sentence_modules.FILES]
            )
        )
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelError(
            f"there is no folder '{name}', and no model of this name on the Hub: {first_line(error)}; "
            "give a folder, package://NAME/PATH or another name"
        ) from None
    except connection_errors() as error:
        raise EnvironmentProblem(
            f"there is no folder '{name}', and the Hub cannot be reached for a model of this name "
            f"({first_line(error)}); check the path or the network"
        ) from None


def _check_config(path: Path, config: Mapping[str, Any]) -> None:
    for key in ("auto_map", "custom_pipelines"):
        if key in config:
            raise ModelError(
                f"{path} has '{key}': it asks for code of its own, which is never run; choose another model"
            )
    for key, value in config.items():
        if key.startswith(("_attn_implementation", "attn_implementation")) and value not in (None, *ATTENTION):
            raise ModelError(f"{path} has {key}: {value!r}; allowed are {', '.join(sorted(ATTENTION))}: remove it")
    if config.get("quantization_config"):
        raise ModelError(f"{path} is of a quantized model; give the model that it was made from: autoopt quantizes it")


def _check_architecture(
    path: Path, config: Mapping[str, Any], name: str, body: Body, auto_class: str, task: str
) -> None:
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise ModelError(f"{path} has no 'model_type'; give a model that transformers opens, {body.example}")
    decodes = model_type in known_architectures.decoders()
    has_encoder_alone = model_type in known_architectures.lone_encoders() and auto_class in _OF_ENCODER_ALONE
    if model_type in known_architectures.text_to_text() and not has_encoder_alone:
        raise ModelError(f"'{name}' is an encoder with a decoder ({model_type}); {task} needs {body.example}")
    # Any decoder can have the heads of transformers, see strategies/networks/decoders/generic_heads.py.
    if not decodes and model_type not in known_architectures.architectures(auto_class):
        raise ModelError(
            f"{path} has the architecture '{model_type}', which the installed transformers does not open with "
            f"{auto_class}; give another model, {body.example}, or update transformers"
        )
    if body is Body.DECODER and not decodes:
        raise ModelError(
            f"'{name}' is an encoder ({model_type}); {task} needs {body.example}: choose another model, or another task"
        )


def _check_other_files(path: Path) -> None:
    names = {item.name for item in path.iterdir()}
    if "adapter_config.json" in names:
        raise ModelError(f"{path} holds an adapter (adapter_config.json); merge it into its model and save that")
    tokenizer_files.check(path)
    if "tokenizer_config.json" in names and "auto_map" in read_json(path / "tokenizer_config.json"):
        raise ModelError(
            f"{path / 'tokenizer_config.json'} has 'auto_map': it asks for code of its own, which is never run"
        )
    check_links(path)


def check_links(path: Path) -> None:
    """Raise ``ModelError`` for a link that leads out of the folder."""
    # The cache of the Hub has links from snapshots/<commit>/ into blobs/ beside it.
    root = path.resolve()
    root = root.parents[1] if root.parent.name == "snapshots" else root
    for item in path.iterdir():
        if item.is_symlink() and not item.resolve().is_relative_to(root):
            raise ModelError(f"{item} is a link that leads out of the model's folder; put the file itself there")


def _weight_files(path: Path) -> Iterator[Path]:
    if (path / EDITED_WEIGHTS).is_file() and (path / DESCRIPTION).is_file():
        _check_edits(path)
        yield path / EDITED_WEIGHTS
        return
    if (path / WEIGHTS).is_file():
        yield path / WEIGHTS
        return
    if (path / WEIGHTS_INDEX).is_file():
        yield from shards_of(path / WEIGHTS_INDEX)
        return
    raise ModelError(f"{path} has no weights; looked for {WEIGHTS} and {WEIGHTS_INDEX}{_remedy(path)}")


def shards_of(index: Path) -> list[Path]:
    """Return the files that an index names. Raises ``ModelError`` for one that is missing, or not beside it."""
    shards = read_json(index).get("weight_map")
    names = sorted({str(name) for name in shards.values()}) if isinstance(shards, dict) else []
    if not names:
        raise ModelError(f"{index} names no files of weights; download the model again")
    for name in names:
        if Path(name).name != name or not (index.parent / name).is_file():
            raise ModelError(
                f"{index.parent} lacks the weights '{name}' that its {index.name} names; download them again"
            )
    return [index.parent / name for name in names]


def _remedy(path: Path) -> str:
    """Return what to do about a folder without safetensors."""
    others = sorted(item.name for item in path.iterdir() if item.suffix in PICKLE_SUFFIXES)
    convertible = path / PICKLED_WEIGHTS, path / PICKLED_INDEX
    if any(item.is_file() for item in convertible):
        held = next(item.name for item in convertible if item.is_file())
        return f". It has {held}, a format that can run code when it is read: run 'autoopt convert {path}'"
    if others:
        return f". It has {', '.join(others)}, formats that are not read: give the model as safetensors"
    if path.parent.name == "snapshots":
        return (
            f", and the Hub has neither; if it has {PICKLED_WEIGHTS}, run 'hf download NAME --local-dir FOLDER' and "
            "'autoopt convert FOLDER'"
        )
    return "; download the model again"


def _check_edits(path: Path) -> None:
    """Raise ``ModelError`` for a saved candidate whose architecture is no longer that of its ``config.json``."""
    edits = read_json(path / DESCRIPTION).get("edits")
    names = {str(edit.get("strategy")) for edit in edits if isinstance(edit, dict)} if isinstance(edits, list) else {""}
    if changed := names - {POOLING}:
        raise ModelError(
            f"{path} was saved after {', '.join(sorted(changed))}, and cannot be trained from there; give the model "
            "that it was made from"
        )
