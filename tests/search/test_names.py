from __future__ import annotations

import pytest

from autoopt.search.names import ModelReference, check_name
from autoopt.strategies.errors import UsageError

UNSAFE = [
    "",
    ".",
    "..",
    "../x",
    "/abs",
    "..\\x",
    "a b",
    "x'; drop table runs;--",
    "%2e%2e",
    "a\nb",
    "a\0",
    "ä",
    "x" * 129,
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bbc-news@champion", ModelReference("bbc-news", alias="champion")),
        ("bbc-news@fastest", ModelReference("bbc-news", alias="fastest")),
        ("bbc-news", ModelReference("bbc-news", alias="champion")),
        ("bbc-news/3", ModelReference("bbc-news", version=3)),
    ],
)
def test_a_model_is_written_in_three_ways(text: str, expected: ModelReference) -> None:
    assert ModelReference.parse(text) == expected


@pytest.mark.parametrize("name", UNSAFE)
def test_a_name_that_could_leave_a_path_or_a_query_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not a valid study name: use 1 to 128 letters"):
        check_name(name, "study")
    with pytest.raises(UsageError, match=r"is not a valid \w+ name|is not a version"):
        ModelReference.parse(name)
    with pytest.raises(UsageError, match="is not a valid alias name"):
        ModelReference.parse(f"model@{name}")


@pytest.mark.parametrize(
    "text", ["model/", "model/..", "model/../x", "model/1/2", "model/-1", "model/champion", "a/b@c"]
)
def test_what_follows_the_slash_is_a_version_number(text: str) -> None:
    with pytest.raises(UsageError, match=r"write name@alias, or name/3|is not a valid \w+ name"):
        ModelReference.parse(text)
