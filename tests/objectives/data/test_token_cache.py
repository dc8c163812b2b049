"""Tokenized examples that are kept: the same values, made once, and made again where the file is damaged."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.objectives.data.feature_table import features_to_table, table_to_features
from autoopt.objectives.data.token_cache import TokenCache
from autoopt.objectives.tasks.question_answering.task import QuestionAnswering
from autoopt.objectives.tasks.sentence_pair.task import SentencePair
from autoopt.objectives.tasks.sequence_classification import Problem
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.strategies.candidate import Example, Features, Label, Span, TaskView
from autoopt.strategies.system.code_digest import closure_digest, installed_source
from tests import tiny

TOKENIZER: Any = tiny.candidate().tokenizer
TEXTS = [example.text for example in tiny.examples(12)]
TASK = TextClassification(labels=tiny.LABELS, max_length=16)


@dataclass(frozen=True)
class Counted:
    """A task that counts how often it is asked to tokenize."""

    task: TaskView
    asked: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.task.name

    def encode(self, examples: Sequence[Example], tokenizer: Any) -> list[Features]:
        self.asked.append(len(examples))
        return self.task.encode(examples, tokenizer)

    def to_json(self) -> dict[str, Any]:
        return self.task.to_json()


def labelled(*labels: Label, pairs: bool = False) -> list[Example]:
    return [
        Example(text, labels[number % len(labels)], TEXTS[-1 - number] if pairs else None)
        for number, text in enumerate(TEXTS)
    ]


TASKS: dict[str, tuple[TaskView, list[Example]]] = {
    "classes": (TASK, labelled(0, 1)),
    "no labels": (TASK, labelled(None)),
    "several classes": (replace(TASK, kind=Problem.CLASSES), labelled((0,), (), (0, 1))),
    "pairs with numbers": (SentencePair(kind=Problem.NUMBER, max_length=12), labelled(0.5, 3.0, pairs=True)),
    "answers": (QuestionAnswering(max_length=14), labelled((Span("the", 0),), (), pairs=True)),
}


@pytest.mark.parametrize(("task", "examples"), TASKS.values(), ids=TASKS)
def test_what_is_kept_is_what_the_task_makes_and_it_is_made_once(
    tmp_path: Path, task: TaskView, examples: list[Example]
) -> None:
    counted, cache = Counted(task), TokenCache(tmp_path / "tokens", min_characters=0)
    expected = task.encode(examples, TOKENIZER)
    first = cache.features(counted, TOKENIZER, examples)
    second = TokenCache(tmp_path / "tokens", min_characters=0).features(counted, TOKENIZER, list(examples))
    assert counted.asked == [len(examples)]
    for found in (first, second):
        assert found == expected
        assert [list(map(type, item.values())) for item in found] == [
            list(map(type, item.values())) for item in expected
        ]
    assert len(list(cache.folder.iterdir())) == 1


OTHERS: dict[str, tuple[TaskView, Any, list[Example]]] = {
    "another length": (replace(TASK, max_length=8), TOKENIZER, labelled(0, 1)),
    "other labels": (TASK, TOKENIZER, labelled(1, 0)),
    "another text": (TASK, TOKENIZER, [*labelled(0, 1)[:-1], Example("the bank", 1)]),
    "another order": (TASK, TOKENIZER, labelled(0, 1)[::-1]),
    "pairs": (TASK, TOKENIZER, labelled(0, 1, pairs=True)),
    "another vocabulary": (
        TASK,
        type(TOKENIZER)({word: n for n, word in enumerate(reversed(tiny.VOCABULARY))}),
        labelled(0, 1),
    ),
    "cut on the other side": (TASK, type(TOKENIZER)(TOKENIZER.get_vocab(), truncation_side="left"), labelled(0, 1)),
}


@pytest.mark.parametrize(("task", "tokenizer", "examples"), OTHERS.values(), ids=OTHERS)
def test_another_task_tokenizer_or_text_has_an_entry_of_its_own(
    tmp_path: Path, task: TaskView, tokenizer: Any, examples: list[Example]
) -> None:
    cache = TokenCache(tmp_path, min_characters=0)
    cache.features(TASK, TOKENIZER, labelled(0, 1))
    assert cache.features(task, tokenizer, examples) == task.encode(examples, tokenizer)
    assert len(list(tmp_path.iterdir())) == 2


def test_how_the_tokenizer_was_last_used_makes_no_other_entry(tmp_path: Path) -> None:
    counted, cache = Counted(TASK), TokenCache(tmp_path, min_characters=0)
    for length in (5, 9):
        TOKENIZER(TEXTS, truncation=True, max_length=length, padding="max_length")
        cache.features(counted, TOKENIZER, labelled(0, 1))
    assert counted.asked == [len(TEXTS)]


def test_other_versions_of_the_libraries_have_entries_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = TokenCache(tmp_path, min_characters=0)
    cache.features(TASK, TOKENIZER, labelled(0, 1))
    monkeypatch.setattr("autoopt.objectives.data.token_cache.version", lambda name: "0.0.1")
    cache.features(TASK, TOKENIZER, labelled(0, 1))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("module", [type(TASK).__module__, "autoopt.objectives.data.feature_table"])
def test_other_code_of_the_task_or_of_the_cache_has_an_entry_of_its_own(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def source(name: str) -> str | None:
        text = installed_source(name)
        return f"{text}\nCHANGED = 1\n" if text is not None and name == module else text

    cache = TokenCache(tmp_path, min_characters=0)
    cache.features(TASK, TOKENIZER, labelled(0, 1))
    monkeypatch.setattr(
        "autoopt.objectives.data.token_cache.code_digest", lambda *modules: closure_digest(modules, source)
    )
    cache.features(TASK, TOKENIZER, labelled(0, 1))
    assert len(list(tmp_path.iterdir())) == 2


def test_little_text_is_tokenized_and_leaves_no_file(tmp_path: Path) -> None:
    counted, cache = Counted(TASK), TokenCache(tmp_path / "tokens")
    for _ in range(2):
        cache.features(counted, TOKENIZER, labelled(0, 1))
    assert len(counted.asked) == 2
    assert not cache.folder.exists()


def test_a_file_that_was_damaged_is_noticed_and_made_again(tmp_path: Path) -> None:
    counted, cache = Counted(TASK), TokenCache(tmp_path, min_characters=0)
    expected = cache.features(counted, TOKENIZER, labelled(0, 1))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    places = range(0, len(whole), len(whole) // 50)
    damages = [whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] for place in places]
    damages += [whole[:place] for place in places] + [whole[:-8] + bytes(8)]
    for damaged in damages:
        path.write_bytes(damaged)
        assert cache.features(counted, TOKENIZER, labelled(0, 1)) == expected
        assert path.read_bytes() == whole
    assert len(counted.asked) == 1 + len(damages)
    of_another_version = path.with_name(f"{path.stem.partition('-')[0]}-{'0' * 64}.arrow")
    path.rename(of_another_version)
    assert cache.features(counted, TOKENIZER, labelled(0, 1)) == expected
    assert list(tmp_path.iterdir()) == [path]


def test_many_at_once_agree_and_leave_one_file(tmp_path: Path) -> None:
    cache, expected = TokenCache(tmp_path, min_characters=0), TASK.encode(labelled(0, 1), TOKENIZER)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cache.features(TASK, TOKENIZER, labelled(0, 1)), range(40)))
    assert all(features == expected for features in found)
    assert len(list(tmp_path.iterdir())) == 1


def test_where_nothing_can_be_written_the_examples_are_tokenized_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("a file where the folder should be", encoding="utf-8")
    cache = TokenCache(tmp_path / "tokens", min_characters=0)
    assert cache.features(TASK, TOKENIZER, labelled(0, 1)) == TASK.encode(labelled(0, 1), TOKENIZER)


def test_a_candidate_trains_on_and_is_scored_by_what_is_kept(tmp_path: Path) -> None:
    plain = tiny.candidate()
    counted = Counted(plain.task)
    candidate = replace(plain, task=counted, tokens=TokenCache(tmp_path, min_characters=0))
    assert candidate.features() == candidate.features() == plain.features()
    assert counted.asked == [len(plain.train)]
    examples = tiny.examples(10, seed=5)
    scores = [TASK.score(candidate, examples) for _ in range(2)]
    assert scores[0] == scores[1] == TASK.score(plain, examples)
    assert len(list(tmp_path.iterdir())) == 2


NUMBERS = st.integers(-(2**63), 2**63 - 1)
REALS = st.floats(allow_nan=False)
COLUMNS = st.one_of(*(st.just(kind) for kind in (NUMBERS, REALS, st.lists(NUMBERS), st.lists(REALS))))


@given(st.lists(COLUMNS, min_size=1, max_size=4), st.integers(1, 5), st.data())
def test_a_table_of_features_gives_them_back(kinds: list[Any], count: int, data: st.DataObject) -> None:
    features = [{f"f{place}": data.draw(kind) for place, kind in enumerate(kinds)} for _ in range(count)]
    table = features_to_table(features)
    assert table is not None
    assert table_to_features(table) == features
    assert repr(table_to_features(table)) == repr(features)  # 1 is not 1.0.


@pytest.mark.parametrize(
    "features",
    [
        [],
        [{"a": "text"}],
        [{"a": None}],
        [{"a": True}],
        [{"a": [True, 1]}],
        [{"a": [1, 2.0]}],
        [{"a": [[1]]}],
        [{"a": (1, 2)}],
        [{"a": 1}, {"a": [1]}],
        [{"a": [1]}, {"a": 1}],
        [{"a": 1}, {"a": 1, "b": 2}],
        [{"a": 2**63}],
    ],
)
def test_what_a_table_could_not_give_back_as_it_was_is_not_made_one(features: list[Features]) -> None:
    assert features_to_table(features) is None
