"""Files that hold their own digest: no flipped bit, cut or zeroed end is ever used as content."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoopt.strategies.errors import CorruptArtefact
from autoopt.strategies.system.checked_files import put_aside, read_json, verify_yaml, write_json, write_yaml

FIELDS = {
    "number": 3,
    "values": {"latency": 12.25, "quality": 0.5, "10": 1, "2": None},
    "reason": "ü \u2028",
    "list": [1, 2],
}


def damaged(content: bytes, *, seed: int = 0) -> Iterator[bytes]:
    """Yield 300 flipped bits, 50 cuts, 50 zeroed ends and an empty file."""
    chance = random.Random(seed)
    for _ in range(300):
        flipped = bytearray(content)
        flipped[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        yield bytes(flipped)
    for _ in range(50):
        yield content[: chance.randrange(len(content) - 1)]
    for _ in range(50):
        length = chance.randrange(2, len(content))
        yield content[:-length] + bytes(length)
    yield b""


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", FIELDS, indent=1)
    assert read_json(tmp_path / "a.json") == FIELDS
    assert set(json.loads((tmp_path / "a.json").read_text())) == {*FIELDS, "sha256"}


def test_keys_that_are_numbers_do_not_break_the_digest(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"by_number": {2: "b", 10: "j"}})
    assert read_json(tmp_path / "a.json") == {"by_number": {"2": "b", "10": "j"}}


def test_no_damaged_json_is_read_as_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, FIELDS)
    intact, refused = path.read_bytes(), 0
    for content in damaged(intact):
        path.write_bytes(content)
        try:
            # A bit flipped in the name of the digest's own key leaves the content as it was.
            assert {key: value for key, value in read_json(path).items() if key in FIELDS} == FIELDS
        except CorruptArtefact:
            refused += 1
    assert refused >= 380


@pytest.mark.parametrize("content", [b"", b"\0" * 40, b"[]", b"{}", b"{", b'"text"', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_object_is_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(CorruptArtefact, match=r"a\.json is damaged"):
        read_json(path)


def test_a_file_of_an_earlier_version_has_no_digest_and_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(FIELDS))
    assert read_json(path) == FIELDS
    path.write_text("study: news\n")
    verify_yaml(path)


def test_no_damaged_yaml_passes(tmp_path: Path) -> None:
    path, text = tmp_path / "a.yaml", "study: news\nbudget: [size <= 10MB]\n# a comment\n"
    write_yaml(path, text)
    verify_yaml(path)
    intact = path.read_bytes()
    assert intact.decode().endswith(text)
    passed = []
    for content in damaged(intact):
        path.write_bytes(content)
        try:
            verify_yaml(path)
            passed.append(content)
        except CorruptArtefact:
            pass
    # Cut within the first words, when nothing is left that could be taken for an experiment.
    assert all(intact.startswith(content) and len(content) < 30 for content in passed)
    assert len(passed) < 10


def test_a_damaged_file_put_aside_counts_as_absent(tmp_path: Path) -> None:
    path = tmp_path / "front.json"
    for content in ("first", "second"):
        path.write_text(content)
        assert put_aside(path) == tmp_path / "front.json.broken"
        assert not path.exists()
        assert (tmp_path / "front.json.broken").read_text() == content
