"""A saved candidate: the same bits come back, or an error that says what is wrong."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertForMaskedLM, BertTokenizer

from autoopt.objectives.tasks import open_task
from autoopt.strategies import saving
from autoopt.strategies.acceleration.int8_dynamic import Int8Dynamic
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.compression.ffn_pruning import FFNPruning
from autoopt.strategies.compression.layer_drop import LayerDrop
from autoopt.strategies.errors import CorruptArtefact, ModelError
from tests import tiny, zoo


def load(folder: Path) -> Candidate:
    return saving.load(folder, open_task=open_task)


def everything(given: Candidate) -> Candidate:
    """The candidate cut twice and quantized."""
    for strategy in (LayerDrop(), FFNPruning(), Int8Dynamic()):
        given = strategy.apply(given, effort=1, seed=0)
    return given


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    saving.save(tiny.candidate(layers=2), tmp_path / "saved")
    return tmp_path / "saved"


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    saving.save(everything(tiny.candidate(layers=2)), tmp_path / "edited")
    return tmp_path / "edited"


@pytest.mark.parametrize("change", [lambda given: given, everything], ids=["plain", "cut and quantized"])
@pytest.mark.parametrize("kind", zoo.LISTED)
def test_every_architecture_comes_back_bit_for_bit(
    kind: str, change: Callable[[Candidate], Candidate], tmp_path: Path
) -> None:
    given = change(tiny.candidate(kind, layers=2))
    saving.save(given, tmp_path / "saved")
    loaded = load(tmp_path / "saved")
    assert torch.equal(tiny.logits(loaded), tiny.logits(given))
    assert tiny.digest(loaded.model) == tiny.digest(given.model)
    assert (loaded.edits, loaded.history, loaded.task) == (given.edits, given.history, given.task)


def test_a_tied_weight_is_stored_once_and_tied_again(tmp_path: Path) -> None:
    given = tiny.candidate(layers=1)
    model: Any = BertForMaskedLM(given.model.config).eval()  # type: ignore[no-untyped-call,arg-type]
    saving.save(replace(given, model=model), tmp_path / "saved")
    loaded: Any = load(tmp_path / "saved").model
    assert loaded.cls.predictions.decoder.weight is loaded.bert.embeddings.word_embeddings.weight
    assert torch.equal(loaded.bert.embeddings.word_embeddings.weight, model.bert.embeddings.word_embeddings.weight)
    assert torch.equal(loaded.cls.predictions.decoder.bias, model.cls.predictions.decoder.bias)


def test_a_loaded_candidate_can_be_saved_and_loaded_again(edited: Path, tmp_path: Path) -> None:
    saving.save(load(edited), tmp_path / "again")
    assert tiny.digest(load(tmp_path / "again").model) == tiny.digest(load(edited).model)


def test_the_notes_go_with_the_model(tmp_path: Path) -> None:
    saving.save(tiny.candidate(layers=1), tmp_path / "saved", notes={"recipe": ["lora"]})
    assert saving.describe(tmp_path / "saved")["notes"] == {"recipe": ["lora"]}


def test_the_size_is_that_of_all_files(plain: Path) -> None:
    assert saving.size_bytes(plain) == sum(len(path.read_bytes()) for path in plain.iterdir())


def test_a_flipped_bit_in_any_file_is_found(edited: Path) -> None:
    for path in sorted(set(edited.iterdir()) - {edited / "manifest.json"}):
        content = path.read_bytes()
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        with pytest.raises(CorruptArtefact, match=re.escape(f"{path.name} is not what was written")):
            load(edited)
        path.write_bytes(content)
    load(edited)


def test_a_truncated_file_is_found(plain: Path) -> None:
    weights = plain / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CorruptArtefact, match=r"model\.safetensors is not what was written"):
        load(plain)


def test_a_missing_file_is_named(plain: Path) -> None:
    (plain / "model.safetensors").unlink()
    with pytest.raises(CorruptArtefact, match=r"not those of its manifest\.json: model\.safetensors"):
        load(plain)


def test_an_extra_file_is_named(plain: Path) -> None:
    (plain / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(CorruptArtefact, match=r"not those of its manifest\.json: pytorch_model\.bin"):
        load(plain)


def test_a_manifest_that_is_cut_off_is_found(plain: Path) -> None:
    manifest = plain / "manifest.json"
    manifest.write_text(manifest.read_text()[:-5])
    with pytest.raises(CorruptArtefact, match=r"manifest\.json is no JSON"):
        load(plain)


def test_a_folder_without_a_saved_candidate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no saved candidate: it has no manifest\.json"):
        load(tmp_path)


def rewrite(path: Path, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    """Change a JSON file of a saved candidate, and its digest with it, as someone with bad intent would."""
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    manifest = path.parent / "manifest.json"
    digests = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**digests, path.name: hashlib.sha256(path.read_bytes()).hexdigest()}))


def test_a_configuration_that_would_run_foreign_code_is_refused(plain: Path) -> None:
    rewrite(plain / "config.json", lambda config: {**config, "auto_map": {"AutoModel": "theirs.Model"}})
    with pytest.raises(ModelError, match="auto_map"):
        load(plain)


@pytest.mark.parametrize("architecture", ["pipeline", "TheirModel", "BertConfig"])
def test_an_architecture_that_is_no_model_of_transformers_is_refused(plain: Path, architecture: str) -> None:
    rewrite(plain / "config.json", lambda config: {**config, "architectures": [architecture]})
    with pytest.raises(ModelError, match=f"'{architecture}', which is not in transformers"):
        load(plain)


def test_weights_that_do_not_belong_to_the_configuration_are_refused(plain: Path) -> None:
    rewrite(plain / "config.json", lambda config: {**config, "num_hidden_layers": 3})
    with pytest.raises(CorruptArtefact, match=r"lacks .*encoder\.layer\.2"):
        load(plain)


def test_a_folder_of_a_later_format_is_refused(plain: Path) -> None:
    rewrite(plain / "autoopt.json", lambda description: {**description, "format": 2})
    with pytest.raises(ModelError, match="has format 2; this version reads format 1"):
        load(plain)


def test_plain_weights_open_without_autoopt(plain: Path) -> None:
    loaded = load(plain)
    model = AutoModelForSequenceClassification.from_pretrained(plain)
    assert torch.equal(tiny.logits(loaded, model), tiny.logits(loaded))


def test_edited_weights_are_kept_where_transformers_finds_none(edited: Path) -> None:
    assert (edited / "autoopt.safetensors").is_file()
    with pytest.raises(OSError, match=r"no file named model\.safetensors"):
        AutoModelForSequenceClassification.from_pretrained(edited)


def test_nothing_that_is_saved_is_a_pickle(edited: Path) -> None:
    assert {path.suffix for path in edited.iterdir()} <= {".safetensors", ".json", ".txt"}
    starts = [path.read_bytes()[:2] for path in edited.iterdir()]
    assert not any(start[:1] == b"\x80" or start == b"PK" for start in starts)


class Interrupted(BertTokenizer):
    """Ctrl-C falls after the model was written."""

    def save_pretrained(self, *_: Any, **__: Any) -> tuple[str, ...]:
        raise KeyboardInterrupt("while saving")


def test_an_interrupted_save_leaves_nothing(tmp_path: Path) -> None:
    given = replace(tiny.candidate(layers=1), tokenizer=Interrupted(dict.fromkeys(tiny.VOCABULARY[:5], 0)))
    with pytest.raises(KeyboardInterrupt, match="while saving"):
        saving.save(given, tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_fails_leaves_what_was_there(plain: Path) -> None:
    before = tiny.digest(load(plain).model)
    with pytest.raises(TypeError, match="not JSON serializable"):
        saving.save(tiny.candidate(layers=1), plain, notes={"no JSON": object()})
    assert tiny.digest(load(plain).model) == before
    assert list(plain.parent.iterdir()) == [plain]


def test_a_save_replaces_what_was_there(plain: Path) -> None:
    saving.save(everything(tiny.candidate(layers=2)), plain)
    assert load(plain).edits
    assert not (plain / "model.safetensors").exists()


def test_a_saved_model_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        saving.save(tiny.candidate(), tmp_path / "model")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "model").iterdir()}
    assert set(modes.values()) == {0o644}, modes
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o755
