"""Tokenize no more of a long text than is read: the tokens of its first words do not depend on those that follow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

CHARACTERS = 8
"""Characters of a beginning for each token: a token of English, German or Finnish has four to six, blanks included."""
_STEPS = frozenset({"BertPreTokenizer", "Whitespace", "WhitespaceSplit", "ByteLevel", "Metaspace"})
"""Kinds of a tokenizer's first step after which no token holds parts of two words."""


def beginning(text: str, tokens: int) -> str:
    """Return the words within the first ``CHARACTERS`` for each token; the text itself if that is all of it."""
    end = CHARACTERS * tokens
    words = text if len(text) <= end else text[: max(0, text.rfind(" ", 0, end))]
    return words or text


def reads_word_by_word(backend: Tokenizer) -> bool:
    """Return whether words have no influence on the tokens of those before them."""
    if backend.pre_tokenizer is None:
        return False
    settings = json.loads(backend.pre_tokenizer.__getstate__())
    steps = settings.get("pretokenizers", [settings])
    return any(step["type"] in _STEPS and step.get("use_regex", True) and step.get("split", True) for step in steps)


def tokenize(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int, *, seconds: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Return the features of each text, or pair, truncated to ``max_length`` tokens, as the tokenizer itself does it.

    Pairs are read whole.
    """
    starts = [beginning(text, max_length) for text in texts]
    long = [place for place, text in enumerate(texts) if starts[place] is not text]
    backend = getattr(tokenizer, "backend_tokenizer", None)
    is_whole = seconds is not None or not long or tokenizer.truncation_side != "right"
    if is_whole or backend is None or not reads_word_by_word(backend):
        return _features(tokenizer, texts, max_length, seconds)
    features = _features(tokenizer, starts, max_length)
    short = [place for place in long if len(features[place]["input_ids"]) < max_length]
    for place, whole in zip(short, _features(tokenizer, [texts[place] for place in short], max_length), strict=True):
        features[place] = whole
    return features


def _features(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int, seconds: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    if not texts:
        return []
    encoded = tokenizer(list(texts), text_pair=seconds, truncation=True, max_length=max_length)
    return [{name: values[place] for name, values in encoded.items()} for place in range(len(texts))]
