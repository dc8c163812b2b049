"""CoNLL files, CoNLL-U among them, and those that have another format's suffix, recognized by their content."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from autoopt.objectives.file_formats import FileFormat
from autoopt.objectives.tables.table import Table
from autoopt.objectives.tables.tagged_lines import MIN_SAMPLE, is_tagged, tagged_table
from autoopt.objectives.tables.text_lines import lines
from autoopt.strategies.errors import DataError


def read_conll(path: Path) -> Table:
    """Read a row for each sentence as ``tagged_table`` does. Raises ``DataError``."""
    return tagged_table(str(path), lines(path))


def is_conll(path: Path) -> bool:
    """Return whether the first lines of a text file can only be those of a CoNLL file."""
    try:
        return is_tagged(line for _, line in islice(lines(path), MIN_SAMPLE))
    except DataError:
        return False  # Whoever reads the file says what is wrong with it.


CONLL = FileFormat(
    suffixes=(".conll", ".conll03", ".conllu", ".conllup", ".bio", ".iob", ".iob2"),
    read=read_conll,
    example=lambda: b"Chelsea\tB-ORG\nwon\tO\n\nAnna\tB-PER\nleft\tO\n",
)
