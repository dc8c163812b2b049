from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from autoopt.search.space.strategy_choice import InvalidSetting, InvalidStrategies, choose, choose_all
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.catalog import catalog, find
from autoopt.strategies.knobs import Choice, Float, Int
from autoopt.strategies.strategy import Strategy


class Tuned(Strategy):
    """A strategy with a knob of each kind, and a setting."""

    name: ClassVar[str] = "tuned"

    rank: Annotated[int, Int(4, 64, step=4)] = 8
    dropout: Annotated[float, Float(0.0, 0.5)] = 0.1
    rate: Annotated[float, Choice(1e-5, 1e-4, 1e-3)] = 1e-4
    pace: Annotated[float | Literal["auto"], Choice("auto", 1.0, 2.0, 4.0)] = "auto"
    where: Annotated[str, Choice("query", "all")] = "all"
    bias: Annotated[bool, Choice(False, True)] = True
    steps: Annotated[int, Field(ge=1)] = 400

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        return candidate


def test_without_settings_every_knob_is_searched_and_nothing_fixed() -> None:
    choice = choose(Tuned, {})
    assert list(choice.searched) == ["rank", "dropout", "rate", "pace", "where", "bias"]
    assert choice.fixed == {}
    assert choice.nearest() == Tuned()


@pytest.mark.parametrize(
    ("settings", "fixed"),
    [
        ({"rank": 8}, {"rank": 8}),
        ({"rank": {"low": 16, "high": 16}}, {"rank": 16}),
        ({"dropout": 0}, {"dropout": 0}),
        ({"rate": 3e-4}, {"rate": 3e-4}),
        ({"rate": [1e-3]}, {"rate": 1e-3}),
        ({"pace": "auto"}, {"pace": "auto"}),
        ({"pace": 1.5}, {"pace": 1.5}),
        ({"pace": {"low": 1.0, "high": 1.5}}, {"pace": 1.0}),
        ({"where": "query"}, {"where": "query"}),
        ({"bias": False}, {"bias": False}),
        ({"steps": 10}, {"steps": 10}),
    ],
)
def test_a_value_fixes_a_knob_or_a_setting(settings: dict[str, Any], fixed: dict[str, Any]) -> None:
    choice = choose(Tuned, settings)
    assert choice.fixed == fixed
    assert not set(choice.searched) & set(fixed)
    assert choice.nearest() == Tuned(**fixed)


def test_a_setting_that_was_searched_once_may_still_be_narrowed_and_is_not_searched() -> None:
    """Experiment files of earlier versions do."""
    narrowed = choose(find("linear_probe"), {"epochs": [10, 20], "learning_rate": {"low": 5e-4, "high": 1e-3}})
    assert (narrowed.fixed, narrowed.searched) == ({}, {})
    assert choose(find("linear_probe"), {"epochs": 10}).fixed == {"epochs": 10}


