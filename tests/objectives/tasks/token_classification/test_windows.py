from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from autoopt.objectives.tasks.token_classification.task import TokenClassification
from autoopt.objectives.tasks.token_classification.windows import (
    overlapping_ranges,
    ranges_with_most_context,
    word_windows,
)
from autoopt.strategies.candidate import Example
from autoopt.strategies.training.batches import IGNORED_LABEL
from tests import tiny

TASK = TokenClassification(labels=("O", "B-firm", "B-team", "I-firm", "I-team"), max_length=16)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=60), st.integers(8, 20))
def test_windows_hold_all_words_within_their_room_and_each_is_answered_where_it_has_most_context(
    lengths: list[int], room: int
) -> None:
    windows = overlapping_ranges(lengths, room)
    owners = ranges_with_most_context(lengths, windows)
    assert set().union(*windows) == set(range(len(lengths)))
    assert all(sum(lengths[word] for word in words) <= room for words in windows)
    assert all(first.start < second.start and first.stop < second.stop for first, second in pairwise(windows))

    def context(word: int, words: range) -> int:
        return min(sum(lengths[words.start : word]), sum(lengths[word + 1 : words.stop]))

    for word, owner in enumerate(owners):
        assert word in windows[owner]
        assert context(word, windows[owner]) == max(context(word, words) for words in windows if word in words)


def test_words_at_a_cut_have_neighbours_on_both_sides() -> None:
    lengths = [1] * 300
    windows = overlapping_ranges(lengths, 30)
    assert {len(words) for words in windows} == {30}  # The last one is no rest of a few words.
    owners = ranges_with_most_context(lengths, windows)
    for word in range(3, 297):
        words = windows[owners[word]]
        assert min(word - words.start, words.stop - 1 - word) >= 3


def test_a_word_has_its_class_at_its_first_token_and_one_without_a_token_has_none() -> None:
    tokenizer = tiny.candidate().tokenizer
    (item,) = TASK.encode([Example("\x07 chelseas \u200b  cup", (0, 2, 0, 0, 1))], tokenizer)
    assert tokenizer.convert_ids_to_tokens(item["input_ids"]) == ["[CLS]", "chelsea", "##s", "cup", "[SEP]"]
    assert item["labels"] == [IGNORED_LABEL, 2, IGNORED_LABEL, 1, IGNORED_LABEL]
    (bare,) = TASK.encode([Example("\x07 chelseas \u200b  cup")], tokenizer)
    assert bare == {name: value for name, value in item.items() if name != "labels"}


def test_a_labelled_sentence_without_a_token_is_no_training_example() -> None:
    """Its loss would be 0 / 0, and the training diverge."""
    tokenizer = tiny.candidate().tokenizer
    assert TASK.encode([Example("\x07", (0,))], tokenizer) == []
    assert len(TASK.encode([Example("\x07")], tokenizer)) == 1
    assert TASK.encode([], tokenizer) == []


def test_a_long_sentence_is_learned_in_windows_each_word_once() -> None:
    words = ["chelseas", "won", "the"] * 20
    label = tuple(number % 5 for number in range(60))
    features = TASK.encode([Example("cup", (1,)), Example(" ".join(words), label)], tiny.candidate().tokenizer)
    assert all(len(item["input_ids"]) <= TASK.max_length for item in features)
    learned = [number for item in features[1:] for number in item["labels"] if number != IGNORED_LABEL]
    assert learned == list(label)


def test_a_word_longer_than_a_window_is_answered_by_its_first_token() -> None:
    long = "chelsea" + "s" * 40
    (alone,) = word_windows([["won", long, "cup"]], tiny.candidate().tokenizer, max_length=50)
    windows = word_windows([["won", long, "cup"]], tiny.candidate().tokenizer, max_length=8)
    assert [list(window.tokens) for window in windows] == [[0], [1], [2]]
    assert all(len(window.features["input_ids"]) <= 8 for window in windows)
    assert windows[1].features["input_ids"][1] == alone.features["input_ids"][2]


def test_a_tokenizer_that_reads_the_blank_before_a_word_is_given_it() -> None:
    from transformers import RobertaTokenizer

    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "a", "b", "Ġ", "Ġa"]
    tokenizer = RobertaTokenizer(vocab={word: i for i, word in enumerate(vocabulary)}, merges=[("Ġ", "a")])  # type: ignore[list-item]
    (window,) = word_windows([["a", "b", "a"]], tokenizer, max_length=16)
    assert window.features["input_ids"] == tokenizer("a b a")["input_ids"]
    assert window.tokens == {0: 1, 1: 2, 2: 4}
