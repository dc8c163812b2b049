"""Tags for words: what is read, how sentences become windows, what is learned, and that scores are those of seqeval."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoopt.objectives.scoring import bootstrap
from autoopt.objectives.tasks import open_task
from autoopt.objectives.tasks.token_classification.task import STATISTICS, TokenClassification
from autoopt.strategies import saving
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.catalog import catalog
from autoopt.strategies.errors import Diverged, UsageError
from autoopt.strategies.model_needs import MODEL_NEEDS
from autoopt.strategies.strategy import Strategy
from tests import tiny

LABELS = ("O", "B-firm", "B-team", "I-firm", "I-team")
TASK = TokenClassification(labels=LABELS, max_length=16)


# How good answers are


def score_by_seqeval(true: list[list[str]], predicted: list[list[str]]) -> dict[str, float]:
    from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score

    return {
        "f1": f1_score(true, predicted, zero_division=0),
        "precision": precision_score(true, predicted, zero_division=0),
        "recall": recall_score(true, predicted, zero_division=0),
        "macro_f1": f1_score(true, predicted, average="macro", zero_division=0),
        "accuracy": accuracy_score(true, predicted),
    }


def scores(task: TokenClassification, true: list[list[str]], predicted: list[list[str]]) -> dict[str, float]:
    number = {name: place for place, name in enumerate(task.labels)}
    examples = [Example(" ".join("x" * len(tags)), tuple(map(number.__getitem__, tags))) for tags in true]
    answers = [tuple(map(number.__getitem__, tags)) for tags in predicted]
    outcomes = task.outcomes(examples, answers)
    return {name: bootstrap.estimate(outcomes, statistic=statistic) for name, statistic in task.statistics.items()}


BIO = ("O", "B-PER", "I-PER", "B-creative-work", "I-creative-work", "B-LOC", "I-LOC")
IOBES = ("O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in ("PER", "LOC")))
NASTY_SENTENCES = (
    "O O O O",
    "I-PER I-PER O I-LOC",
    "B-PER I-LOC I-LOC O",
    "B-PER I-PER I-LOC B-LOC",
    "O I-PER B-PER I-PER",
    "B-PER B-PER B-PER B-PER",
    "I-PER I-LOC I-PER I-LOC",
    "E-PER E-PER S-PER E-PER",
    "B-PER O E-PER O",
    "B-PER E-LOC I-PER S-LOC",
    "S-PER I-PER E-PER I-PER",
)


@pytest.mark.parametrize("labels", [BIO, IOBES], ids=["BIO", "IOBES"])
@pytest.mark.parametrize("seed", range(100))
def test_every_metric_is_that_of_seqeval(labels: tuple[str, ...], seed: int) -> None:
    chance = random.Random(seed)
    lengths = [chance.randint(1, 12) for _ in range(chance.randint(1, 8))]
    true = [chance.choices(labels, k=length) for length in lengths]
    correct_share = chance.random()
    predicted = [[tag if chance.random() < correct_share else chance.choice(labels) for tag in tags] for tags in true]
    assert scores(TokenClassification(labels=labels), true, predicted) == pytest.approx(
        score_by_seqeval(true, predicted)
    )


@pytest.mark.parametrize("predicted", NASTY_SENTENCES)
@pytest.mark.parametrize("true", NASTY_SENTENCES)
def test_every_metric_is_that_of_seqeval_for_tags_that_make_no_sense(true: str, predicted: str) -> None:
    ours = scores(TokenClassification(labels=IOBES), [true.split()], [predicted.split()])
    if true == predicted == NASTY_SENTENCES[0]:  # The mean over no types; seqeval gives nan and a warning.
        assert ours == {"f1": 0, "precision": 0, "recall": 0, "macro_f1": 0, "accuracy": 1}
        return
    assert ours == pytest.approx(score_by_seqeval([true.split()], [predicted.split()]))


def test_the_scores_of_each_type_are_those_of_seqeval() -> None:
    from seqeval.metrics.sequence_labeling import precision_recall_fscore_support

    chance = random.Random(5)
    true = [chance.choices(BIO, k=9) for _ in range(20)]
    predicted = [[tag if chance.random() < 0.7 else chance.choice(BIO) for tag in tags] for tags in true]
    task = TokenClassification(labels=BIO)
    examples = [Example("", tuple(map(BIO.index, tags))) for tags in true]
    outcomes = task.outcomes(examples, [tuple(map(BIO.index, tags)) for tags in predicted])
    expected = precision_recall_fscore_support(true, predicted, average=None, zero_division=0)
    table = task.per_type(outcomes)
    assert [row["type"] for row in table] == ["LOC", "PER", "creative-work"]
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert [row[name] for row in table] == pytest.approx(list(values))
    json.dumps(table)
    assert task.per_type(outcomes[:0])[0] == {"type": "LOC", "precision": 0, "recall": 0, "f1": 0, "support": 0}


@given(st.integers(0, 2**32 - 1))
def test_a_resample_scores_as_its_rows_laid_out(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, 3, size=(6, 11))
    counts = generator.multinomial(9, np.ones(6) / 6, size=4)
    for statistic in STATISTICS.values():
        laid_out = [bootstrap.estimate(np.repeat(rows, of_row, axis=0), statistic=statistic) for of_row in counts]
        assert statistic(rows, counts) == pytest.approx(laid_out)


def test_scores_come_with_intervals_and_the_quality_is_the_metric_that_was_chosen() -> None:
    task = TokenClassification(labels=BIO, metric="recall")
    examples = [Example("a b", (1, 2)), Example("a b", (0, 5)), Example("c", (0,))]
    judged = task.judge(task.outcomes(examples, [(1, 2), (0, 0), (3,)]))
    assert set(judged) == {"quality", *TokenClassification.metrics}
    assert judged["quality"].value == judged["recall"].value == pytest.approx(1 / 2)
    assert judged["f1"].low <= judged["f1"].value <= judged["f1"].high
    assert judged["f1"].samples == 3


def test_an_answer_of_another_length_is_no_answer() -> None:
    with pytest.raises(ValueError, match="shorter"):
        TASK.outcomes([Example("a b", (0, 0))], [(0,)])


@pytest.mark.parametrize("labels", [(), ("O",), ("O", "B-x", "O")])
def test_a_task_needs_two_different_tags(labels: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="token_classification needs at least two different tags, it was given"):
        TokenClassification(labels=labels)


def test_the_task_survives_its_json_and_names_its_metrics() -> None:
    task = replace(TASK, metric="macro_f1")
    assert open_task(json.loads(json.dumps(task.to_json()))) == task
    with pytest.raises(UsageError, match=r"'recal' is no metric of token_classification; did you mean 'recall'\?"):
        replace(TASK, metric="recal")


# What is answered


def local_model(folder: Path) -> None:
    """A model of random weights that sees nothing of a word but the word: no attention, no places."""
    from transformers import BertConfig, BertForTokenClassification

    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(tiny.VOCABULARY),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=600,
        initializer_range=0.5,
        id2label=dict(enumerate(LABELS)),
        label2id={name: number for number, name in enumerate(LABELS)},
    )
    model: Any = BertForTokenClassification(config)
    model.bert.embeddings.position_embeddings.weight.data.zero_()
    model.bert.encoder.layer[0].attention.output.dense.weight.data.zero_()
    model.save_pretrained(folder)
    tiny.candidate().tokenizer.save_pretrained(folder)


def test_windows_give_a_local_model_the_answers_and_scores_of_the_whole_sentence(tmp_path: Path) -> None:
    local_model(tmp_path / "local")
    chance = random.Random(0)
    words = chance.choices([*tiny.TOPIC_WORDS[0], *tiny.TOPIC_WORDS[1], "cups", "the", "\u200b"], k=300)
    examples = [Example(" ".join(words), tuple(chance.choices(range(5), k=300))), Example("chelsea won", (2, 0))]
    short, long = (replace(TASK, max_length=length) for length in (32, 500))
    candidate = long.open_model(str(tmp_path / "local"))
    answers = short.answer(candidate, examples)
    assert [len(answer) for answer in answers] == [300, 2]
    assert len(set(answers[0])) > 2
    assert answers == long.answer(candidate, examples)
    assert short.score(candidate, examples) == long.score(candidate, examples)


# What is learned


KNOWN = {
    word: 1 + kind + 2 * (place >= 4) for kind, words in enumerate(tiny.TOPIC_WORDS) for place, word in enumerate(words)
}
"""The classes of words: firms and teams have names of one word, one of the first four of their topic, or of two."""


def tagged(count: int, seed: int) -> tuple[Example, ...]:
    chance = random.Random(seed)
    examples = []
    for _ in range(count):
        words = [word for _ in range(chance.randint(2, 4)) for word in _piece(chance)]
        examples.append(Example(" ".join(words), tuple(KNOWN.get(word, 0) for word in words)))
    return tuple(examples)


def _piece(chance: random.Random) -> list[str]:
    topic = chance.choice(tiny.TOPIC_WORDS)
    name = [chance.choice(topic[:4]), *chance.choices(topic[4:], k=chance.randint(0, 1))]
    return [*chance.choices(tiny.COMMON_WORDS[:6], k=chance.randint(1, 2)), *name]


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("body") / "tiny"
    saving.save(tiny.candidate(), folder)
    return folder


@pytest.fixture(scope="module")
def opened(body: Path) -> Candidate:
    """A candidate that has whatever a strategy may need."""
    train = tagged(48, seed=1)
    candidate = replace(TASK.open_model(str(body), seed=0), train=train, unlabeled=tuple(e.text for e in train))
    return replace(candidate, teacher=TASK.open_model(str(body), seed=7).model)


@pytest.fixture(scope="module")
def learned(opened: Candidate) -> Candidate:
    taught = replace(opened, train=tagged(96, seed=2))
    return FullFinetuning(learning_rate=5e-3, epochs=10, batch_size=8).apply(taught, effort=1, seed=0)


def test_the_head_of_a_text_classifier_is_replaced_by_one_for_words(opened: Candidate) -> None:
    assert type(opened.model).__name__ == "BertForTokenClassification"
    assert opened.model.config.id2label == dict(enumerate(LABELS))
    assert opened.model.config.problem_type is None


def test_entities_are_learned(learned: Candidate) -> None:
    measurements = TASK.score(learned, tagged(40, seed=3))
    assert measurements["quality"].value == measurements["f1"].value > 0.8


def test_a_text_is_answered_with_its_entities_and_where_they_stand(learned: Candidate) -> None:
    text = "today  the chelsea\nsaid shares fell after"
    (answer, nothing, blank) = TASK.predict(learned, [text, "the a", " \n"])
    assert answer["label"] == "chelsea/team shares fell/firm"
    assert [(e["type"], text[e["start"] : e["end"]]) for e in answer["entities"]] == [
        ("team", "chelsea"),
        ("firm", "shares fell"),
    ]
    assert all(e["text"] == text[e["start"] : e["end"]] and 0.5 < e["score"] <= 1 for e in answer["entities"])
    first, second = (e["score"] for e in answer["entities"])
    assert answer["score"] == pytest.approx((first + 2 * second) / 3)
    assert (nothing["label"], nothing["entities"], nothing["scores"]) == ("", [], {})
    assert 0.5 < nothing["score"] <= 1
    assert (blank["label"], blank["score"], blank["entities"]) == ("", 0, [])
    assert TASK.predict(learned, []) == []
    json.dumps([answer, nothing, blank])


def test_a_pair_of_texts_is_no_sentence(opened: Candidate) -> None:
    with pytest.raises(UsageError, match=r"token_classification reads single texts, and \('a', 'b'\) is a pair"):
        TASK.predict(opened, ["a", ("a", "b")])


def test_a_long_text_is_answered_to_its_end(learned: Candidate) -> None:
    text = " ".join(["the chelsea said"] * 100)
    (answer,) = TASK.predict(learned, [text])
    assert [entity["start"] for entity in answer["entities"]] == [place * 17 + 4 for place in range(100)]


def test_an_output_that_is_not_finite_is_an_error(opened: Candidate) -> None:
    model: Any = opened.copy_model()
    model.classifier.bias.data[1] = float("nan")
    with pytest.raises(Diverged, match="not finite"):
        TASK.answer(replace(opened, model=model), tagged(2, seed=1))


def test_a_saved_candidate_gives_the_same_answers(learned: Candidate, tmp_path: Path) -> None:
    saving.save(learned, tmp_path / "saved")
    loaded = saving.load(tmp_path / "saved", open_task=open_task)
    assert loaded.task == TASK
    unseen = tagged(20, seed=4)
    assert TASK.answer(loaded, unseen) == TASK.answer(learned, unseen)
    reopened = TASK.open_model(str(tmp_path / "saved"), seed=9)  # Its head is for these tags, so it is kept.
    assert TASK.answer(reopened, unseen) == TASK.answer(learned, unseen)


MET = (
    TokenClassification.facts([])
    | TokenClassification.head.facts
    | {"unlabeled", "cpu", "teacher", "cut", "layers"}
    | MODEL_NEEDS.keys() - {"causal"}
)


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param(s, id=name, marks=[pytest.mark.slow] * bool(s.packages))
        for name, s in catalog().items()
        if s.needs <= MET
    ],
)
def test_every_strategy_that_is_offered_works_on_words(
    strategy: type[Strategy], opened: Candidate, tmp_path: Path
) -> None:
    unseen = [*tagged(6, seed=5), Example("\u200b the"), Example(" ".join(["chelsea won the"] * 20))]
    result = strategy().apply(opened, effort=0.3, seed=0)
    answers = TASK.answer(result, unseen)
    assert [len(answer) for answer in answers] == [len(example.text.split(" ")) for example in unseen]
    assert {number for answer in answers for number in answer} <= set(range(len(LABELS)))
    saving.save(result, tmp_path / "saved")
    assert TASK.answer(saving.load(tmp_path / "saved", open_task=open_task), unseen) == answers


def test_strategies_that_edit_words_are_not_offered() -> None:
    assert not catalog()["random_edits"].needs <= MET
