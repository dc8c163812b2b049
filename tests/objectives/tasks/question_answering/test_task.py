"""Question answering: SQuAD's scores, windows on long contexts, the best answer, and when there is none."""

from __future__ import annotations

import json
import random
import re
import string
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from transformers.modeling_outputs import QuestionAnsweringModelOutput

from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.tasks import open_task
from autoopt.objectives.tasks.question_answering.scoring import best_threshold, normalize, outcome
from autoopt.objectives.tasks.question_answering.spans import Answer
from autoopt.objectives.tasks.question_answering.task import QuestionAnswering
from autoopt.objectives.tasks.question_answering.windows import context_windows
from autoopt.strategies import saving
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.candidate import Candidate, Example, Span
from autoopt.strategies.catalog import catalog
from autoopt.strategies.errors import Diverged, ModelError, UsageError
from autoopt.strategies.model_needs import MODEL_NEEDS
from autoopt.strategies.strategy import Family, Strategy
from tests import tiny

KEYS, WORDS = tiny.TOPIC_WORDS
TOKENIZER = tiny.candidate().tokenizer
TASK = QuestionAnswering(max_length=24)
OPEN = replace(TASK, unanswerable=True)
MET = (
    QuestionAnswering.facts([])
    | QuestionAnswering.head.facts
    | {"unlabeled", "cpu", "teacher", "cut", "layers"}
    | MODEL_NEEDS.keys() - {"causal"}
)


def asked(question: str, context: str, *answers: str) -> Example:
    return Example(question, tuple(Span(text, context.index(text)) for text in answers), context)


def toys(count: int, seed: int) -> tuple[Example, ...]:
    """The question is a word of the context, and the answer is the word after it."""
    chance = random.Random(seed)
    examples = []
    for _ in range(count):
        words = chance.sample(WORDS, chance.randint(3, 6))
        place, key = chance.randrange(len(words)), chance.choice(KEYS)
        before = " ".join([*words[:place], key, ""])
        examples.append(Example(key, (Span(words[place], len(before)),), before + " ".join(words[place:])))
    return tuple(examples)


# The scores


