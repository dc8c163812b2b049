"""Forecast of a search's compute."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoopt.search.choosing.forecast import (
    OVERHEAD_S,
    START_S,
    TRAINING_FACTOR,
    UNCUT_SHARE,
    Work,
    confirmation_seconds,
    search_seconds,
    stage_ids,
)
from autoopt.search.space.recipe import Recipe
from autoopt.strategies.adaptation.contrastive_finetuning import ContrastiveFinetuning
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.adaptation.linear_probe import LinearProbe
from autoopt.strategies.augmentation.random_edits import RandomEdits
from autoopt.strategies.compression.distillation import Distillation
from autoopt.strategies.compression.embedding_factorization import EmbeddingFactorization
from autoopt.strategies.compression.layer_drop import LayerDrop
from autoopt.strategies.compression.wanda import Wanda

WORK = Work(forward_s=0.02, length_share=0.5, train=100, validation=50)
EPOCH_S = 0.01 * 100 * TRAINING_FACTOR
SCORING_S = OVERHEAD_S + 0.5
HALF = UNCUT_SHARE + (1 - UNCUT_SHARE) * 0.5
TRUNK = FullFinetuning(epochs=3, head_first=False)


def test_training_costs_its_epochs_and_every_trial_its_scoring() -> None:
    assert WORK.seconds(Recipe.of([TRUNK])) == pytest.approx(SCORING_S + 3 * EPOCH_S)


def test_a_cut_model_trains_faster_and_more_data_slower() -> None:
    cut = Recipe.of([TRUNK, LayerDrop(keep=0.5), Distillation(epochs=5)])
    assert WORK.seconds(cut) == pytest.approx(SCORING_S + (3 + 5 * HALF) * EPOCH_S)
    assert WORK.seconds(Recipe.of([RandomEdits(copies=1), TRUNK])) == pytest.approx(SCORING_S + 6 * EPOCH_S)


def test_an_epoch_on_very_many_examples_is_bounded() -> None:
    recipe = Recipe.of([FullFinetuning()])
    many, more = (replace(WORK, train=train).seconds(recipe) for train in (80_000, 1_000_000))
    assert replace(WORK, train=40_000).seconds(recipe) < many == more


def test_zeros_and_narrower_embeddings_make_no_training_faster() -> None:
    for cut in (Wanda(keep=0.3), EmbeddingFactorization(keep=0.25)):
        assert WORK.seconds(Recipe.of([TRUNK, cut, Distillation(epochs=5)])) == pytest.approx(SCORING_S + 8 * EPOCH_S)


def test_a_probe_costs_one_pass_however_many_its_epochs() -> None:
    assert WORK.seconds(Recipe.of([LinearProbe(epochs=100)])) == pytest.approx(SCORING_S + 0.01 * 100)


def test_solving_the_head_first_costs_a_pass_and_pairs_of_texts_cost_twice() -> None:
    assert WORK.seconds(Recipe.of([FullFinetuning(epochs=3)])) == pytest.approx(SCORING_S + 3 * EPOCH_S + 0.01 * 100)
    assert WORK.seconds(Recipe.of([ContrastiveFinetuning(epochs=1)])) == pytest.approx(SCORING_S + 2 * EPOCH_S)


def test_confirming_a_model_costs_a_mean_trial_for_each_seed_but_its_own() -> None:
    design = [Recipe.of([TRUNK]), Recipe.of([FullFinetuning(epochs=5, head_first=False)])]
    assert confirmation_seconds(WORK, design, seeds=1) == 0
    assert confirmation_seconds(WORK, design, seeds=3) == pytest.approx(2 * (SCORING_S + 4 * EPOCH_S))


def test_a_trunk_that_two_recipes_share_is_paid_for_once() -> None:
    plain, cut = Recipe.of([TRUNK]), Recipe.of([TRUNK, LayerDrop(keep=0.5), Distillation(epochs=5)])
    assert stage_ids(plain) == stage_ids(cut)[:1]
    both = search_seconds(WORK, [plain, cut], trials=2, workers=1)
    assert both == pytest.approx(START_S + 2 * SCORING_S + (3 + 5 * HALF) * EPOCH_S)


def test_trials_beyond_the_start_design_cost_its_mean_and_workers_share_the_work() -> None:
    trial_s = search_seconds(WORK, [Recipe.of([TRUNK])], trials=1, workers=1) - START_S
    assert search_seconds(WORK, [Recipe.of([TRUNK])], trials=6, workers=2) == pytest.approx(START_S + 3 * trial_s)
