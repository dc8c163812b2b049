from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.file_formats import read
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.objectives.tasks.token_classification.task import TokenClassification
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


def test_the_last_column_is_the_tag_those_between_have_numbers_and_documents_are_numbered(tmp_path: Path) -> None:
    content = (
        "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\n. . O O\n\nGo VB B-VP O\n"
        "-DOCSTART- -X- -X- O\nPeter  NNP\tB-NP B-PER\n\n\n \t\n"
    )
    table = read(write(tmp_path / "a.conll", content))
    assert table.columns == ("tokens", "tags", "document", "column_2", "column_3")
    assert table.rows == [
        [["EU", "."], ["B-ORG", "O"], 1, ["NNP", "."], ["B-NP", "O"]],
        [["Go"], ["O"], 1, ["VB"], ["B-VP"]],
        [["Peter"], ["B-PER"], 2, ["NNP"], ["B-NP"]],
    ]
    assert table.notes == ("tags from column 4 of the file; data.label may name another: column_2, column_3",)
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


BIO = "EU\tB-ORG\nrejects\tO\n\nPeter\tB-PER\nBlackburn\tI-PER\n"
GERMEVAL = (
    "#\thttp://de.wikipedia.org/wiki/Manfred_Korfmann\t[2009-10-17]\n"
    "1\tAufgrund\tO\tO\n2\tBayern\tB-ORG\tB-LOC\n3\tsiegte\tO\tO\n\n"
    "#\tn-tv.de vom 26.02.2005 [2005-02-26]\n1\tAnna\tB-PER\tO\n2\tBerg\tI-PER\tO\n"
)
CONLLU = (
    "# newdoc id = a\n# sent_id = 1\n# text = Er geht zum Haus.\n"
    "1\tEr\ter\tPRON\tPPER\tCase=Nom\t2\tnsubj\t_\t_\n"
    "2\tgeht\tgehen\tVERB\tVVFIN\t_\t0\troot\t_\t_\n"
    "3-4\tzum\t_\t_\t_\t_\t_\t_\t_\t_\n"
    "3\tzu\tzu\tADP\tAPPR\t_\t5\tcase\t_\t_\n"
    "4\tdem\tder\tDET\tART\t_\t5\tdet\t_\t_\n"
    "5\tHaus\tHaus\tNOUN\tNN\t_\t2\tobl\t_\tSpaceAfter=No\n"
    "5.1\tsein\tsein\tAUX\t_\t_\t_\t_\t_\t_\n\n"
    "# newdoc id = b\n1\t#\t#\tSYM\tXY\t_\t0\troot\t_\t_\n"
)


@pytest.mark.parametrize("name", ["a.txt", "a.tsv", "a.conll", "a.TXT"])
@pytest.mark.parametrize("content", [BIO, GERMEVAL, CONLLU], ids=["bio", "germeval", "conllu"])
def test_conll_is_seen_by_its_content(tmp_path: Path, name: str, content: str) -> None:
    table = read(write(tmp_path / name, content))
    assert table.columns[0] == "tokens"
    assert table.rows == read(write(tmp_path / "same.conll", content)).rows


@pytest.mark.parametrize(
    "content",
    [
        "EU\tNNP\nrejects\tVBZ\n",
        "I have an O\nand a B-side\n",
        "text\tlabel\nEU\tB-ORG\nrejects\tO\n",
        "only\tO\nof\tO\n",
        "a B-x\nb O\na line of three\n",
        "1. one\n2. two\n",
    ],
)
def test_other_lines_stay_plain(tmp_path: Path, content: str) -> None:
    assert read(write(tmp_path / "a.txt", content)).columns == ("text",)


def test_germeval_has_an_index_comments_and_a_second_column_of_nested_names(tmp_path: Path) -> None:
    table = read(write(tmp_path / "NER-de-train.tsv", GERMEVAL))
    assert table.columns == ("tokens", "tags", "document", "column_4")
    assert table.rows == [
        [["Aufgrund", "Bayern", "siegte"], ["O", "B-ORG", "O"], None, ["O", "B-LOC", "O"]],
        [["Anna", "Berg"], ["B-PER", "I-PER"], None, ["O", "O"]],
    ]
    assert table.notes == ("tags from column 3 of the file; data.label may name another: column_4",)
    assert [place.rpartition(":")[2] for place in table.places] == ["2", "7"]


