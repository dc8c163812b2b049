"""Foreign text made harmless for a terminal: names, labels and messages that others wrote."""

from __future__ import annotations

import unicodedata

_JOINERS = frozenset("\u200c\u200d")
"""Invisible, but words of Persian and Hindi and many emoji are written with them."""
_SPACES = frozenset({"Zl", "Zp"})
_DROPPED = frozenset({"Cc", "Cf", "Cs"})
"""Control characters, those that turn the direction of writing, and halves of characters."""


def printable(text: object) -> str:
    """Return ``text`` on one line without any character that steers a terminal."""
    return "".join(map(_kept, str(text)))


def plain_text(text: object) -> str:
    """Return ``text`` as ``printable`` does, and so that Rich shows square brackets instead of obeying them."""
    from rich.markup import escape

    return escape(printable(text))


def _kept(character: str) -> str:
    category = unicodedata.category(character)
    if character in "\n\r\t" or category in _SPACES:
        return " "
    return "" if category in _DROPPED and character not in _JOINERS else character
