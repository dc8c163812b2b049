"""Make foreign text safe to print in a terminal: names, labels and messages from files and servers."""

from __future__ import annotations

import unicodedata

_JOINERS = frozenset("\u200c\u200d")
"""Zero-width joiners: part of Persian and Hindi words and of many emoji."""
_SPACES = frozenset({"Zl", "Zp"})
_DROPPED = frozenset({"Cc", "Cf", "Cs"})
"""Control characters, marks of writing direction, surrogates."""


def printable(text: object) -> str:
    """Return ``text`` on one line, without characters that control a terminal."""
    return "".join(map(_sanitize_character, str(text)))


def plain_text(text: object) -> str:
    """Return ``text`` as ``printable`` does, with square brackets escaped for Rich."""
    from rich.markup import escape

    return escape(printable(text))


def plain_lines(text: str) -> str:
    """Apply ``plain_text`` to each line of ``text``."""
    return "\n".join(map(plain_text, text.splitlines()))


def _sanitize_character(character: str) -> str:
    category = unicodedata.category(character)
    if character in "\n\r\t" or category in _SPACES:
        return " "
    return "" if category in _DROPPED and character not in _JOINERS else character