@pytest.mark.parametrize(
    ("settings", "knob", "nearest"),
    [
        ({"rank": {"low": 16, "high": 32}}, Int(16, 32, step=4), 16),
        ({"rank": [32, 64]}, Choice(32, 64), 32),
        ({"dropout": {"low": 0.2, "high": 0.4}}, Float(0.2, 0.4), 0.2),
        ({"rate": {"low": 1e-5, "high": 5e-5}}, None, 1e-5),
        ({"rate": {"low": 2e-5, "high": 1e-3}}, Choice(1e-4, 1e-3), 1e-4),
        ({"rate": [1e-5, 5e-5]}, Choice(1e-5, 5e-5), 5e-5),
        ({"pace": ["auto", 3.0]}, Choice("auto", 3.0), "auto"),
        ({"pace": {"low": 1.5, "high": 4.0}}, Choice(2.0, 4.0), 2.0),
    ],
)
def test_a_range_or_a_list_narrows_a_knob_and_the_default_moves_into_it(
    settings: dict[str, Any], knob: Int | Float | Choice | None, nearest: object
) -> None:
    choice, name = choose(Tuned, settings), next(iter(settings))
    assert choice.searched.get(name) == knob
    assert getattr(choice.nearest(), name) == nearest


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"rnak": 8},
            r"'rnak' is not a setting of tuned; did you mean 'rank'\?; it has rank, dropout, rate, pace, where, bias",
        ),
        ({"rank": 6}, r"rank: 6 is not legal; use a whole number from 4 to 64 in steps of 4"),
        ({"rank": 8.0}, r"rank: 8.0 is not legal"),
        ({"rank": True}, r"rank: true is not legal"),
        ({"rank": None}, r"rank: null is not legal"),
        ({"rank": {"low": 2, "high": 8}}, r"rank: 2 is not legal"),
        ({"rank": [4, 128]}, r"rank: 128 is not legal"),
        ({"rank": [4, 4]}, r"rank: a value is listed twice; list each once"),
        ({"dropout": 0.9}, r"dropout: 0.9 is not legal; use a number from 0.0 to 0.5"),
        ({"dropout": float("nan")}, r"dropout: nan is not legal"),
        ({"rate": 1}, r"rate: 1 is not legal; use one of 1e-05, 0.0001, 0.001, or a number from 1e-05 to 0.001"),
        ({"rate": {"low": 2e-5, "high": 3e-5}}, r"rate: no value lies from 2e-05 to 3e-05; use one of"),
        ({"pace": 8}, r"pace: 8 is not legal; use one of 'auto', 1.0, 2.0, 4.0, or a number from 1.0 to 4.0"),
        ({"pace": "fast"}, r"pace: 'fast' is not legal; use one of 'auto', 1.0"),
        ({"pace": {"low": "auto", "high": 4.0}}, r"pace: a range lies between two numbers; got 'auto' and 4.0"),
        ({"where": "key"}, r"where: 'key' is not legal; use one of 'query', 'all'"),
        (
            {"where": {"low": "a", "high": "b"}},
            r"where has no range; list some of its values: one of 'query', 'all'",
        ),
        ({"bias": 1}, r"bias: 1 is not legal; use one of false, true"),
        ({"steps": 0}, r"steps: Input should be greater than or equal to 1, got 0"),
        ({"steps": "many"}, r"steps: Input should be a valid integer.*, got 'many'"),
    ],
)
def test_a_setting_that_is_not_legal_is_refused_with_what_is(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSetting, match=message) as caught:
        choose(Tuned, settings)
    assert caught.value.key == next(iter(settings))


def test_an_option_is_left_out_unless_none_would_be_left() -> None:
    whole = choose(catalog()["pooling"], {})
    assert whole.without("pooling", "mean").searched == {"pooling": Choice("first", "max", "last")}
    assert whole.without("pooling", None) == whole.without("pooling", "other") == whole.without("no_field", 1) == whole
    two = choose(catalog()["pooling"], {"pooling": ["mean", "max"]})
    assert two.without("pooling", "mean").build({}) == catalog()["pooling"].model_validate({"pooling": "max"})
    fixed = choose(catalog()["pooling"], {"pooling": "mean"})
    assert fixed.without("pooling", "mean") == fixed


def test_the_choices_are_in_the_order_of_the_catalog() -> None:
    names = list(catalog())
    assert list(choose_all(dict.fromkeys(reversed(names), True))) == names


@pytest.mark.parametrize("name", list(catalog()))
def test_each_default_of_the_catalog_may_be_fixed(name: str) -> None:
    strategy = catalog()[name]
    for knob in strategy.knobs():
        default = strategy.model_fields[knob].default
        assert choose(strategy, {knob: default}).fixed == {knob: default}


@pytest.mark.parametrize("name", ["/nowhere/other.csv", "../other.csv", "my texts.csv"])
def test_a_file_that_a_setting_names_has_to_be_there(name: str) -> None:
    with pytest.raises(InvalidSetting, match=f"data: there is no file or folder '{re.escape(name)}'; correct the path"):
        choose(find("intermediate_task"), {"data": name})


@pytest.mark.parametrize("name", ["owner/data", "glue", "package://tests/data.csv"])
def test_a_name_of_a_hub_or_a_package_may_be_right(name: str) -> None:
    assert choose(find("intermediate_task"), {"data": name}).fixed == {"data": name}


def test_a_field_with_bounds_of_its_own_is_fixed_to_any_value_within_them() -> None:
    assert choose_all({"full_finetuning": {"layer_decay": 0.65}})["full_finetuning"].fixed == {"layer_decay": 0.65}
    for value in (0, 1.5):
        with pytest.raises(InvalidStrategies, match="layer_decay: Input should be"):
            choose_all({"full_finetuning": {"layer_decay": value}})