def reference_scores(answer: str, golds: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1 by the published rules of SQuAD 2.0, step by step."""

    def tokens(text: str) -> list[str]:
        lowered = text.lower()
        without_marks = "".join(character for character in lowered if character not in set(string.punctuation))
        without_articles = re.sub(r"\b(a|an|the)\b", " ", without_marks)
        return without_articles.split()

    def f1_of(predicted: list[str], reference: list[str]) -> float:
        if len(predicted) == 0 or len(reference) == 0:
            return 1.0 if predicted == reference else 0.0
        remaining, shared = list(reference), 0
        for token in predicted:
            if token in remaining:
                remaining.remove(token)
                shared += 1
        if shared == 0:
            return 0.0
        precision, recall = shared / len(predicted), shared / len(reference)
        return 2 * precision * recall / (precision + recall)

    references = [gold for gold in golds if tokens(gold)] or [""]
    exact = max(1.0 if tokens(answer) == tokens(gold) else 0.0 for gold in references)
    return exact, max(f1_of(tokens(answer), tokens(gold)) for gold in references)


PIECES = (
    *("the", "The", "a", "an", "AN", "theatre", "another", "a.", "the-end", "U.S.", "don't", "dont", "1,000", "1000"),
    *(
        "Zürich",
        "zürich",
        "ZÜRICH",
        "ﬁne",
        "“quoted”",
        '"quoted"',
        "—",
        "...",
        "",
        " ",
        "\t",
        "cat",
        "cat",
        "Cat",
        "😀",
    ),
    *("$5", "5", "co-op", "coop", "İ", "ß", "SS", "\u00a0", "a\u00a0cat", "l’homme", "l'homme"),
)
NASTY: tuple[tuple[str, tuple[str, ...]], ...] = (
    *(
        (answer, golds)
        for golds in ((), ("",), ("the",), ("cat",), ("the", "cat"))
        for answer in ("", "the", "cat", " ")
    ),
    *(("the cat", golds) for golds in (("cat",), ("The Cat.",), ("a cat sat",), ("dog", "cat"), ("dog", "cat sat"))),
    *(("cat cat cat", golds) for golds in (("cat",), ("cat cat",), ("cat dog cat dog cat",), ("cat", "cat cat cat"))),
    *(("cat", golds) for golds in (("cat cat",), ("cat cat cat", "dog"), ("cats",), ("Cat's",), ("'cat'",))),
    *(("U.S.", golds) for golds in (("US",), ("U. S.",), ("the U.S.",), ("us",), ("USA", "U.S.A."))),
    *(("a—b", golds) for golds in (("a b",), ("ab",), ("—b",), ("a-b",), ("a—b",))),
    *(("“Zürich”", golds) for golds in (("Zürich",), ("“zürich”",), ("ZÜRICH",), ("Zurich",))),
    *(("!!!", golds) for golds in ((), ("!!!",), ("cat!!!",), ("...",))),
    *(("1,000", golds) for golds in (("1000",), ("1.000",), ("1 000",), ("one thousand", "1000 people"))),
    *(("A-the-B an", golds) for golds in (("atheb",), ("a the b",), ("A-the-B",), ("B",))),
    *((answer, ("a an the",)) for answer in ("", "the", "a b", "—")),
)


@pytest.mark.parametrize(("answer", "golds"), NASTY)
def test_nasty_answers_score_as_the_rules_of_squad_say(answer: str, golds: tuple[str, ...]) -> None:
    exact, f1, has_answer = outcome(answer, [Span(gold, 0) for gold in golds])
    assert (exact, f1) == pytest.approx(reference_scores(answer, golds))
    assert has_answer == (len(golds) > 0)


def test_random_answers_score_as_the_rules_of_squad_say() -> None:
    chance = random.Random(0)

    def text() -> str:
        return " ".join(chance.choices(PIECES, k=chance.randint(0, 5)))

    cases = [(text(), [text() for _ in range(chance.randint(0, 4))]) for _ in range(200)]
    examples = [Example("?", tuple(Span(gold, 0) for gold in golds), "?") for _, golds in cases]
    rows = OPEN.outcomes(examples, [answer for answer, _ in cases])
    expected = np.array([reference_scores(answer, golds) for answer, golds in cases])
    assert rows[:, :2] == pytest.approx(expected)
    assert 0.05 < expected[:, 0].mean() < expected[:, 1].mean() < 0.95
    scores = OPEN.judge(rows)
    assert scores["exact_match"].value == pytest.approx(expected[:, 0].mean())
    assert scores["quality"].value == scores["f1"].value == pytest.approx(expected[:, 1].mean())


def test_articles_go_only_as_whole_words_and_only_ascii_marks_go() -> None:
    assert normalize("The theatre, an  a-b «Zoo»!") == "theatre ab «zoo»"
    assert normalize("a\u00a0cat") == "cat"


def test_questions_with_and_without_an_answer_are_scored_apart() -> None:
    examples = [
        asked("?", "red cat", "red cat"),
        asked("?", "dog", "dog"),
        Example("?", (), "x"),
        Example("?", (), "y"),
    ]
    scores = OPEN.judge(OPEN.outcomes(examples, ["cat", "", "", "y"]))
    assert {name: round(item.value, 3) for name, item in scores.items()} == {
        "quality": 0.417,
        "f1": 0.417,
        "exact_match": 0.25,
        "has_answer_f1": 0.333,
        "no_answer_accuracy": 0.5,
    }
    alone = OPEN.judge(OPEN.outcomes(examples[:1], ["red cat"]))
    assert (alone["no_answer_accuracy"].value, alone["has_answer_f1"].value) == (0, 1)
    assert set(TASK.statistics) == {"f1", "exact_match"}


@given(
    st.lists(
        st.tuples(st.integers(-4, 4), st.sampled_from([0, 0.25, 1]), st.sampled_from([0, 1])), min_size=1, max_size=12
    )
)
def test_the_threshold_is_as_good_as_the_best_of_all(rows: list[tuple[int, float, int]]) -> None:
    margins, answer_f1s, no_answer_f1s = (list(column) for column in zip(*rows, strict=True))

    def total(limit: float) -> float:
        return sum(none if margin > limit else f1 for margin, f1, none in rows)

    threshold = best_threshold(margins, answer_f1s, no_answer_f1s)
    best = max(total(place / 2) for place in range(-11, 12))
    assert total(threshold) == pytest.approx(best)
    assert total(0.0) < best or threshold == 0.0
    assert total(threshold - 0.4) == total(threshold) or threshold == 0.0  # In the middle, not at the edge.


def test_where_no_model_has_a_piece_to_offer_the_threshold_is_0() -> None:
    assert best_threshold([float("inf")] * 3, [0, 0, 0], [0, 1, 1]) == 0


# Windows


def test_every_window_fits_and_each_token_of_the_context_is_in_one() -> None:
    candidate = tiny.candidate()
    context = " ".join(random.Random(0).choices(WORDS, k=60))
    windows = list(
        context_windows([Example("shares profit", text_pair=context)], candidate.tokenizer, max_length=24, stride=5)
    )
    assert len(windows) > 2
    assert max(len(window.features["input_ids"]) for window in windows) == 24
    assert {offset for window in windows for offset in window.offsets} == {
        (match.start(), match.end()) for match in re.finditer(r"\w+", context)
    }
    for first, second in pairwise(windows):
        assert first.offsets[-5:] == second.offsets[:5]


@pytest.mark.parametrize("words", [1, 9, 200])
@pytest.mark.parametrize("length", [8, 9, 16, 24])
@pytest.mark.parametrize("stride", [0, 3, 1000])
def test_any_question_leaves_room_for_its_context(words: int, length: int, stride: int) -> None:
    candidate = tiny.candidate()
    question, context = " ".join(["goals"] * words), " ".join(WORDS[:6])
    task = replace(TASK, max_length=length, stride=stride)
    features = task.encode([Example(question, text_pair=context)] * 2, candidate.tokenizer)
    tokens = {token for item in features for token in item["input_ids"]}
    assert set(map(tiny.VOCABULARY.index, WORDS[:6])) <= tokens
    assert max(len(item["input_ids"]) for item in features) <= length


TEXT = st.lists(
    st.sampled_from([*WORDS, "goals", "won,", "(cup)", "Zoë", "😀", "\u200b", "日本"]), min_size=1, max_size=30
)


@given(TEXT, st.data())
def test_positions_are_those_of_the_answer_in_each_window_that_has_all_of_it(
    words: list[str], data: st.DataObject
) -> None:
    context = data.draw(st.sampled_from(["  ", " ", "\n\t"])).join(words)
    parts = list(re.finditer(r"\w+|[^\w\s]", context))
    first = data.draw(st.integers(0, len(parts) - 1))
    last = data.draw(st.integers(first, min(first + 3, len(parts) - 1)))
    begin, end = parts[first].start(), parts[last].end()
    assume("\u200b" not in context[begin:end])  # Tokenizers leave it out.
    span = Span(context[begin:end], begin)
    windows = list(context_windows([Example("goal", (span,), context)], TOKENIZER, max_length=24, stride=8))
    has_any = False
    for window in windows:
        first_token, last_token = window.positions([span]).values()
        has_any |= first_token != window.null
        if first_token != window.null:
            assert window.offsets[first_token - window.first][0] == begin
            assert window.offsets[last_token - window.first][1] == end
        else:
            assert begin < window.offsets[0][0] or end > window.offsets[-1][1]
    assert has_any


def test_what_is_right_is_given_to_windows_only_where_a_label_is() -> None:
    candidate = tiny.candidate()
    context = " ".join([*WORDS, *WORDS])
    example = Example("goal", (Span(WORDS[-1], len(context) - len(WORDS[-1])), Span(WORDS[0], 0)), context)
    features = replace(TASK, max_length=12).encode([example], candidate.tokenizer)
    assert [item["start_positions"] > 0 for item in features] == [False] * (len(features) - 1) + [True]
    last = features[-1]
    answer = last["input_ids"][last["start_positions"] : last["end_positions"] + 1]
    assert answer == candidate.tokenizer.convert_tokens_to_ids([WORDS[-1]])
    (none,) = TASK.encode([replace(example, label=(), text_pair="goal")], candidate.tokenizer)
    assert (none["start_positions"], none["end_positions"]) == (0, 0)
    (unknown,) = TASK.encode([replace(example, label=None, text_pair="goal")], candidate.tokenizer)
    assert set(unknown) == {"input_ids", "token_type_ids", "attention_mask"}


def test_of_many_examples_each_window_knows_its_own() -> None:
    examples = [Example(WORDS[0], text_pair=" ".join([WORDS[number % 8]] * (1 + number % 30))) for number in range(600)]
    windows = list(context_windows(examples, TOKENIZER, max_length=16, stride=4))
    assert [window.example for window in windows] == sorted(window.example for window in windows)
    assert {window.example for window in windows} == set(range(600))
    for window in windows:
        own = TOKENIZER.vocab[WORDS[window.example % 8]]
        assert set(window.features["input_ids"][window.first : window.first + len(window.offsets)]) == {own}


def test_a_text_alone_is_one_window_cut_and_a_mixture_is_refused() -> None:
    candidate = tiny.candidate()
    (alone,) = TASK.encode([Example(" ".join(WORDS * 9))], candidate.tokenizer)
    assert len(alone["input_ids"]) == 24
    assert set(alone) == {"input_ids", "token_type_ids", "attention_mask"}
    with pytest.raises(UsageError, match="some of these questions have a context and some have none"):
        TASK.encode([Example("a"), Example("a", text_pair="b")], candidate.tokenizer)
    assert TASK.encode([], candidate.tokenizer) == []


def test_a_tokenizer_without_places_is_refused() -> None:
    slow: Any = SimpleNamespace(is_fast=False)
    with pytest.raises(ModelError, match="does not say where its tokens stand in the text"):
        TASK.encode([Example("a", text_pair="b")], slow)


# Answers


class Pointing(torch.nn.Module):
    """A model whose logits for a token are what ``start`` and ``end`` say of its word; 0 for all others."""

    def __init__(self, start: dict[str, float], end: dict[str, float]) -> None:
        super().__init__()
        self.device = torch.device("cpu")
        self.tables = torch.zeros(2, len(tiny.VOCABULARY))
        for table, values in zip(self.tables, (start, end), strict=True):
            for word, value in values.items():
                table[tiny.VOCABULARY.index(word)] = value

    def forward(self, input_ids: torch.Tensor, **_: Any) -> QuestionAnsweringModelOutput:
        return QuestionAnsweringModelOutput(
            start_logits=self.tables[0][input_ids], end_logits=self.tables[1][input_ids]
        )


def pointing(start: dict[str, float], end: dict[str, float] | None = None, task: QuestionAnswering = TASK) -> Candidate:
    model: Any = Pointing(start, start if end is None else end)
    return replace(tiny.candidate(), model=model, task=task)


def best(candidate: Candidate, *pairs: tuple[str, str]) -> list[Answer]:
    task = candidate.task
    assert isinstance(task, QuestionAnswering)
    return task.answer(candidate, [Example(question, text_pair=context) for question, context in pairs])


def test_an_answer_in_the_last_window_of_a_long_context_is_found() -> None:
    long = " ".join([*["the match today"] * 40, "chelsea won", "said"])
    short, far = best(pointing({"won": 5.0}), ("goal", "chelsea won today"), ("goal", long))
    assert (short.text, short.start, short.score) == ("won", 8, 10.0)
    assert (far.text, far.start, far.score) == ("won", long.index("won"), 10.0)
    assert far.start > 600


def test_the_question_and_the_marks_are_never_an_answer() -> None:
    (answer,) = best(pointing({"goal": 9.0, "[SEP]": 9.0, "won": 1.0}), ("goal goal", "chelsea won today"))
    assert answer.text == "won"


def test_of_equal_pieces_the_first_and_the_shortest_is_the_answer() -> None:
    long = " ".join(["market"] * 50)
    answers = best(pointing({}), ("goal", "chelsea won today"), ("goal", long))
    assert [(answer.text, answer.start) for answer in answers] == [("chelsea", 0), ("market", 0)]
    (again,) = best(pointing({"won": 3.0}), ("goal", "today won today won"))
    assert (again.text, again.start) == ("won", 6)


def test_an_answer_ends_where_it_starts_or_later_and_is_not_too_long() -> None:
    model = {"cup": 5.0}, {"won": 5.0}
    context = "won the cup today sharply won"
    for tokens, text in [(4, "cup today sharply won"), (3, "cup"), (1, "cup")]:
        task = replace(TASK, max_answer_tokens=tokens)
        (answer,) = best(pointing(*model, task=task), ("goal", context))
        assert answer.text == text if tokens == 4 else len(answer.text.split()) <= tokens
        assert answer.score == (10.0 if tokens == 4 else 5.0)


@pytest.mark.parametrize("before", ["", "Zoë ", "😀😀 日本 ", "e\u0301\u200b ", "ﬁ\u00a0", "\r\n\t"])
def test_starts_count_characters_whatever_stands_before(before: str) -> None:
    context = f"{before}Won, the cup"
    (answer,) = best(pointing({"won": 5.0}), ("goal", context))
    assert (answer.text, answer.start) == ("Won", len(before))
    assert context[answer.start :].startswith(answer.text)


def test_a_piece_counts_as_in_the_window_where_it_does_best() -> None:
    """Two windows share ``won``: with ``cup`` before it is likelier, with ``bank`` behind it less."""

    class Seeing(Pointing):
        def forward(self, input_ids: torch.Tensor, **more: Any) -> QuestionAnsweringModelOutput:
            output = super().forward(input_ids, **more)
            has_cup = (input_ids == tiny.VOCABULARY.index("cup")).any(dim=1, keepdim=True)
            for logits in (output.start_logits, output.end_logits):
                assert logits is not None
                logits *= 1 + has_cup
            return output

    model: Any = Seeing({"won": 3.0, "bank": 4.0}, {"won": 3.0, "bank": 4.0})
    task = replace(TASK, max_length=9, stride=2)
    for context in ("cup the said won today bank the", "bank the said won today cup the"):
        assert len(task.encode([Example("goal", text_pair=context)], TOKENIZER)) > 1
        (answer,) = best(replace(pointing({}, task=task), model=model), ("goal", context))
        assert (answer.text, answer.score) == ("won", 12.0)


def test_a_tokenizer_of_bytes_gives_whole_characters_and_no_blanks() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    bytes_alone = Tokenizer(models.BPE(vocab=letters, merges=[]))
    bytes_alone.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_alone.decoder = decoders.ByteLevel()
    fast: Any = PreTrainedTokenizerFast
    tokenizer = fast(tokenizer_object=bytes_alone, pad_token="!")  # noqa: S106

    class Blanks(torch.nn.Module):
        """Likes a blank best, and after it the second byte of a letter."""

        device = torch.device("cpu")

        def forward(self, input_ids: torch.Tensor, **_: Any) -> QuestionAnsweringModelOutput:
            logits = 3.0 * (input_ids == letters["Ġ"]) + 2.0 * (input_ids == letters["©"])
            return QuestionAnsweringModelOutput(start_logits=logits, end_logits=logits)

    model: Any = Blanks()
    task = replace(TASK, max_length=12)
    candidate = replace(tiny.candidate(), model=model, tokenizer=tokenizer, task=task)
    blank, letter = best(candidate, ("ab cé", " \u00a0  "), ("ab cé", "abcdefghijkl é"))
    assert blank.text == ""
    assert (letter.text, letter.start) == ("é", 13)


def test_no_answer_is_judged_by_its_least_score_over_the_windows() -> None:
    """The first token sees the context: of two windows the one with the answer gives it a low score."""

    class Seeing(Pointing):
        def forward(self, input_ids: torch.Tensor, **more: Any) -> QuestionAnsweringModelOutput:
            output = super().forward(input_ids, **more)
            has_won = (input_ids == tiny.VOCABULARY.index("won")).any(dim=1)
            for logits in (output.start_logits, output.end_logits):
                assert logits is not None
                logits[:, 0] = torch.where(has_won, 0.5, 9.0)
            return output

    model: Any = Seeing({"won": 8.0}, {"won": 8.0})
    candidate = replace(pointing({}, task=OPEN), model=model)
    long = " ".join(["the match today"] * 20)
    answered, unanswered, short = best(candidate, ("goal", f"{long} won"), ("goal", long), ("goal", "won"))
    assert (answered.text, answered.null_score, answered.score) == ("won", 1.0, 16.0)
    assert (unanswered.text, unanswered.start, unanswered.null_score) == ("", 0, 18.0)
    assert short.null_margin == answered.null_margin == -15.0
    assert 0.9 < unanswered.probability == unanswered.null_probability
    assert answered.probability > 0.9 > 0.1 > answered.null_probability


def test_no_answer_is_given_only_where_the_data_has_questions_without_one() -> None:
    logits = {"[CLS]": 9.0}
    for task, text in [(OPEN, ""), (replace(OPEN, null_threshold=18.0), "won"), (TASK, "won")]:
        (answer,) = best(pointing(logits, task=task), ("goal", "won"))
        assert (answer.text, answer.null_score) == (text, 18.0)


def test_a_context_without_a_word_has_no_answer() -> None:
    for task in (TASK, OPEN):
        blank, answer = best(pointing({"won": 1.0}, task=task), ("goal", " "), ("goal", "won"))
        assert (blank.text, blank.start, blank.probability, answer.text) == ("", 0, 1.0, "won")


def test_logits_that_are_not_finite_are_not_answered() -> None:
    with pytest.raises(Diverged, match="output is not finite"):
        best(pointing({"won": float("nan")}), ("goal", "chelsea won"))


def test_the_threshold_is_tuned_on_validation_and_goes_with_the_model() -> None:
    candidate = pointing({"won": 2.0, "shares": 1.5, "bank": 1.0, "[CLS]": 2.5}, task=OPEN)
    examples = [asked("goal", "won", "won"), asked("goal", "shares", "shares"), Example("goal", (), "bank")]
    tuned = OPEN.tune(candidate, examples)
    assert isinstance(tuned.task, QuestionAnswering)
    assert tuned.task == replace(OPEN, null_threshold=2.5)  # Between doubts of 2 and of 3.
    assert OPEN.score(candidate, examples)["f1"].value == pytest.approx(1 / 3)
    assert tuned.task.score(tuned, examples)["f1"].value == 1
    assert tuned.history[-1] == "null threshold 2.5, chosen on 3 validation examples"
    assert TASK.tune(candidate, examples) is candidate
    assert OPEN.tune(candidate, []) is candidate
    assert open_task(json.loads(json.dumps(tuned.task.to_json()))) == tuned.task


def test_predictions_are_plain_data_with_their_place() -> None:
    candidate = pointing({"won": 5.0, "[CLS]": 1.0}, task=OPEN)
    pairs = [(" who? ", "chelsea won today"), ("who?", "market")]
    answered, unanswered = OPEN.predict(candidate, pairs)
    assert json.loads(json.dumps([answered, unanswered])) == [answered, unanswered]
    assert (answered["label"], answered["start"], answered["end"], answered["scores"]) == ("won", 8, 11, {})
    assert (unanswered["label"], unanswered["start"], unanswered["end"]) == ("", 0, 0)
    # "won" alone has 10, "chelsea won" and "won today" have 5, all others 0 but "no answer", which has 2.
    weights = torch.tensor([10.0, 5, 5, 0, 0, 0, 2]).exp()
    assert answered["score"] == pytest.approx(float(weights[0] / weights.sum()))
    assert unanswered["score"] == pytest.approx(float(torch.tensor(2.0).sigmoid()))
    assert OPEN.predict(candidate, []) == []


@pytest.mark.parametrize("texts", [["who?"], [("who?", "won"), "who?"]])
def test_a_question_without_its_context_cannot_be_answered(texts: list[str | tuple[str, str]]) -> None:
    with pytest.raises(UsageError, match=r"needs a question and the context .*--text QUESTION --text-pair CONTEXT"):
        TASK.predict(pointing({}), texts)
    with pytest.raises(UsageError, match="needs a context for each question"):
        TASK.answer(pointing({}), [Example("who?")])


# The task


def data(*examples: Example) -> TextData:
    return TextData(examples[:1], examples[1:], (), (), (), "f", ())


def test_questions_without_an_answer_are_noticed_in_the_data() -> None:
    answered, unanswered = asked("?", "won", "won"), Example("?", (), "won")
    assert not QuestionAnswering.of_data(data(answered, answered), max_length=16, metric=None).unanswerable
    task = QuestionAnswering.of_data(data(answered, unanswered), max_length=16, metric="no_answer_accuracy")
    assert task.unanswerable
    with pytest.raises(UsageError, match=r"task\.metric: 'has_answer_f1' is of questions without .* f1 or exact_match"):
        QuestionAnswering.of_data(data(answered, answered), max_length=16, metric="has_answer_f1")


def test_a_window_that_is_too_short_for_both_texts_is_refused() -> None:
    with pytest.raises(UsageError, match=r"data\.max_length is 7 tokens; raise it to 8 at least"):
        QuestionAnswering(max_length=7)


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("body") / "tiny"
    saving.save(tiny.candidate(layers=2), folder)
    return folder


@pytest.fixture(scope="module")
def untrained(body: Path) -> Candidate:
    opened = TASK.open_model(str(body), seed=0)
    return replace(
        opened, train=toys(24, seed=1), unlabeled=tuple(str(example.text_pair) for example in toys(24, seed=2))
    )


def test_the_word_after_the_one_asked_for_is_learned(tmp_path: Path) -> None:
    saving.save(tiny.candidate(layers=1), tmp_path / "body")
    opened = replace(TASK.open_model(str(tmp_path / "body"), seed=0), train=toys(200, seed=1))
    learned = FullFinetuning(learning_rate=8e-3, epochs=12).apply(opened, effort=1, seed=0)
    before, after = (TASK.score(candidate, toys(60, seed=5))["f1"].value for candidate in (opened, learned))
    assert before < 0.4
    assert after > 0.7
    saving.save(learned, tmp_path / "saved")
    loaded = saving.load(tmp_path / "saved", open_task=open_task)
    assert loaded.task == TASK
    assert TASK.answer(loaded, toys(30, seed=3)) == TASK.answer(learned, toys(30, seed=3))


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param(s, id=name, marks=[pytest.mark.slow] * bool(s.packages))
        for name, s in catalog().items()
        if s.needs <= MET
    ],
)
def test_every_strategy_whose_needs_are_met_works_on_questions(
    strategy: type[Strategy], untrained: Candidate, body: Path, tmp_path: Path
) -> None:
    candidate = replace(untrained, teacher=TASK.open_model(str(body), seed=1).model)
    result = strategy().apply(candidate, effort=0.3, seed=0)
    before, after = (TASK.answer(each, toys(30, seed=3)) for each in (untrained, result))
    for answer, example in zip(after, toys(30, seed=3), strict=True):
        assert str(example.text_pair).startswith(answer.text, answer.start)
    assert (after != before) == (strategy.trains or strategy.cuts or strategy.family is Family.ACCELERATION)
    saving.save(result, tmp_path / "saved")
    assert TASK.answer(saving.load(tmp_path / "saved", open_task=open_task), toys(30, seed=3)) == after
