from __future__ import annotations

import io
import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from autoopt.search.report.sanitize import plain_text, printable
from tests.search.samples import HOSTILE


def test_what_steers_a_terminal_is_taken_out_and_the_rest_stays() -> None:
    assert printable(HOSTILE) == "]0;owned[2J[red]x[/red]evil31m second line"


def test_words_of_all_languages_stay_as_they_are() -> None:
    for word in ("Größe", "新聞", "خبر", "می\u200cخواهم", "👩\u200d🚀"):
        assert printable(word) == word


@given(st.text())
def test_nothing_printable_is_a_control_character(text: str) -> None:
    shown = printable(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in shown)


# Rich itself drops a backslash before a bracket that opens no tag, and doubles one at the very end.
PRINTABLE = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=60)


@given(PRINTABLE.filter(lambda text: not text.endswith("\\") and "\\[" not in text))
def test_rich_shows_plain_text_letter_by_letter(text: str) -> None:
    out = io.StringIO()
    Console(file=out, width=500, emoji=False, highlight=False).print(plain_text(text), soft_wrap=True)
    assert out.getvalue().removesuffix("\n") == text
