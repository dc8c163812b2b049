"""Recipes that do the same are one: none of them is tried twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.search.backends.optuna_storage import database_url
from autoopt.search.backends.optuna_study import OptunaStudy
from autoopt.search.space.base_model import BaseModel
from autoopt.search.space.recipe import Recipe
from autoopt.search.space.space import Space, build_space
from autoopt.search.space.strategy_choice import choose
from autoopt.search.trial.record import State, TrialRecord
from autoopt.strategies.catalog import find
from autoopt.strategies.situation import Situation, kept
from autoopt.strategies.strategy import Strategy

NAMES = ("full_finetuning", "layer_drop", "head_pruning", "distillation", "static_embeddings", "int8_dynamic")
FACTS = frozenset({"bidirectional", "head", "one pass", "labels", "text", "single", "whole", "unlabeled", "cpu"})
SMALL = Situation(layers=2, heads=2, unlabeled=500)
"""Of two layers the shares 0.67, 0.5 and 0.33 all leave one, and 0.83 leaves both."""


def space(situation: Situation) -> Space:
    facts = FACTS | {"layers", "separate heads"}
    choices = {name: choose(find(name), {}) for name in NAMES}
    return build_space(choices, facts, [BaseModel("base", situation.layers, situation=situation)])


def step(name: str, **settings: object) -> Strategy:
    return find(name).model_validate(settings)


def test_the_settings_are_what_they_leave() -> None:
    assert [kept(share, 2) for share in (0.83, 0.67, 0.5, 0.33, 0.17)] == [2, 1, 1, 1, 1]
    effects = [step("layer_drop", keep=share).effect(SMALL) for share in (0.83, 0.67, 0.5)]
    assert effects == [None, step("layer_drop", keep=0.5), step("layer_drop", keep=0.5)]
    assert step("head_pruning", keep=0.75).effect(SMALL) is None
    assert step("distillation", texts=2000).effect(SMALL) == step("distillation", texts=0).model_copy(
        update={"texts": 500}
    )
    for name in NAMES:
        assert step(name).effect(Situation()) == step(name), "of a model that is not known nothing is known"


def test_recipes_are_the_same_if_all_their_steps_are() -> None:
    small = space(SMALL)
    full, fast = step("full_finetuning"), step("int8_dynamic")
    plain = small.effect(Recipe.of([full, fast]))
    assert small.effect(Recipe.of([full, step("layer_drop", keep=0.83), fast])) == plain
    halves = {small.effect(Recipe.of([full, step("layer_drop", keep=share)])) for share in (0.67, 0.5, 0.33)}
    assert len(halves) == 1
    large = space(replace(SMALL, layers=12))
    assert len({large.effect(Recipe.of([full, step("layer_drop", keep=share)])) for share in (0.83, 0.67, 0.5)}) == 3


@pytest.mark.parametrize("sampler", ["auto", "random", "tpe"])
def test_two_recipes_with_the_same_effect_never_both_run(tmp_path: Path, sampler: str) -> None:
    small = space(SMALL)
    study = OptunaStudy.open(
        database_url(tmp_path / "optuna.db"),
        "effects",
        small,
        objectives={"quality": Direction.MAXIMIZE, "latency_p50": Direction.MINIMIZE},
        limits=(),
        sampler=sampler,
        seed=0,
    )
    shares = [0.67, 0.5, 0.33]
    study.enqueue(Recipe.of([step("full_finetuning"), step("layer_drop", keep=share)]) for share in shares)
    study.consider(Recipe.of([step("full_finetuning"), step("head_pruning", keep=share)]) for share in (0.5, 0.25))
    effects, ids = [], []
    for number in range(40):
        trial = study.ask()
        assert trial is not None
        effects.append(small.effect(trial.recipe))
        ids.append(trial.recipe.id)
        measured = {
            "quality": Measurement.exact("quality", 0.5 + number % 7 / 20, "", Direction.MAXIMIZE),
            "latency_p50": Measurement.exact("latency_p50", 1 + number % 5, "ms", Direction.MINIMIZE),
        }
        study.tell(TrialRecord(trial.number, trial.recipe, State.COMPLETE, measured, attempt=trial.attempt))
    assert len(set(effects)) == len(effects)
    assert len(set(ids)) == len(ids)
