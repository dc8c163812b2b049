"""What stands between the two texts of a pair."""

from __future__ import annotations

from typing import Any

LINE_BREAK = "\n"


def separator(tokenizer: Any) -> str:
    """Return a line break if the tokenizer puts nothing between two texts, as that of GPT-2; else nothing."""
    alone, together = (tokenizer.num_special_tokens_to_add(pair=pair) for pair in (False, True))
    return LINE_BREAK if alone == together else ""