def test_an_index_before_the_columns_of_conll_2003_leaves_the_last_the_tag(tmp_path: Path) -> None:
    table = read(write(tmp_path / "a.conll", "1 EU NNP B-NP B-ORG\n2 rejects VBZ B-VP O\n\n1 Go VB B-VP O\n"))
    assert table.rows[0][:2] == [["EU", "rejects"], ["B-ORG", "O"]]


def test_words_that_are_numbers_are_no_index(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.conll", "1 CD O\n3 CD B-x\n")).rows[0][0] == ["1", "3"]
    assert read(write(tmp_path / "a.conll", "1\tO\n2\tB-x\n")).rows[0][0] == ["1", "2"]


def test_conllu_has_the_words_of_the_syntax_and_a_column_for_each_kind_of_tag(tmp_path: Path) -> None:
    table = read(write(tmp_path / "a.conllu", CONLLU))
    assert table.columns == ("tokens", "document", "upos", "xpos", "feats", "deprel")
    assert table.rows[0][:3] == [["Er", "geht", "zu", "dem", "Haus"], 1, ["PRON", "VERB", "ADP", "DET", "NOUN"]]
    assert table.rows[1] == [["#"], 2, ["SYM"], ["XY"], ["_"], ["root"]]
    assert table.notes == (
        "the file is CoNLL-U; data.label may name upos, xpos, feats, deprel",
        "left out 1 ranges of words, whose parts are read, and 1 empty nodes",
    )
    assert [place.rpartition(":")[2] for place in table.places] == ["4", "13"]


def test_conllu_plus_names_its_columns(tmp_path: Path) -> None:
    content = "# global.columns = ID FORM NER\n1\tEU\tB-ORG\n2\trejects\tO\n"
    table = read(write(tmp_path / "a.conllup", content))
    assert (table.columns, table.rows) == (("tokens", "document", "ner"), [[["EU", "rejects"], None, ["B-ORG", "O"]]])
    with pytest.raises(DataError, match=r"must name ID first, FORM, and each column once"):
        read(write(tmp_path / "a.conllup", "# global.columns = FORM NER\nEU\tO\n"))
    with pytest.raises(DataError, match=r"a.conllu:10: 2 columns that begin with 'x', where .* have 10, separated"):
        read(write(tmp_path / "a.conllu", CONLLU.replace("5.1\tsein\tsein\tAUX\t_\t_\t_\t_\t_\t_", "x\ty")))


@pytest.mark.parametrize(
    ("name", "content", "label", "tags"),
    [
        ("a.txt", CONLLU, None, ("ADP", "DET", "NOUN", "PRON", "SYM", "VERB")),
        ("a.conllu", CONLLU, "deprel", ("case", "det", "nsubj", "obl", "root")),
        ("a.tsv", GERMEVAL, "column_4", ("O", "B-LOC")),
        ("a.txt", "the\tDT\ndog\tNN\n\nit\tPRP\n", None, ("DT", "NN", "PRP")),
    ],
)
def test_the_task_reads_tags_from_the_usual_column_or_the_one_named(
    tmp_path: Path, name: str, content: str, label: str | None, tags: tuple[str, ...]
) -> None:
    path = write(tmp_path / name, content)
    reading = TokenClassification.read(read(path), DataSettings(source=str(path), label=label), metric=None)
    assert TokenClassification.label_names(reading.rows, source="a") == tags


def test_plain_text_is_no_data_for_tags_and_tags_are_none_for_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "EU rejects the call of Germany\nIt rains in Oslo and London\n")
    settings = DataSettings(source=str(path))
    with pytest.raises(DataError, match=r"a.txt:1: 6 columns, and 2 to 4 are read, the first of which is the word"):
        TokenClassification.read(read(path), settings, metric=None)
    write(path, BIO)
    with pytest.raises(DataError, match=r"holds lists of words, and no labels for them; write 'task: token_class"):
        TextClassification.read(read(path), settings, metric=None)


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
