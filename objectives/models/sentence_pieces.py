"""Sentencepiece files as transformers converts them, compared with what sentencepiece itself makes of a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autoopt.strategies.errors import ModelError

SAMPLES = ("won the cup by 3 goals", "a bank", "shares fell, prices too")
"""In small letters, since some tokenizers make all letters small."""
_BLANK = "▁"
_PLAIN = "TokenizersBackend"
"""Class of a tokenizer that is saved as it is; others are made anew by their class when they are loaded."""


def check_pieces(tokenizer: Any, path: Path) -> None:
    """Let the tokenizer split texts as the sentencepiece file does from which transformers has made it.

    transformers leaves out the blank before the first word, which many such files put there; it is put back. Raises
    ``ModelError`` if the pieces differ nevertheless.
    """
    import sentencepiece

    try:
        reference = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise ModelError(f"{path} is no file of sentencepiece: {error}; download the model again") from None
    expected = [reference.encode(text, out_type=str) for text in SAMPLES]
    if _pieces(tokenizer) == expected:
        return
    if type(tokenizer).__name__ == _PLAIN and _pieces(tokenizer, prefix=" ") == expected:
        _put_blank_first(tokenizer)
    if _pieces(tokenizer) != expected:
        raise ModelError(
            f"transformers reads {path} otherwise than sentencepiece does: {SAMPLES[0]!r} becomes "
            f"{' '.join(tokenizer.tokenize(SAMPLES[0]))[:80]}, not {' '.join(expected[0])[:80]}; give the model with a "
            "tokenizer.json"
        )


def _pieces(tokenizer: Any, *, prefix: str = "") -> list[list[str]]:
    return [tokenizer.tokenize(prefix + text) for text in SAMPLES]


def _put_blank_first(tokenizer: Any) -> None:
    from tokenizers import decoders, normalizers

    backend = tokenizer.backend_tokenizer
    present = [backend.normalizer] if backend.normalizer else []
    backend.normalizer = normalizers.Sequence([*present, normalizers.Prepend(_BLANK)])
    present = [backend.decoder] if backend.decoder else []
    backend.decoder = decoders.Sequence([*present, decoders.Strip(" ", 1, 0)])
