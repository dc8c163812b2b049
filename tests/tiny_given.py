"""What a person would have to name for some strategies: another data set, a model that translates. All of it tiny."""

from __future__ import annotations

import tempfile
from functools import cache, partial
from pathlib import Path
from typing import Any

from autoopt.strategies.strategy import Strategy
from tests import tiny

_folder = tempfile.TemporaryDirectory(prefix="tiny-given-")


@cache
def labelled_file() -> Path:
    """A csv file of 30 texts of three classes, of the tiny tokenizer's words."""
    path = Path(_folder.name) / "other.csv"
    words = [*tiny.TOPIC_WORDS[0], *tiny.TOPIC_WORDS[1]]
    rows = [f"{words[n % 16]} {words[n * 7 % 16]} {words[n * 5 % 11]} the,{'abc'[n % 3]}" for n in range(30)]
    path.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@cache
def translator(seed: int = 0) -> Path:
    """A random T5 that makes tiny words of tiny words."""
    import torch
    from transformers import BertTokenizer, T5Config, T5ForConditionalGeneration

    path = Path(_folder.name) / f"translator-{seed}"
    config: Any = T5Config(
        vocab_size=len(tiny.VOCABULARY),
        d_model=8,
        d_kv=4,
        d_ff=8,
        num_layers=1,
        num_heads=2,
        pad_token_id=0,
        eos_token_id=3,
        initializer_factor=5.0,
    )
    config.decoder_start_token_id = 0
    torch.manual_seed(seed)
    model = T5ForConditionalGeneration(config)
    model.generation_config.max_length = 12
    model.save_pretrained(path)
    BertTokenizer({word: number for number, word in enumerate(tiny.VOCABULARY)}).save_pretrained(path)
    return path


def made(strategy: type[Strategy], **settings: Any) -> Strategy:
    """The strategy with its defaults, these settings, and whatever it has to be told."""
    known: dict[str, Any] = {"data": labelled_file, "there": translator, "back": partial(translator, 1)}
    told = {name: str(known[name]()) for name in strategy.requires}
    return strategy.model_validate({**told, **settings})
