from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from autoopt.objectives.data.samples import sampled
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.text_data import TextData, fingerprint_of
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.strategies.candidate import Example

EXAMPLES = tuple(Example(f"text {number}", int(number % 4 == 0)) for number in range(400))
DATA = TextData(EXAMPLES, EXAMPLES[:100], EXAMPLES[:80], ("more",), ("a", "b"), "", ())


def settings(**samples: object) -> DataSettings:
    return DataSettings.model_validate({"source": "x.csv", **samples})


def test_a_sample_has_the_classes_in_their_proportion_and_is_drawn_again_alike() -> None:
    chosen = settings(max_train_samples=40, max_test_samples=80)
    sample = sampled(DATA, chosen)
    assert Counter(example.label for example in sample.train) == {0: 30, 1: 10}
    assert set(sample.train) < set(DATA.train)
    assert set(sample.reserve) == set(DATA.train) - set(sample.train)
    assert len(sample.reserve) == 360
    assert (sample.validation, sample.test, sample.unlabeled) == (DATA.validation, DATA.test, DATA.unlabeled)
    assert sample.notes == ("a sample of 40 of 400 train examples is used",)
    assert sampled(DATA, chosen) == sample
    assert sample.fingerprint == fingerprint_of(sample) != fingerprint_of(DATA)


@pytest.mark.parametrize("size", ["auto", "all", 400, 4000])
def test_without_a_smaller_number_everything_stays(size: object) -> None:
    assert sampled(DATA, settings(max_train_samples=size)) is DATA


def test_a_sample_of_running_text_is_its_beginning() -> None:
    running = replace(DATA, train=EXAMPLES, is_running_text=True)
    assert sampled(running, settings(max_train_samples=7)).train == EXAMPLES[:7]


def test_a_sample_has_at_least_one_example_of_each_class() -> None:
    assert {example.label for example in sampled(DATA, settings(max_validation_samples=1)).validation} == {0, 1}


@pytest.mark.parametrize("size", [0, -3, 1.5, "some"])
def test_a_sample_is_a_number_auto_or_all(size: object) -> None:
    with pytest.raises(ValidationError):
        settings(max_train_samples=size)


def test_data_are_sampled_as_they_are_loaded_and_the_texts_left_out_remain_unlabeled(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("text,label\n" + "".join(f"{item.text},{'ab'[int(item.label)]}\n" for item in EXAMPLES))  # type: ignore[arg-type]
    every = load_text_data(DataSettings(source=str(path)), TextClassification)
    some = load_text_data(DataSettings(source=str(path), max_train_samples=20), TextClassification)
    assert len(some.train) == 20 < len(every.train)
    assert (some.validation, some.unlabeled) == (every.validation, every.unlabeled)
    assert {*some.train, *some.reserve} == set(every.train)
