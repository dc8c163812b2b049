"""Tokenizers as they come: sentencepiece files alone, without padding, with added tokens, with types of segments."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from autoopt.objectives.models.model_folder import find_model
from autoopt.objectives.models.tokenizers import has_mask_token, open_tokenizer, tokenizer_warnings
from autoopt.objectives.tasks import open_task
from autoopt.objectives.tasks.causal_lm.task import CausalLM
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.strategies import saving
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.errors import EnvironmentProblem, ModelError
from tests import tiny, tiny_decoder

TASK = TextClassification(labels=("a", "b"), max_length=16)
TEXTS = ["Chelsea won the cup", "shares fell sharply today and", "the"]


def train(path: Path, **settings: Any) -> Any:
    """Train sentencepiece on a few sentences; write ``path`` and return what reads it."""
    sentencepiece = pytest.importorskip("sentencepiece", reason="pip install 'autoopt[sentencepiece]'")
    lines = [example.text for example in tiny.examples(60)] + TEXTS + list(tiny_decoder.CORPUS)
    given = {"vocab_size": 90, "hard_vocab_limit": False, "minloglevel": 3, "pad_id": -1, **settings}
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=file, **given)
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def write_model(folder: Path, kind: str, *, vocabulary: int, decoder: bool = False, **settings: Any) -> Path:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    more = {"max_position_embeddings": 40, "initializer_range": 0.3, "vocab_size": vocabulary}
    made: Any = AutoModelForCausalLM if decoder else AutoModelForSequenceClassification
    made.from_config(AutoConfig.for_model(kind, **sizes, **more, **settings)).save_pretrained(folder)
    return folder


def check_saved(opened: Candidate, folder: Path) -> None:
    """The saved model answers alike; its tokenizer needs no package to be read."""
    saving.save(opened, folder)
    assert (folder / "tokenizer.json").is_file()
    loaded = saving.load(folder, open_task=open_task)
    texts: Any = TEXTS
    assert loaded.task.predict(loaded, texts) == opened.task.predict(opened, texts)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "file", "settings"),
    [
        ("albert", "spiece.model", {"embedding_size": 16, "pad_token_id": 3}),
        ("deberta-v2", "spm.model", {"type_vocab_size": 0}),
        ("xlm-roberta", "sentencepiece.bpe.model", {}),
    ],
)
def test_an_encoder_with_sentencepiece_alone_opens_and_is_saved_without(
    tmp_path: Path, kind: str, file: str, settings: dict[str, Any]
) -> None:
    (tmp_path / "model").mkdir()
    pieces = train(tmp_path / "model" / file, control_symbols="<pad>,[CLS],[SEP],[MASK]" if kind == "albert" else "")
    write_model(tmp_path / "model", kind, vocabulary=len(pieces) + 10, **settings)
    opened = TASK.open_model(str(tmp_path / "model"))
    for text in ("Chelsea won the cup", "shares fell"):
        expected = pieces.encode(text.lower() if kind == "albert" else text, out_type=str)
        assert opened.tokenizer.tokenize(text) == expected
    check_saved(opened, tmp_path / "saved")


BYTE_PAIRS: dict[str, Any] = {"model_type": "bpe", "byte_fallback": True, "vocab_size": 400}


@pytest.mark.parametrize(
    ("kind", "blank_first"), [("llama", True), ("mistral", True), ("llama", False), ("gemma", False)]
)
def test_a_decoder_with_tokenizer_model_alone_opens_and_is_saved_without(
    tmp_path: Path, kind: str, blank_first: bool
) -> None:
    """transformers leaves out the blank before the first word, with which such models were trained."""
    (tmp_path / "model").mkdir()
    pieces = train(tmp_path / "model" / "tokenizer.model", **BYTE_PAIRS, add_dummy_prefix=blank_first)
    write_model(tmp_path / "model", kind, vocabulary=len(pieces), decoder=True, num_key_value_heads=2)
    opened = CausalLM(max_length=16).open_model(str(tmp_path / "model"))
    text = "the cat sat on the mat"
    assert opened.tokenizer.tokenize(text) == pieces.encode(text, out_type=str)
    assert str(opened.tokenizer.decode(opened.tokenizer(text)["input_ids"])).strip() == text
    saving.save(opened, tmp_path / "saved")
    assert saving.load(tmp_path / "saved", open_task=open_task).tokenizer.tokenize(text) == pieces.encode(
        text, out_type=str
    )


@pytest.mark.parametrize("kind", ["qwen2", "gemma"])
def test_pieces_that_transformers_makes_otherwise_are_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "model").mkdir()
    pieces = train(tmp_path / "model" / "tokenizer.model", **BYTE_PAIRS)
    write_model(tmp_path / "model", kind, vocabulary=len(pieces), decoder=True, num_key_value_heads=2)
    with pytest.raises(ModelError, match=r"tokenizer.model otherwise than sentencepiece does: .* a tokenizer.json"):
        CausalLM(max_length=16).open_model(str(tmp_path / "model"))


def test_a_file_of_tiktoken_opens(tmp_path: Path) -> None:
    pytest.importorskip("tiktoken", reason="pip install 'autoopt[sentencepiece]'")
    (tmp_path / "model").mkdir()
    tokens = [bytes([number]) for number in range(256)] + [b"th", b"the", b" the", b"at"]
    lines = [f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(tokens)]
    (tmp_path / "model" / "tokenizer.model").write_text("\n".join(lines) + "\n", encoding="ascii")
    (tmp_path / "model" / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>"}), encoding="utf-8"
    )
    write_model(tmp_path / "model", "llama", vocabulary=len(tokens) + 1, decoder=True, num_key_value_heads=2)
    folder = find_model(str(tmp_path / "model"), body=CausalLM.head.body)
    assert open_tokenizer(folder)("the cat")["input_ids"] == [257, 32, ord("c"), 259]


@pytest.mark.parametrize(
    ("file", "content", "package"),
    [
        ("spiece.model", b"\n\x0e\n\x05<unk>\x15", "sentencepiece"),
        ("tokenizer.model", b"\n\x0e\n\x05<unk>\x15", "sentencepiece"),
        ("tokenizer.model", b"IQ== 0\nIg== 1\n", "tiktoken"),
    ],
)
def test_a_package_that_is_missing_is_named_with_its_extra(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: bytes, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # As if it were not installed.
    (model_folder / file).write_bytes(content)
    assert find_model(str(model_folder)).path == model_folder  # It has a tokenizer.json too.
    for name in ("tokenizer.json", "vocab.txt"):
        (model_folder / name).unlink(missing_ok=True)
    with pytest.raises(EnvironmentProblem, match=rf"as {file} only, .* package {package}: pip install 'autoopt\[sent"):
        find_model(str(model_folder))


def test_the_extra_has_the_packages() -> None:
    import tomllib

    from tests.places import ROOT

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    names = {package.partition(">")[0] for package in extras["sentencepiece"]}
    assert names == {"protobuf", "sentencepiece", "tiktoken"}


def test_a_file_that_the_architecture_does_not_read_is_no_tokenizer(model_folder: Path) -> None:
    (model_folder / "spm.model").write_bytes(b"\n\x0e\n\x05<unk>\x15")
    for name in ("tokenizer.json", "vocab.txt"):
        (model_folder / name).unlink(missing_ok=True)
    pytest.importorskip("sentencepiece", reason="pip install 'autoopt[sentencepiece]'")
    with pytest.raises(
        ModelError, match=r"the tokenizer of .* (has no words: BertTokenizer does not read|cannot be re)"
    ):
        TASK.open_model(str(model_folder))


def without_special(folder: Path, **special: str) -> None:
    """Give the folder a tokenizer of bytes and pairs of bytes that has these special tokens alone."""
    from transformers import PreTrainedTokenizerFast

    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    made: Any = PreTrainedTokenizerFast
    tokenizer = made(tokenizer_object=tiny_decoder.tokenizer().backend_tokenizer, **special)
    tokenizer.save_pretrained(folder)
    write_model(folder, "bert", vocabulary=len(tokenizer))


def test_a_tokenizer_without_padding_gets_a_token_of_its_own_and_it_is_said(model_folder: Path, tmp_path: Path) -> None:
    without_special(model_folder, eos_token=tiny_decoder.END)
    opened = TASK.open_model(str(model_folder))
    assert opened.tokenizer.pad_token == tiny_decoder.END
    (warning,) = tokenizer_warnings(find_model(str(model_folder)))
    assert warning == f"the tokenizer of {model_folder} has no padding token: {tiny_decoder.END} is used for it"
    alone = [TASK.predict(opened, [text])[0]["score"] for text in TEXTS]
    assert [answer["score"] for answer in TASK.predict(opened, TEXTS)] == pytest.approx(alone, abs=1e-5)
    check_saved(opened, tmp_path / "saved")
    assert saving.load(tmp_path / "saved", open_task=open_task).tokenizer.pad_token == tiny_decoder.END


def test_a_tokenizer_with_nothing_to_pad_with_is_refused(model_folder: Path) -> None:
    without_special(model_folder)
    with pytest.raises(ModelError, match=r"has no padding token, and no other special token to pad with; set pad"):
        TASK.open_model(str(model_folder))


def test_a_token_for_padding_is_preferred_to_the_end(model_folder: Path) -> None:
    tokenizer: Any = tiny_decoder.tokenizer(pad=False)
    tokenizer.add_tokens(["<pad>"])
    tokenizer.save_pretrained(model_folder)
    write_model(model_folder, "bert", vocabulary=len(tokenizer))
    assert TASK.open_model(str(model_folder)).tokenizer.pad_token == "<pad>"  # noqa: S105


def test_whether_there_is_a_mask_token_is_known(model_folder: Path) -> None:
    assert has_mask_token(find_model(str(model_folder)))
    (model_folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer"}), encoding="utf-8"
    )
    assert has_mask_token(find_model(str(model_folder)))
    without_special(model_folder, eos_token=tiny_decoder.END)
    assert not has_mask_token(find_model(str(model_folder)))


def add_tokens(folder: Path, *words: str) -> None:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(list(words))
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize("kind", ["bert", "electra", "llama"])
def test_added_tokens_get_an_embedding(model_folder: Path, tmp_path: Path, kind: str) -> None:
    task: Any = TASK
    if kind == "llama":
        model_folder = tiny_decoder.save(tmp_path / "decoder")
        task = CausalLM(max_length=16)
    elif kind == "electra":
        write_model(model_folder, "electra", vocabulary=17, embedding_size=16)
    assert list(tokenizer_warnings(find_model(str(model_folder), body=task.head.body))) == []
    add_tokens(model_folder, "offside", "penalty")
    (warning,) = tokenizer_warnings(find_model(str(model_folder), body=task.head.body))
    assert "has 2 added tokens without an embedding: each gets the mean of the others" in warning
    opened = task.open_model(str(model_folder))
    table = opened.model.get_input_embeddings().weight
    assert len(table) == len(opened.tokenizer) == opened.model.config.vocab_size
    torch.testing.assert_close(table[-1], table[:-2].mean(0))
    assert opened.tokenizer("offside")["input_ids"].count(len(table) - 2) == 1
    texts = ["the offside cup", "penalty"]
    saving.save(opened, tmp_path / "saved")
    loaded = saving.load(tmp_path / "saved", open_task=open_task)
    assert task.predict(opened, texts) == task.predict(loaded, texts)
    again = task.open_model(str(model_folder))
    assert torch.equal(again.model.get_input_embeddings().weight, table)


@pytest.mark.parametrize(("types", "kept"), [(1, False), (0, True), (2, True)])
def test_types_of_segments_that_a_model_does_not_have_are_left_out(model_folder: Path, types: int, kept: bool) -> None:
    kind = "deberta-v2" if types == 0 else "roberta"
    write_model(model_folder, kind, vocabulary=17, type_vocab_size=types, pad_token_id=0)
    opened = TASK.open_model(str(model_folder))
    assert ("token_type_ids" in opened.tokenizer("the cup", "shares fell")) == kept
    answers = TASK.predict(opened, [("the cup", "shares fell"), ("the", "today the cup")])
    assert all(0 < answer["score"] <= 1 for answer in answers)


def test_reading_files_does_not_import_torch(model_folder: Path) -> None:
    program = (
        "import sys; from autoopt.objectives.models.model_folder import find_model;"
        "from autoopt.objectives.models.tokenizers import has_mask_token, tokenizer_warnings;"
        "from autoopt.objectives.weights.finite import check_finite;"
        "folder = find_model(sys.argv[1]);"
        "print(list(tokenizer_warnings(folder)), has_mask_token(folder), check_finite(folder), 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(model_folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[] True None False"
