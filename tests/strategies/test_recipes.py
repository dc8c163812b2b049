"""Recipes of all strategies together: whatever the space allows is built, saved, loaded, and answers alike."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autoopt.objectives.tasks import open_task
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.search.space.recipe import Recipe
from autoopt.search.space.space import InvalidRecipe, build_space
from autoopt.search.space.strategy_choice import choose_all
from autoopt.strategies import saving
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.catalog import catalog
from autoopt.strategies.knobs import Choice, Float, Knob, KnobValue
from autoopt.strategies.model_needs import MODEL_NEEDS
from tests import tiny
from tests.tiny_given import made

FACTS = TextClassification.head.facts | {
    "bidirectional",
    "cpu",
    "unlabeled",
    "labels",
    "text",
    "single",
    "classes",
    "imbalanced",
}
SLOW = frozenset(name for name, strategy in catalog().items() if strategy.packages)
"""What exports to another runtime takes seconds each time."""


def draw(chance: random.Random, *, without: frozenset[str] = SLOW) -> Recipe:
    """A recipe out of the whole space, each strategy and value as likely as the others."""
    told = {name: {key: getattr(made(s), key) for key in s.requires} or True for name, s in catalog().items()}
    space = build_space(choose_all({name: value for name, value in told.items() if name not in without}), FACTS)

    def suggest(_: str, knob: Knob) -> KnobValue:
        match knob:
            case Choice(options=options):
                return chance.choice(options)
            case Float():
                return chance.uniform(knob.low, knob.high)
            case _:
                return chance.randrange(knob.low, knob.high + 1, knob.step)

    while True:
        try:
            return space.propose(suggest)
        except InvalidRecipe:
            continue


def check(recipe: Recipe, folder: Path) -> None:
    """Build it without training, save it, load it, and compare."""
    given = replace(tiny.candidate(), teacher=tiny.model(seed=7))
    built: Candidate = given
    for step in recipe.steps:
        built = step.apply(built, effort=0, seed=0)
    answers = tiny.logits(built)
    assert answers.shape == tiny.logits(given).shape
    assert bool(torch.isfinite(answers).all())
    saving.save(built, folder)
    files = list(folder.iterdir())
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".txt"}
    assert not any(re.match(rb"PK\x03\x04|\x80[\x02-\x05]", path.read_bytes()) for path in files)
    loaded = saving.load(folder, open_task=open_task)
    assert torch.equal(tiny.logits(loaded), answers)


@pytest.mark.parametrize("part", [pytest.param(n, marks=[pytest.mark.slow] * (n > 0)) for n in range(20)])
def test_whatever_the_space_allows_is_built_saved_and_loaded(part: int, tmp_path: Path) -> None:
    """1,000 random recipes, of which the first 50 are in the default run."""
    chance = random.Random(part)
    for _ in range(50):
        recipe = draw(chance)
        try:
            check(recipe, tmp_path / "saved")
        except Exception as error:
            error.add_note(f"recipe {recipe}")
            raise


def test_the_drawn_recipes_have_every_strategy_that_they_may_have() -> None:
    chance = random.Random(0)
    drawn = {step.name for _ in range(400) for step in draw(chance).steps}
    study = FACTS | MODEL_NEEDS.keys() - {"causal"} | {"teacher", "cut", "layers"}
    assert drawn == {name for name, s in catalog().items() if s.needs <= study and name not in SLOW}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SLOW))
def test_recipes_with_another_runtime_are_built_saved_and_loaded(name: str, tmp_path: Path) -> None:
    chance = random.Random(name)
    found = 0
    while found < 5:
        recipe = draw(chance, without=SLOW - {name})
        if any(step.name == name for step in recipe.steps):
            found += 1
            check(recipe, tmp_path / "saved")
