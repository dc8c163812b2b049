"""Weights in 16 bits, and what must not be rounded with them: the frequencies of rotary positions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autoopt.objectives.tasks import open_task
from autoopt.strategies import saving
from autoopt.strategies.acceleration.half_precision import HalfPrecision
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.casting import cast_weights
from tests import tiny, tiny_decoder, zoo

LENGTH = 600
"""Positions above 256 are not numbers of bfloat16."""
TOLERANCE = 0.008
"""Of float16, after two layers."""


def frequencies(model: Any) -> list[torch.Tensor]:
    return [buffer for name, buffer in model.named_buffers() if "inv_freq" in name]


def halved(kind: str, dtype: str) -> tuple[Candidate, Candidate]:
    """A decoder in fp32, and one in 16 bits; weights that 16 bits can say, so that nothing but positions may differ."""
    settings = zoo.DECODERS[kind] if kind != "llama" else {}
    model = tiny_decoder.model(kind, positions=1024, **settings)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    given = replace(tiny_decoder.candidate(), model=model)
    return given, HalfPrecision(format=dtype).apply(given, effort=0, seed=0)


def last(candidate: Candidate) -> torch.Tensor:
    """Scores of the next word after a long text, the largest of them 1."""
    ids = torch.randint(3, 200, (1, LENGTH), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits = candidate.model(input_ids=ids).logits[0, -1].float()
    return logits / logits.abs().max()  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3_text", "gpt_neox", "phi"])
def test_far_positions_answer_as_in_fp32(kind: str, tmp_path: Path) -> None:
    given, half = halved(kind, "float16")
    saving.save(half, tmp_path / "saved")
    loaded = saving.load(tmp_path / "saved", open_task=open_task)
    assert {table.dtype for table in frequencies(half.model) + frequencies(loaded.model)} == {torch.float32}
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.float16}
    assert torch.equal(last(half), last(loaded))
    torch.testing.assert_close(last(half), last(given), rtol=0, atol=TOLERANCE)


def test_rounded_frequencies_would_be_noticed() -> None:
    given, half = halved("llama", "float16")
    model: Any = half.model
    model.to(torch.float16)
    assert (last(half) - last(given)).abs().max() > 2 * TOLERANCE


def test_bfloat16_keeps_the_frequencies_too() -> None:
    given, half = halved("llama", "bfloat16")
    for ours, theirs in zip(frequencies(half.model), frequencies(given.model), strict=True):
        assert torch.equal(ours, theirs)


def test_an_encoder_is_cast_whole() -> None:
    model = tiny.model("bert")
    cast_weights(model, torch.bfloat16)
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.bfloat16}


def test_training_in_bfloat16_computes_angles_in_fp32() -> None:
    """Autocast rounds matrix products: the product of frequencies and positions is kept out of it by the models."""
    given, _ = halved("llama", "bfloat16")
    rotary: Any = next(part for name, part in given.model.named_modules() if name.endswith("rotary_emb"))
    hidden, places = torch.zeros(1, 1, 32), torch.tensor([[LENGTH]])
    expected = rotary(hidden, places)[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(rotary(hidden, places)[0], expected)
