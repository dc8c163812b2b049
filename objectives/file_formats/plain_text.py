"""Plain text files: a row for each line."""

from __future__ import annotations

from pathlib import Path

from autoopt.objectives.file_formats import FileFormat
from autoopt.objectives.tables.table import TEXT_COLUMN, Table
from autoopt.objectives.tables.text_lines import lines


def read_text(path: Path) -> Table:
    r"""Return every line with ``\n`` at its end, which tells a line of a text from a whole text.

    Blank lines are rows too, unless the file has no others. Raises ``DataError``.
    """
    texts, places = [], []
    for number, line in lines(path):
        content = line.rstrip("\r\n")
        texts.append(line if line == content else f"{content}\n")
        places.append(f"{path}:{number}")
    if not any(map(str.strip, texts)):
        texts, places = [], []
    return Table(str(path), (TEXT_COLUMN,), [[text] for text in texts], places)


PLAIN_TEXT = FileFormat(suffixes=(".txt",), read=read_text, example=lambda: b"Chelsea won the cup\nshares fell\n")
