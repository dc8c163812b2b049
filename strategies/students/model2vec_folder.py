"""Write static embeddings as a folder that model2vec opens."""

from __future__ import annotations

import json
from pathlib import Path

from autoopt.strategies.errors import ModelError
from autoopt.strategies.saving import EDITED_WEIGHTS, describe, verify
from autoopt.strategies.students.arrays import unpacked
from autoopt.strategies.system.files import whole_folder

KIND = "static_embeddings"
HEAD = "head.safetensors"


def is_static(saved: Path) -> bool:
    """Return whether a saved candidate consists of static embeddings."""
    edits = describe(saved)["edits"]
    return bool(edits) and edits[-1]["strategy"] == KIND


def export_model2vec(saved: Path, folder: Path) -> None:
    """Write the embeddings in ``saved`` to ``folder``, from where ``StaticModel.from_pretrained(folder)`` opens them.

    ``encode`` returns the vectors that the head reads; weights and biases of its layers are in ``head.safetensors``,
    and the classes in ``config.json``. An existing folder is replaced. Raises ``ModelError`` if pairs of tokens have
    vectors too, which model2vec does not know.
    """
    import numpy as np
    from safetensors.numpy import load_file, save_file

    verify(saved)
    description = describe(saved)
    settings = description["edits"][-1]["settings"]
    arrays = load_file(saved / EDITED_WEIGHTS)
    if "bigrams" in arrays:
        raise ModelError(f"{saved} has vectors for pairs of tokens, which model2vec does not know")
    content = unpacked(arrays.pop("tokenizer"))
    vectors = arrays.pop("vectors").astype(np.float32)
    tensors = {"embeddings": vectors}
    tokens = len(json.loads(content)["model"]["vocab"])
    if tokens != len(vectors):
        tensors["mapping"] = np.arange(len(vectors))
    config = {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "hidden_dim": vectors.shape[1],
        "max_length": settings["max_length"],
        "normalize": False,
        "labels": description["task"]["labels"],
    }
    with whole_folder(folder) as work:
        (work / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        (work / "tokenizer.json").write_text(content, encoding="utf-8")
        save_file(tensors, work / "model.safetensors")
        save_file(arrays, work / HEAD)
