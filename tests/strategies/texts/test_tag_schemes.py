from __future__ import annotations

import warnings
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autoopt.strategies.texts.tag_schemes import Entity, TagScheme

TYPES = ("PER", "creative-work", "ЛИЦО")
SCHEMES = {
    "BIO": ["B", "I"],
    "IO": ["I"],
    "IOBES": ["B", "I", "E", "S"],
    "IOE": ["I", "E"],
}
TO_IOBES = {"L": "E", "U": "S"}


def labels_of(prefixes: Sequence[str], types: Sequence[str] = TYPES) -> list[str]:
    return ["O", *(f"{prefix}-{kind}" for prefix in prefixes for kind in types)]


def by_seqeval(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    from seqeval.metrics.sequence_labeling import get_entities

    return [(kind, start, last + 1) for kind, start, last in get_entities(list(tags))]


def found(scheme: TagScheme, tags: Sequence[str]) -> list[tuple[str, int, int]]:
    return [(entity.type, entity.start, entity.end) for entity in scheme.entities(tags)]


@pytest.mark.parametrize("prefixes", SCHEMES.values(), ids=SCHEMES)
@given(data=st.data())
def test_the_entities_are_those_of_seqeval_in_every_scheme(data: st.DataObject, prefixes: list[str]) -> None:
    labels = labels_of(prefixes)
    tags = data.draw(st.lists(st.sampled_from(labels), max_size=12))
    assert found(TagScheme.of(labels), tags) == by_seqeval(tags)


@given(tags=st.lists(st.sampled_from(["O", "B", "I"]), max_size=12))
def test_tags_without_a_type_are_entities_of_the_type_that_seqeval_gives_them(tags: list[str]) -> None:
    assert found(TagScheme.of(["O", "B", "I"]), tags) == by_seqeval(tags)


@given(tags=st.lists(st.sampled_from(labels_of("BILU")), max_size=12))
@example(tags=["B-PER", "L-PER", "U-PER", "L-PER", "I-PER"])
def test_bilou_means_what_iobes_means_with_other_letters(tags: list[str]) -> None:
    translated = [TO_IOBES.get(tag[0], tag[0]) + tag[1:] for tag in tags]
    assert found(TagScheme.of(labels_of("BILU")), tags) == by_seqeval(translated)


@given(tags=st.lists(st.sampled_from(["O", "PER", "LOC"]), max_size=12))
def test_adjacent_words_with_the_same_type_are_one_entity_where_tags_have_no_prefix(tags: list[str]) -> None:
    with_prefix = [tag if tag == "O" else f"I-{tag}" for tag in tags]
    assert found(TagScheme.of(["O", "LOC", "PER"]), tags) == by_seqeval(with_prefix)


@pytest.mark.parametrize(
    ("labels", "types"),
    [
        (["O", "B-PER", "I-PER"], ("PER",)),
        (["O", "B-PER"], ("PER",)),
        (["O", "B-PER", "S-LOC"], ("LOC", "PER")),
        (["O", "B-PER", "I-PER", "MISC"], ("MISC", "PER")),
        (["O", "B-cell", "T-cell"], ("B-cell", "T-cell")),
        (["O", "PER", "LOC"], ("LOC", "PER")),
        (["NOUN", "VERB"], ("NOUN", "VERB")),
        (["O", "B", "I"], ("_",)),
        (["0", "1", "2"], ("1", "2")),
        (["O", "0", "1"], ("0", "1")),
    ],
)
def test_the_scheme_is_read_from_the_labels(labels: list[str], types: tuple[str, ...]) -> None:
    assert TagScheme.of(labels).types == types


def test_of_numbers_without_names_0_is_no_entity() -> None:
    assert TagScheme.of(["0", "1", "2"]).entities(["0", "1", "1", "0", "2"]) == [Entity("1", 1, 3), Entity("2", 4, 5)]


def test_a_tag_without_a_prefix_among_others_goes_on_as_one_that_is_inside() -> None:
    scheme = TagScheme.of(["O", "B-PER", "I-PER", "MISC"])
    assert scheme.entities(["MISC", "MISC", "B-PER", "I-PER"]) == [Entity("MISC", 0, 2), Entity("PER", 2, 4)]


def test_seqeval_itself_warns_of_what_it_takes_for_no_tag() -> None:
    """Why the comparisons above keep to its own letters."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        by_seqeval(["L-PER"])
    assert "seems not to be NE tag" in str(caught[0].message)
