from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.search.experiment.yaml_file import dump_yaml, parse_scalar, parse_yaml, read_yaml
from autoopt.strategies.errors import ExperimentError

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12) | st.sampled_from(
    [
        "no",
        "yes",
        "on",
        "off",
        "1e-4",
        "010",
        "12:30:45",
        "null",
        "~",
        "true",
        "True",
        "0x1f",
        "1_000",
        "-",
        "a: b",
        "*x",
    ]
)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1e-4", 1e-4),
        ("2E+3", 2000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-0.25", -0.25),
        ("12", 12),
        ("-3", -3),
        ("0", 0),
        ("true", True),
        ("false", False),
        ("null", None),
        ("", None),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("True", "True"),
        ("~", "~"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        (".", "."),
        ("e5", "e5"),
        (".inf", ".inf"),
        ("1.2.3", "1.2.3"),
        ("12ms", "12ms"),
    ],
)
def test_a_plain_word_means_what_a_reader_expects(word: str, value: object) -> None:
    parsed = parse_yaml(f"key: {word}", source="x").data["key"]
    assert parsed == value
    assert type(parsed) is type(value)
    assert type(parse_scalar(word)) is type(value)
    assert parse_yaml(dump_yaml({"key": word}), source="x").data["key"] == word
    if word:
        assert parse_yaml(f"key: '{word}'", source="x").data["key"] == word


@given(PLAIN)
def test_what_is_dumped_is_parsed_back(data: object) -> None:
    parsed = parse_yaml(dump_yaml(data), source="x").data
    assert parsed == data
    assert repr(parsed) == repr(data)


def test_every_key_knows_its_line() -> None:
    document = parse_yaml("a: 1\nb:\n  c: 2\n  d: [3, 4]\n", source="x.yaml")
    assert document.place(("b", "d")) == "x.yaml:4"
    assert document.place(("b", "d", 1)) == "x.yaml:4"
    assert document.place(("b", "nothing", "here")) == "x.yaml:2"
    assert document.place(("nowhere",)) == "x.yaml:1"
    assert document.positions[("b", "d", 1)] == (4, 10)


def test_aliases_are_written_out_and_byte_order_marks_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes("\ufeffa: &x [1, 2]\nb: *x\n".encode())
    assert read_yaml(path).data == {"a": [1, 2], "b": [1, 2]}


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", r"x.yaml:3:1: the key 'a' is already in line 1; keep one of them"),
        ("a:\n  b: 1\n  b: 2\n", r"x.yaml:3:3: the key 'b' is already in line 2"),
        (
            "a: !!python/object/apply:os.system ['true']\n",
            r"x.yaml:1:4: the tag '!!python/object/apply:os.system' is refused",
        ),
        ("a: !!int '3'\n", r"x.yaml:1:4: the tag '!!int' is refused: .*; remove it"),
        ("a: !mine 3\n", r"the tag '!mine' is refused"),
        ("!!set {a, b}\n", r"x.yaml:1:1: the tag '!!set' is refused"),
        ("a: [1, 2\nb: 3\n", r"x.yaml:2:\d+: .*check the indentation, and quote texts"),
        ("a: b: c\n", r"x.yaml:1:5: mapping values are not allowed here; .*quote texts that contain ': '"),
        ("a:\n\t- b\n", r"x.yaml:2:1: .*indent with spaces, not with tabs"),
        ("a: *nothing\n", r"x.yaml:1:4: found undefined alias 'nothing'; quote a text that begins with '\*'"),
        ("a: 1\n---\nb: 2\n", r"x.yaml:2:1: a second document begins here"),
        ("? [a]\n: 1\n", r"x.yaml:1:3: a key must be plain text"),
        ("a: &a [*a]\n", r"x.yaml:1:\d+: nested deeper than 32 levels, or an alias that contains itself"),
        ("[" * 40 + "]" * 40, r"x.yaml:1: nested deeper than 32 levels; an experiment file is smaller"),
        ("[" * 5000, r"x.yaml:1: nested deeper than 32 levels"),
        ("a: [" + "1, " * 10_000 + "]", r"more than 10,000 values; an experiment file is smaller"),
        (LAUGHS, r"x.yaml:\d+:\d+: more than 10,000 values once every alias is written out; use fewer aliases"),
        ("a: \x07\n", r"x.yaml:1: .*remove it"),
    ],
)
def test_yaml_that_is_unsafe_or_unclear_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        parse_yaml(text, source="x.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1\nb: caf\xe9\n".encode("latin-1"), r"a.yaml:2: byte 11 \(0xe9\) is not UTF-8; save the file as UTF-8"),
        ("a: 1\n".encode("utf-16"), r"a.yaml:1: byte 0 \(0xff\) is not UTF-8"),
        (b"#" * 256_001, r"a.yaml is larger than 256,000 bytes, which no experiment file is"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(ExperimentError, match=message):
        read_yaml(tmp_path / "a.yaml")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"a.yaml cannot be read: No such file or directory"):
        read_yaml(tmp_path / "a.yaml")
