"""Export a saved classifier as a folder that sentence-transformers opens: Transformer, Pooling, Dense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autoopt.strategies.errors import ModelError
from autoopt.strategies.networks.pooling import STRATEGY as POOLING
from autoopt.strategies.networks.pooling import normalizes, pooling_of
from autoopt.strategies.saving import describe, load_weights
from autoopt.strategies.system.files import whole_folder

_PACKAGE = "sentence_transformers.models"
"""Where releases from 2.0 on look for the classes of ``modules.json``."""
_PROMPT = "classification"
_MODES = {"first": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "last": "lasttoken"}
"""The end of the key of each pooling in the configuration of ``Pooling``."""


def export_sentence_transformer(saved: Path, folder: Path) -> None:
    """Write the model in ``saved`` to ``folder``, from where ``SentenceTransformer(folder).encode`` returns its logits.

    An existing folder is replaced. The classes are in ``config.json`` (``id2label``), in the order of the logits.
    Raises ``ModelError`` if the model does not consist of the parts that sentence-transformers has.
    """
    description = describe(saved)
    if others := sorted({edit["strategy"] for edit in description["edits"]} - {POOLING}):
        raise ModelError(f"{saved} was changed by {', '.join(others)}, which sentence-transformers cannot run")
    model: Any = load_weights(saved)[0]
    if pooling_of(model) is None:
        raise ModelError(
            f"{saved} has the head of {type(model).__name__}, which transformers opens as it is: "
            "AutoModelForSequenceClassification.from_pretrained"
        )
    with whole_folder(folder) as work:
        _write_encoder(model, work, saved, max_length=description["task"]["max_length"])
        if prompt := description["task"].get("prompt"):
            prompts = {"prompts": {_PROMPT: prompt}, "default_prompt_name": _PROMPT}
            _write_json(work / "config_sentence_transformers.json", prompts)
        paths = {"Transformer": "", "Pooling": "1_Pooling"}
        _write_json(work / "1_Pooling" / "config.json", _pooling_config(model))
        if normalizes(model):
            paths["Normalize"] = "2_Normalize"
            (work / "2_Normalize").mkdir()
        paths["Dense"] = f"{len(paths)}_Dense"
        _write_head(model, work / paths["Dense"])
        modules = [
            {"idx": number, "name": str(number), "path": path, "type": f"{_PACKAGE}.{name}"}
            for number, (name, path) in enumerate(paths.items())
        ]
        _write_json(work / "modules.json", modules)


def _write_encoder(model: Any, folder: Path, saved: Path, *, max_length: int) -> None:
    from safetensors.torch import save_file
    from transformers import AutoTokenizer

    # Not save_pretrained, which shows a progress bar.
    body = model.base_model
    _write_json(folder / "config.json", {**model.config.to_dict(), "architectures": [type(body).__name__]})
    tensors = {name: tensor.contiguous() for name, tensor in body.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    AutoTokenizer.from_pretrained(saved, local_files_only=True, trust_remote_code=False).save_pretrained(folder)
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})


def _pooling_config(model: Any) -> dict[str, Any]:
    modes = {f"pooling_mode_{end}": how == pooling_of(model) for how, end in _MODES.items()}
    return {"word_embedding_dimension": model.config.hidden_size, **modes}


def _write_head(model: Any, folder: Path) -> None:
    from safetensors.torch import save_file

    weight, bias = model.classifier.weight.detach(), model.classifier.bias.detach()
    classes, width = weight.shape
    if normalizes(model):
        weight = weight * width**0.5  # Vectors have the length sqrt(width) here, and 1 there.
    config = {
        "in_features": width,
        "out_features": classes,
        "bias": True,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    _write_json(folder / "config.json", config)
    save_file({"linear.weight": weight.contiguous(), "linear.bias": bias}, folder / "model.safetensors")


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
