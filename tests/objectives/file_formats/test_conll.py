from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.objectives.file_formats import read
from autoopt.strategies.errors import DataError
from tests.places import DATA

WNUT = DATA / "wnut17"
FIELDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs"]), min_size=1, max_size=8)


def write(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


@pytest.mark.parametrize("suffix", [".conll", ".conll03", ".bio", ".IOB", ".iob2", ".conll.gz"])
def test_a_file_is_read_by_its_suffix_into_a_row_for_each_sentence(tmp_path: Path, suffix: str) -> None:
    import gzip

    content = b"EU\tB-ORG\nrejects\tO\n\nPeter\tB-PER\nBlackburn\tI-PER\n"
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    table = read(path)
    assert table.columns == ("tokens", "tags", "document")
    assert table.rows == [
        [["EU", "rejects"], ["B-ORG", "O"], None],
        [["Peter", "Blackburn"], ["B-PER", "I-PER"], None],
    ]
    assert list(table.places) == [f"{path}:1", f"{path}:4"]


def test_the_columns_between_the_first_and_the_last_are_not_read_and_documents_are_numbered(tmp_path: Path) -> None:
    content = (
        "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\n. . O O\n\nGo VB B-VP O\n"
        "-DOCSTART- -X- -X- O\nPeter  NNP\tB-NP B-PER\n\n\n \t\n"
    )
    table = read(write(tmp_path / "a.conll", content))
    assert table.rows == [
        [["EU", "."], ["B-ORG", "O"], 1],
        [["Go"], ["O"], 1],
        [["Peter"], ["B-PER"], 2],
    ]
    assert [place.rpartition(":")[2] for place in table.places] == ["3", "6", "8"]


def test_a_comment_before_a_sentence_is_left_out_and_a_word_that_looks_like_one_is_not(tmp_path: Path) -> None:
    content = "# id 7\n# text = Vitamin B-12\n# O\nsign B-x\n\n# id 8\tdomain=en\nwalks O\n# O\n"
    assert read(write(tmp_path / "a.conll", content)).rows == [
        [["#", "sign"], ["O", "B-x"], None],
        [["walks", "#"], ["O", "O"], None],
    ]
    assert read(write(tmp_path / "b.conll", "# id 7\n#\tO\n# 1\tB-x\n")).rows == [[["#", "# 1"], ["O", "B-x"], None]]


def test_tabs_keep_the_blanks_of_a_word_and_no_break_spaces_are_no_blanks(tmp_path: Path) -> None:
    tabs = read(write(tmp_path / "a.bio", "New York\tB-LOC\r\n5\u00a0000\t\tO \r\n"))
    assert tabs.rows == [[["New York", "5\u00a0000"], ["B-LOC", "O"], None]]
    blanks = read(write(tmp_path / "b.bio", " 5\u00a0000   O\n\u200b O\n"))
    assert blanks.rows == [[["5\u00a0000", "\u200b"], ["O", "O"], None]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("EU\tO\nrejects\n", r"a\.conll:2: the word 'rejects' has no tag; write its tag behind it"),
        ("EU\tO\nrejects\t\n", r"a\.conll:2: the word 'rejects' has no tag"),
        ("EU\tO\ngoes\tO\nrejects O\n", r"a\.conll:3: the word 'rejects O' has no tag; .* after a tab"),
        ("EU\nrejects\n", r"a\.conll:1: the word 'EU' has no tag"),
        ("EU\tO\n\n\tO\n", r"a\.conll:3: a tag without a word; write the word before it, or remove the line"),
        ("a b O\nc d O\n\ne O\n", r"a\.conll:4: 2 columns where other lines have 3; .* a blank line between"),
        ("# id 1\na O\n# id 2\nb O\n", r"a\.conll:3: 3 columns where other lines have 2"),
        ("a b c d e\n", r"a\.conll:1: 5 columns, and 2 to 4 are read, the first of which is the word"),
        ("\n\n", r"a\.conll holds no sentence; it needs a line with a word and its tag for each word"),
        ("# id 3\n-DOCSTART- O\n", r"a\.conll holds no sentence"),
        ("", r"a\.conll is empty"),
    ],
)
def test_what_is_no_tagged_word_is_named_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / "a.conll", content))


def test_plain_lines_stay_plain(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.txt", "EU\tO\n")).columns == ("text",)


@given(st.lists(st.lists(st.tuples(FIELDS, st.sampled_from(["O", "B-x"])), min_size=1, max_size=5), min_size=1))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[list[tuple[str, str]]]
) -> None:
    written = "\n\n".join("\n".join(f"{word}\t{tag}" for word, tag in sentence) for sentence in sentences)
    table = read(write(tmp_path_factory.mktemp("conll") / "a.conll", written))
    assert [list(zip(*row[:2], strict=True)) for row in table.rows] == sentences


@pytest.mark.skipif(not WNUT.is_dir(), reason="the data of WNUT-17 is not beside the repository")
@pytest.mark.parametrize(("name", "count"), [("train", 3394), ("validation", 1009), ("test", 1287)])
def test_wnut_has_as_many_sentences_as_its_authors_say(name: str, count: int) -> None:
    table = read(WNUT / f"{name}.conll")
    assert len(table.rows) == count
    assert all(len(words) == len(tags) for words, tags, _ in table.rows)  # type: ignore[arg-type]
