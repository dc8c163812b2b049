"""Answers are timed from the texts on, on the user's texts or on texts of one length that are made of them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from statistics import mean
from typing import Any

import pytest
import torch

from autoopt.objectives.target import Target
from autoopt.objectives.timing.clock import Clock
from autoopt.objectives.timing.latency import calibrate, compare
from autoopt.objectives.timing.model_call import compare_models, model_calls
from autoopt.objectives.timing.texts import VARIANTS, texts_of_length, typical_texts
from autoopt.strategies.candidate import Candidate, Example
from tests import tiny

WORDS = [f"a{number}" for number in range(20)]


@dataclass
class Machine:
    now: float = 0.0
    asked: list[list[Any]] = field(default_factory=list)


@dataclass
class SlowTask:
    """Its tokenizer takes 2 ms a text and a tenth of a millisecond a word, its model 5 ms a call."""

    machine: Machine
    speed: float = 1.0

    def predict(self, candidate: Candidate, texts: list[str]) -> list[dict[str, Any]]:
        assert candidate.tokens is None, "a cache of tokens would hide the tokenizer"
        self.machine.asked.append(texts)
        self.machine.now += sum(0.002 + 0.0001 * len(text.split()) for text in texts)
        self.machine.now += 0.005 / self.speed
        return [{"label": "x"} for _ in texts]


def candidate(machine: Machine, *, speed: float = 1.0) -> Candidate:
    given: Any = Candidate
    return given(model=torch.nn.Identity(), tokenizer=None, task=SlowTask(machine, speed), tokens=object())  # type: ignore[no-any-return]


def examples(lengths: list[int]) -> list[Example]:
    chance = random.Random(0)
    return [Example(" ".join(chance.choices(WORDS, k=length))) for length in lengths]


def test_an_answer_takes_tokenizer_and_model() -> None:
    machine = Machine()
    target = Target(texts=typical_texts(examples([1] * 30), [1] * 30))
    clock = Clock(wall=lambda: machine.now, cpu=lambda: machine.now)
    calibration = calibrate(model_calls(candidate(machine), target), target, samples=10, clock=clock)
    assert calibration.p50_ms == pytest.approx(7.1, rel=0.001)
    assert {len(texts) for texts in machine.asked} == {1}


def test_the_lengths_of_a_file_have_their_mean() -> None:
    machine, lengths = Machine(), [1 + number % 40 for number in range(400)]
    target = Target(texts=typical_texts(examples(lengths), lengths))
    clock = Clock(wall=lambda: machine.now, cpu=lambda: machine.now)
    calibration = calibrate(model_calls(candidate(machine), target), target, samples=1000, clock=clock)
    assert calibration.call_ms == pytest.approx(7 + 0.1 * mean(lengths), rel=0.01)


def test_both_models_answer_the_same_texts() -> None:
    machine, lengths = Machine(), [1 + number % 40 for number in range(400)]
    target = Target(texts=typical_texts(examples(lengths), lengths))
    clock = Clock(wall=lambda: machine.now, cpu=lambda: machine.now)
    fast, slow = candidate(machine, speed=5.0), candidate(machine)
    comparison = compare(model_calls(fast, target), model_calls(slow, target), target, clock=clock)
    expected = (2 + 1 + 0.1 * mean(lengths)) / (2 + 5 + 0.1 * mean(lengths))
    assert comparison.ratio == pytest.approx(expected, rel=0.02)


def test_each_length_has_several_texts_of_about_it() -> None:
    lengths = [1 + number % 50 for number in range(500)]
    given = examples(lengths)
    texts = typical_texts(given, lengths)
    assert len(texts) == 10
    assert {len(batches) for batches in texts} == {VARIANTS}
    for group, batches in enumerate(texts):
        assert {len(text.split()) for (text,) in batches} <= set(range(5 * group + 1, 5 * group + 6))  # type: ignore[union-attr]
    used = {text for batches in texts for (text,) in batches}
    assert used <= {example.text for example in given}


def test_a_batch_is_filled_in_the_order_of_the_texts() -> None:
    given = examples([3] * 8)
    (batches,) = typical_texts(given, [3] * 8, batch_size=4)
    assert {tuple(batch) for batch in batches} == {
        tuple(example.text for example in given[:4]),
        tuple(example.text for example in given[4:]),
    }


@pytest.mark.parametrize("length", [4, 16, 48, 200])
def test_texts_of_one_length_have_that_many_tokens(length: int) -> None:
    tokenizer = tiny.candidate().tokenizer
    given = tiny.examples(20)

    def count(text: str, second: str | None) -> int:
        return len(tokenizer(text, second)["input_ids"])

    (batches,) = texts_of_length(given, length, count, batch_size=2)
    assert len(batches) == VARIANTS
    counts = [count(str(text), None) for batch in batches for text in batch]
    assert max(counts) <= length
    assert min(counts) >= length - 2
    assert len({text for batch in batches for text in batch}) > (2 if length > 4 else 0)
    pairs = [replace(example, text_pair=example.text) for example in given]
    (batches,) = texts_of_length(pairs, length, count)
    assert max(count(*pair) for (pair,) in batches) <= max(length, 6)  # A character each, and what parts them.


def test_a_real_model_is_timed_from_texts_that_it_answers() -> None:
    one, three = tiny.candidate(layers=1), tiny.candidate(layers=3)
    given = list(tiny.examples(20))
    tokens = [len(features["input_ids"]) for features in one.encode(given)]
    target = Target(texts=typical_texts(given, tokens))
    assert 0.0 < compare_models(one, three, target).ratio < 1.0


def test_texts_make_another_target_and_are_never_written() -> None:
    plain = Target(sequence_length=16)
    with_texts = replace(plain, texts=((("secret words",),),))
    assert with_texts.slug.startswith(f"{plain.slug}-texts")
    assert with_texts != plain
    assert "secret" not in str(with_texts.to_json()) + with_texts.slug + repr(with_texts)
    assert Target.from_json(with_texts.to_json()) == plain
