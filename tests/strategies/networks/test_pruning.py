"""Cut heads: the model answers as the full one does without what these heads say, whatever its attention counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autoopt.strategies.networks.architectures import layers, layout
from autoopt.strategies.networks.pruning import head_count, keep_heads
from autoopt.strategies.probe import answers
from tests import tiny, zoo

KINDS = ("bert", "roformer", "big_bird", "megatron-bert", "rembert", "qwen2", "stablelm")
WITH_NORMS = ("olmo2",)
"""Norms over all heads together depend on the number of heads."""


def opened(kind: str, folder: Path) -> Any:
    return zoo.classifier(kind, folder) if kind in zoo.DECODERS else zoo.candidate(kind)


def answers_of(given: Any, model: Any) -> torch.Tensor:
    return torch.cat(answers(replace(given, model=model), tiny.examples(6), 6))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_without_some_heads_answers_as_if_these_were_silent(kind: str, tmp_path: Path) -> None:
    given = opened(kind, tmp_path)
    silent, cut = given.copy_model(), given.copy_model()
    where, heads = layout(cut), head_count(cut)
    assert heads >= 2
    kept = torch.arange(1, heads)
    width = where.group * where.head_size
    for layer in layers(silent):
        output: Any = layer.get_submodule(where.attention_output)
        with torch.no_grad():
            output.weight[:, :width] = 0.0
    for layer in layers(cut):
        keep_heads(cut, layer, kept, [])
    assert head_count(cut) == heads - 1
    torch.testing.assert_close(answers_of(given, cut), answers_of(given, silent), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", WITH_NORMS)
def test_norms_over_all_heads_are_cut_with_them(kind: str, tmp_path: Path) -> None:
    given = opened(kind, tmp_path)
    whole, cut = given.copy_model(), given.copy_model()
    heads = head_count(cut)
    for layer in layers(whole):
        keep_heads(whole, layer, torch.arange(heads), [])
    torch.testing.assert_close(answers_of(given, whole), answers_of(given, given.model), rtol=1e-5, atol=1e-5)
    for layer in layers(cut):
        keep_heads(cut, layer, torch.arange(heads - 1), [])
    assert bool(answers_of(given, cut).isfinite().all())
