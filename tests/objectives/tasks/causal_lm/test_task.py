"""The next token: that perplexity is perplexity, what is learned and saved, and how a text is continued."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoopt.objectives.measurement import Direction
from autoopt.objectives.tasks import open_task
from autoopt.objectives.tasks.causal_lm import scoring
from autoopt.objectives.tasks.causal_lm.reading import Form, dump_messages
from autoopt.objectives.tasks.causal_lm.task import CausalLM, _token_losses
from autoopt.strategies import saving
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.candidate import Example
from autoopt.strategies.errors import DataError, Diverged, ModelError, UsageError
from tests import tiny, tiny_decoder

TOKENIZER = tiny_decoder.tokenizer()
END = TOKENIZER.eos_token_id
NASTY: list[list[str]] = [
    *([text] for text in ("x", "the", " ", "\n", "\t", "  the  ", "the cat", "the cat\n", "\r\n", "a\nb", "ü", "漢字")),
    *([text] for text in ("🦊🦊", "e\u0301", "\u200d", "a\u0000b", "<|endoftext|>", "1e-4", "٣", "ß" * 9)),
    *([text] for text in ("the<|endoftext|>cat", " <|endoftext|>\n")),
    *([text] for text in ("the cat sat on the mat .\n" * 9, "x" * 60, "ab " * 40, "\n" * 30, "🦊" * 12, " " * 50)),
    *(["\n", "\n", "the\n"], ["the\n", "", "cat\n"], ["the", "", "", "cat"], ["", "the", ""], ["a", "b", "c"]),
    *(["a\n", "b"], ["a", "b\n"], ["a\n", "b\n"], ["\n", "a", "\n"], [" = Title = \n", " \n", " the cat \n"]),
    *(["the cat"] * count for count in (2, 5, 11)),
    *(["the cat sat on the mat .\n"] * count for count in (2, 3, 7)),
    *(["🦊\n", "漢\n", "ü"], ["x" * 31, "y"], ["x" * 32, "y"], ["x" * 33, "y"], ["a"] * 16, ["a\n"] * 16, ["ab"] * 7),
    ["the cat sat on the log .\n", "\n", "no man is an island\n", "🦊"],
]


@pytest.mark.parametrize("texts", NASTY, ids=lambda texts: ascii(texts)[:40])
def test_perplexity_is_that_of_a_loop_over_single_tokens(texts: list[str]) -> None:
    number = NASTY.index(texts)
    kind = "gpt2" if number % 5 == 4 else "llama"
    candidate = tiny_decoder.candidate(seed=number % 7, kind=kind, start=number % 2 == 0)
    task: Any = candidate.task
    ids = tiny_decoder.packed(texts, candidate.tokenizer)
    cuts = [*range(0, len(ids), 16), len(ids)]
    if cuts[-1] - cuts[-2] == 1 and len(cuts) > 2:
        cuts[-2] -= 1
    pieces = [ids[start:end] for start, end in pairwise(cuts)]
    loss = sum(tiny_decoder.loss(candidate.model, piece, 1) for piece in pieces)
    count = sum(len(piece) - 1 for piece in pieces)
    scores = task.score(candidate, tiny_decoder.examples(texts))
    assert scores["perplexity"].value == pytest.approx(math.exp(loss / count), rel=1e-4)
    assert scores["quality"].value == pytest.approx(math.exp(-loss / count), rel=1e-4)
    assert sum(tokens for _, tokens, _ in task.answer(candidate, tiny_decoder.examples(texts))) == count


def test_there_are_fifty_nasty_inputs() -> None:
    assert len(NASTY) >= 50


def test_quality_is_better_when_higher_and_perplexity_when_lower() -> None:
    task = CausalLM()
    assert {name: task.direction(name) for name in ("quality", *task.statistics)} == {
        "quality": Direction.MAXIMIZE,
        "perplexity": Direction.MINIMIZE,
        "bits_per_byte": Direction.MINIMIZE,
    }
    assert list(task.statistics) == ["perplexity", "bits_per_byte"]


def test_bits_per_byte_count_the_bytes_of_what_was_predicted() -> None:
    candidate = tiny_decoder.candidate(max_length=128)
    task: Any = candidate.task
    text = "the 🦊 sat on\nthe ü .\n"
    first = len(TOKENIZER.decode(tiny_decoder.packed([text], TOKENIZER)[:1]).encode())
    loss = tiny_decoder.loss(candidate.model, tiny_decoder.packed([text], TOKENIZER), 1)
    expected = loss / math.log(2) / (len(text.encode()) - first)
    scores = task.score(candidate, tiny_decoder.examples([text]))
    assert scores["bits_per_byte"].value == pytest.approx(expected, rel=1e-4)
    assert scores["bits_per_byte"].unit == "bits"
    by_bytes = replace(task, metric="bits_per_byte").score(candidate, tiny_decoder.examples([text]))
    assert by_bytes["quality"].value == pytest.approx(2**-expected, rel=1e-4)


def test_the_interval_holds_the_value_and_narrows_with_more_text() -> None:
    candidate = tiny_decoder.candidate(max_length=64)
    task: Any = candidate.task
    widths = []
    for count in (20, 400):
        scores = task.score(candidate, tiny_decoder.examples([tiny_decoder.CORPUS[i * i % 4] for i in range(count)]))
        assert all(item.low <= item.value <= item.high for item in scores.values())
        widths.append(scores["perplexity"].high - scores["perplexity"].low)
    assert 0 < widths[1] < widths[0]


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 9), st.integers(0, 40)), min_size=1, max_size=20))
def test_scores_are_finite_and_each_quality_is_its_loss_turned_round(rows: list[tuple[float, int, int]]) -> None:
    values = np.array([*rows, (1.0, 1, 1)])
    ones = np.ones((1, len(values)))
    perplexity = scoring.perplexity(values, ones)[0]
    bits = scoring.bits_per_byte(values, ones)[0]
    assert perplexity >= 1
    assert scoring.token_probability(values, ones)[0] == pytest.approx(1 / perplexity)
    assert scoring.byte_probability(values, ones)[0] == pytest.approx(2.0**-bits)
    # A resample may hold no row that has a token.
    assert np.isfinite(scoring.perplexity(values, np.zeros((1, len(values)))))[0]


def test_a_large_vocabulary_costs_no_precision() -> None:
    torch.manual_seed(0)
    logits, labels = 2 * torch.randn(2, 9, 50_000), torch.randint(50_000, (2, 9))
    exact = -logits[:, :-1].double().log_softmax(-1).gather(2, labels[:, 1:, None])[..., 0].numpy()
    assert np.abs(_token_losses(labels, logits) - exact).mean() < 1e-6


def test_a_text_without_a_token_and_a_broken_model_have_no_score() -> None:
    candidate = tiny_decoder.candidate()
    task: Any = candidate.task
    with pytest.raises(DataError, match=r"makes no token of these 2 texts; give other text"):
        task.score(candidate, tiny_decoder.examples(["", ""]))
    with torch.no_grad():
        candidate.model.get_parameter("lm_head.weight").fill_(math.nan)
    with pytest.raises(Diverged, match=r"output is not finite; a lower learning rate"):
        task.score(candidate, tiny_decoder.examples(["the cat"]))


LEARN = FullFinetuning(learning_rate=2e-4, epochs=5, batch_size=4)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_decoder_opens_learns_and_is_saved_bit_for_bit(tmp_path: Path, kind: str, tied: bool) -> None:
    task = CausalLM(max_length=24)
    folder = tiny_decoder.save(tmp_path / "given", kind, tied=tied)
    train = tuple(tiny_decoder.examples(tiny_decoder.CORPUS * 25))
    opened = replace(task.open_model(str(folder)), train=train)
    held_out = tiny_decoder.examples([*tiny_decoder.CORPUS[1:], tiny_decoder.CORPUS[0]])
    before = task.score(opened, held_out)["perplexity"].value
    trained = FullFinetuning(learning_rate=2e-4, epochs=5, batch_size=2).apply(opened, effort=1, seed=0)
    after = task.score(trained, held_out)
    assert after["perplexity"].value < before / 2
    saving.save(trained, tmp_path / "saved")
    loaded = saving.load(tmp_path / "saved", open_task=open_task)
    assert loaded.task == task
    assert tiny.digest(loaded.model) == tiny.digest(trained.model)
    assert loaded.task.score(loaded, held_out) == after
    network: Any = loaded.model
    assert (network.get_output_embeddings().weight is network.get_input_embeddings().weight) is tied


@pytest.mark.parametrize("form", [Form.PROMPT, Form.DIALOGUE])
def test_responses_are_learned_and_given(tmp_path: Path, form: Form) -> None:
    task = CausalLM(max_length=24, form=form)
    prompts = ["the cat", "a bird"]
    if form is Form.DIALOGUE:
        prompts = [dump_messages([{"role": "user", "content": text}]) for text in prompts]
    pairs = [Example(text, text_pair=response) for text, response in zip(prompts, ("sat", "sang"), strict=True)]
    opened = replace(task.open_model(str(tiny_decoder.save(tmp_path / "given"))), train=tuple(pairs * 40))
    trained = FullFinetuning(learning_rate=2e-4, epochs=5, batch_size=1).apply(opened, effort=1, seed=0)
    assert [answer["label"] for answer in task.predict(trained, ["the cat", "a bird"])] == ["sat", "sang"]
    assert task.score(trained, pairs)["perplexity"].value < 1.5


def test_a_text_is_continued_as_transformers_would_do_it() -> None:
    candidate = tiny_decoder.candidate(start=True)
    task: Any = candidate.task
    prompt = candidate.tokenizer("the cat", return_tensors="pt")
    length = prompt["input_ids"].shape[1]
    network: Any = candidate.model
    expected = network.generate(**prompt, max_new_tokens=50, do_sample=False, pad_token_id=0, eos_token_id=END)[0]
    first, again, short = task.predict(candidate, ["the cat", "the cat", ""])
    assert first["label"] == candidate.tokenizer.decode(expected[length:], skip_special_tokens=True) != ""
    assert (first, first["scores"]) == (again, {})
    assert 0 < first["score"] <= 1
    assert short["label"] != first["label"]


def test_a_long_prompt_is_continued_from_its_end() -> None:
    for kind in ("llama", "gpt2"):
        candidate = tiny_decoder.candidate(kind=kind, positions=32)
        task: Any = candidate.task
        (answer,) = task.predict(candidate, ["the cat sat on the mat .\n" * 50])
        assert answer["label"]


def test_a_pair_is_not_continued() -> None:
    candidate = tiny_decoder.candidate()
    with pytest.raises(UsageError, match="causal_lm continues a single text, and was given a pair"):
        CausalLM().predict(candidate, [("a", "b")])


def test_a_tokenizer_without_padding_pads_with_the_end(tmp_path: Path) -> None:
    opened = CausalLM(max_length=24).open_model(str(tiny_decoder.save(tmp_path / "given", pad=False)))
    assert opened.tokenizer.pad_token_id == END
    saving.save(opened, tmp_path / "saved")
    assert saving.load(tmp_path / "saved", open_task=open_task).tokenizer.pad_token_id == END


def test_a_tokenizer_that_cannot_end_a_text_is_refused(tmp_path: Path) -> None:
    folder = tiny_decoder.save(tmp_path / "given")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "eos_token": None}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"has no token that ends a text; set eos_token"):
        CausalLM(max_length=24).open_model(str(folder))


def test_a_decoder_whose_head_is_missing_is_refused(tmp_path: Path) -> None:
    folder = tiny_decoder.save(tmp_path / "given", tied=False)
    tiny_decoder.model(tied=False).model.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"do not fit its config.json: they lack lm_head.weight"):
        CausalLM(max_length=24).open_model(str(folder))


def test_an_encoder_is_refused(tmp_path: Path) -> None:
    saving.save(tiny.candidate(), tmp_path / "encoder")
    with pytest.raises(ModelError, match=r"encoder' is an encoder \(bert\); causal_lm needs a decoder such as llama"):
        CausalLM(max_length=24).open_model(str(tmp_path / "encoder"))


@pytest.mark.parametrize("task", [CausalLM(), CausalLM(max_length=9, metric="bits_per_byte", form=Form.DIALOGUE)])
def test_a_task_survives_its_json(task: CausalLM) -> None:
    assert open_task(json.loads(json.dumps(task.to_json()))) == task


def test_an_unknown_metric_names_those_that_there_are() -> None:
    with pytest.raises(UsageError, match=r"'perplexty' is no metric of causal_lm; did you mean 'perplexity'\?"):
        CausalLM(metric="perplexty")
