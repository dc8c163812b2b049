"""Recipes proposed by what is expected of them: new ones, of the space, better than chance, cheap leaves for less."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.objectives.judging.budget import Limit
from autoopt.objectives.measurement import Direction, Measurement
from autoopt.search.backends.optuna_storage import database_url
from autoopt.search.backends.optuna_study import OptunaStudy
from autoopt.search.choosing.acquisition import UNIFORM, candidates_near
from autoopt.search.choosing.expected_time import expected_seconds
from autoopt.search.choosing.forecast import UNCUT_SHARE, forward_passes
from autoopt.search.choosing.proposer import MIN_COMPLETE, Proposer
from autoopt.search.space.base_model import BaseModel
from autoopt.search.space.recipe import Recipe
from autoopt.search.space.space import Space, build_space
from autoopt.search.space.start_design import start_design
from autoopt.search.space.strategy_choice import choose
from autoopt.search.trial.record import StageRecord, State, TrialRecord
from autoopt.strategies.catalog import catalog, find

OBJECTIVES = {"quality": Direction.MAXIMIZE, "latency_p50": Direction.MINIMIZE}
SPACE: Space = build_space(
    {name: choose(strategy, {}) for name, strategy in catalog().items() if not strategy.requires},
    frozenset({"bidirectional", "head", "one pass", "untied embeddings", "labels", "text", "unlabeled", "cpu"}),
)


def worth(recipe: Recipe) -> tuple[float, float]:
    """A quality and a latency that follow from what is in the recipe."""
    steps = {step.name: step for step in recipe.steps}
    keep = float(getattr(steps.get("layer_drop"), "keep", 1.0))
    quality = 0.9 - 0.15 * (1 - keep) - 0.3 * ("wanda" in steps) + 0.02 * ("distillation" in steps)
    latency = 30 * keep * (0.5 if "int8_dynamic" in steps else 1.0) + 20 * ("bottleneck_adapters" in steps)
    return quality, latency


def done(number: int, recipe: Recipe, worth_of: Callable[[Recipe], tuple[float, float]] = worth) -> TrialRecord:
    quality, latency = worth_of(recipe)
    return TrialRecord(
        number,
        recipe,
        State.COMPLETE,
        {
            "quality": Measurement.exact("quality", quality, "", Direction.MAXIMIZE),
            "latency_p50": Measurement.exact("latency_p50", latency, "ms", Direction.MINIMIZE),
        },
        {"latency_p50 <= 12ms": latency / 12 - 1},
        tuple(StageRecord(step.name, 40.0 if step.trains else 2.0, reused=False) for step in recipe.steps),
    )


def records_of_design(count: int) -> list[TrialRecord]:
    return [done(number, recipe) for number, recipe in enumerate(start_design(SPACE)[:count])]


def proposer(seed: int = 0) -> Proposer:
    return Proposer(SPACE, OBJECTIVES, [Limit.parse("latency_p50 <= 12ms")], seed=seed)


def test_the_readme_says_from_when_on_the_surrogate_proposes() -> None:
    assert MIN_COMPLETE == 8  # "Once eight trials are complete, a surrogate model chooses".


def test_nothing_is_expected_where_little_is_known() -> None:
    assert proposer().propose(records_of_design(MIN_COMPLETE - 1)) is None
    failed = [replace(record, state=State.FAILED) for record in records_of_design(MIN_COMPLETE)]
    assert proposer().propose(failed) is None
    three = Proposer(SPACE, {**OBJECTIVES, "size": Direction.MINIMIZE}, [], seed=0)
    assert three.propose(records_of_design(MIN_COMPLETE)) is None


def test_what_serving_costs_is_a_matter_of_what_reshapes() -> None:
    records = records_of_design(20)
    names = {name for record in records for name in SPACE.parameters(record.recipe)}
    costly = {name for name in names if proposer().reshapes(name)}
    assert {"adaptation", "layer_drop", "layer_drop.keep", "joint_pruning.keep", "int8_dynamic"} <= costly
    assert not costly & {"unsupervised", "recovery", "full_finetuning.learning_rate", "distillation.epochs"}
    assert not any(name.partition(".")[0] == "distillation" or name.startswith("recovery") for name in costly)


def test_where_nothing_reshapes_a_recipe_is_proposed_all_the_same() -> None:
    names = ("full_finetuning", "linear_probe", "top_layers", "lora", "bitfit", "label_smoothing", "mixup")
    space = build_space(
        {name: choose(find(name), {}) for name in names},
        frozenset({"head", "labels", "text", "cpu"}),
    )
    rng = random.Random(0)
    sampled = [recipe for recipe, _ in candidates_near([], space.propose, rng)]
    records = [done(number, recipe) for number, recipe in enumerate(sampled[:MIN_COMPLETE])]
    proposed = Proposer(space, OBJECTIVES, [Limit.parse("latency_p50 <= 40ms")], seed=0).propose(records)
    assert proposed is not None
    assert proposed.id not in {record.recipe.id for record in records}


def test_what_is_proposed_is_new_and_of_the_space() -> None:
    records, surrogate = records_of_design(20), proposer()
    for _ in range(3):
        recipe = surrogate.propose(records)
        assert recipe is not None
        assert SPACE.parameters(recipe)
        assert recipe.id not in {record.recipe.id for record in records}
        records.append(replace(done(len(records), recipe), state=State.RUNNING, measurements={}, violations={}))


def test_the_same_seed_proposes_the_same() -> None:
    records = records_of_design(12)
    assert proposer(3).propose(records) == proposer(3).propose(records)


def test_it_goes_where_good_recipes_are() -> None:
    records, surrogate = records_of_design(24), proposer()
    for _ in range(8):
        recipe = surrogate.propose(records)
        assert recipe is not None
        records.append(done(len(records), recipe))
    proposed = [worth(record.recipe) for record in records[24:]]
    sampled = [worth(recipe) for recipe, _ in candidates_near([], SPACE.propose, random.Random(0))]

    def share(values: list[tuple[float, float]]) -> float:
        return sum(latency <= 12 and quality > 0.8 for quality, latency in values) / len(values)

    assert share(proposed) > 2 * share(sampled)


def test_the_leaf_of_one_good_recipe_is_tried_on_what_another_one_trained() -> None:
    full, fast = find("full_finetuning")(), [find("onnx_runtime")(), find("sequence_length")()]
    trained = [full, find("joint_pruning")(), find("distillation")()]
    good = [Recipe.of([*trained, find("int8_dynamic")()]), Recipe.of([full, find("ffn_pruning")(), *fast])]
    records = [done(number, recipe) for number, recipe in enumerate([*start_design(SPACE)[:MIN_COMPLETE], *good])]
    surrogate = proposer()
    for seed in range(5):
        sampled = candidates_near(
            [SPACE.parameters(recipe) for recipe in good],
            SPACE.propose,
            random.Random(seed),
            is_cheap=surrogate._is_cheap,
        )
        assert Recipe.of([*trained, *fast]).id in {recipe.id for recipe, _ in sampled}
    assert surrogate.propose(records) is not None


def test_few_choices_of_a_good_recipe_are_changed_at_once() -> None:
    good = SPACE.parameters(start_design(SPACE)[2])
    sampled = [chosen for _, chosen in candidates_near([good], SPACE.propose, random.Random(0))][UNIFORM:]
    apart = [sum(chosen.get(name) != value for name, value in good.items()) for chosen in sampled]
    assert len(good) > 20
    assert statistics.mean(apart) < 2.5


def test_a_leaf_of_a_trained_trunk_costs_what_the_leaf_costs() -> None:
    trunk = [find("full_finetuning")()]
    records = [done(0, Recipe.of(trunk)), done(1, Recipe.of([*trunk, find("layer_drop")(), find("distillation")()]))]
    costs = expected_seconds(
        [
            Recipe.of([*trunk, find("int8_dynamic")()]),
            Recipe.of([*trunk, find("layer_drop")(), find("distillation")(), find("int8_dynamic")()]),
            Recipe.of([find("full_finetuning").model_validate({"epochs": 5}), find("int8_dynamic")()]),
        ],
        records,
    )
    assert costs[0] == costs[1] < costs[2] - 35


def test_a_step_that_was_never_taken_is_expected_to_take_what_others_of_its_family_do() -> None:
    trunk = [find("full_finetuning")()]
    recipe = Recipe.of([*trunk, find("int8_dynamic")()])
    stages = (StageRecord("full_finetuning", 40.0, reused=False), StageRecord("int8_dynamic", 0.5, reused=False))
    records = [replace(done(0, recipe), stages=stages)]
    costs = expected_seconds([Recipe.of([*trunk, find(name)()]) for name in ("half_precision", "wanda")], records)
    assert costs[0] < 2
    assert costs[1] > 20


def test_a_training_that_was_never_taken_is_expected_to_take_longer_than_the_baseline_did() -> None:
    cut = [find("layer_drop")(), find("recovery_finetuning")()]
    stages = (StageRecord("full_finetuning", 40.0, reused=False),)
    records = [
        replace(done(0, Recipe.of([find("full_finetuning")()])), stages=stages),
        replace(done(1, Recipe.of(cut)), stages=(StageRecord("recovery_finetuning", 10.0, reused=False),)),
    ]
    other = find("recovery_finetuning").model_validate({"learning_rate": 1e-4})
    recipes = [Recipe.of([cut[0], other]), *(Recipe.of([find(name)(), *cut]) for name in ("bitfit", "self_training"))]
    costs = expected_seconds(recipes, records)
    assert costs[1] - costs[0] == pytest.approx(60, abs=1)
    assert costs[2] - costs[0] == pytest.approx(150, abs=1)


def test_a_training_is_expected_to_take_longer_the_more_it_has_to_do() -> None:
    def recipe(keep: float, **knobs: int) -> Recipe:
        steps = [find("layer_drop").model_validate({"keep": keep}), find("distillation").model_validate(knobs)]
        return Recipe.of([find("full_finetuning")(), *steps])

    took = {"full_finetuning": 40.0, "layer_drop": 1.0, "distillation": 20.0}
    stages = tuple(StageRecord(name, seconds, reused=False) for name, seconds in took.items())
    record = replace(done(0, recipe(0.5, epochs=5)), stages=stages)
    of_half, of_a_third = (UNCUT_SHARE + (1 - UNCUT_SHARE) * keep for keep in (0.5, 0.33))
    more = [recipe(0.5, epochs=8), recipe(0.33, epochs=5), recipe(0.5, epochs=5, texts=2000)]
    least, *costs = expected_seconds([recipe(0.5, epochs=5), *more], [record])
    assert [cost - least for cost in costs] == pytest.approx([1 + 32, 1 + 20 * of_a_third / of_half, 1 + 40])


def test_what_was_stored_before_is_expected_to_take_what_it_took_then() -> None:
    again = find("full_finetuning").model_validate({"epochs": 5})
    costs = []
    for stage in (StageRecord("full_finetuning", 40.0, reused=False), StageRecord("full_finetuning", 0.5, True, 40.0)):
        records = [replace(done(0, Recipe.of([find("full_finetuning")()])), stages=(stage,))]
        costs += expected_seconds([Recipe.of([again])], records)
    assert costs[0] == costs[1] > 40


def test_the_start_design_is_among_the_candidates_and_what_is_avoided_is_not() -> None:
    records, design = records_of_design(12), start_design(SPACE)[12:]

    def with_int8(recipe: Recipe) -> bool:
        return any(step.name == "int8_dynamic" for step in recipe.steps)

    chosen = [proposer(seed).propose(records, design, avoid=with_int8) for seed in range(6)]
    assert not any(with_int8(recipe) for recipe in chosen if recipe is not None)
    left = proposer().propose(records, design, avoid=lambda recipe: recipe.id != design[0].id)
    assert left is not None
    assert left.id == design[0].id
    assert proposer().propose(records, design, avoid=lambda _: True) is None


def test_a_study_follows_its_start_design_until_enough_is_known(tmp_path: Path) -> None:
    study = OptunaStudy.open(
        database_url(tmp_path / "optuna.db"),
        "s",
        SPACE,
        objectives=OBJECTIVES,
        limits=[Limit.parse("latency_p50 <= 12ms")],
        sampler="auto",
        seed=0,
    )
    design = start_design(SPACE)
    study.consider(design)
    for number in range(MIN_COMPLETE):
        trial = study.ask()
        assert trial is not None
        assert trial.recipe.id == design[number].id
        study.tell(done(trial.number, trial.recipe))
    for _ in range(2):
        proposed = study.ask()
        assert proposed is not None
        assert proposed.recipe.id not in {recipe.id for recipe in design[:MIN_COMPLETE]}
        assert proposed.number in study.running()
        study.tell(done(proposed.number, proposed.recipe))
    # What has to be tried all the same comes first, here what was lost; the rest is not in the order of the design.
    study.enqueue(design[-1:])
    more = [trial for trial in (study.ask() for _ in range(3)) if trial is not None]
    assert more[0].recipe.id == design[-1].id
    tried = [record.recipe.id for record in study.records()]
    assert tried != [recipe.id for recipe in design[: len(tried)]]


@pytest.mark.parametrize("sampler", ["gp", "nsga2", "random", "tpe"])
def test_the_samplers_of_optuna_may_be_chosen(sampler: str, tmp_path: Path) -> None:
    study = OptunaStudy.open(
        database_url(tmp_path / "optuna.db"), "s", SPACE, objectives=OBJECTIVES, limits=[], sampler=sampler, seed=0
    )
    assert study.ask() is not None


@pytest.mark.parametrize("seed", [2, 3])
def test_few_proposals_differ_in_a_knob_of_serving_alone(seed: int) -> None:
    def worth_with_lengths(recipe: Recipe) -> tuple[float, float]:
        quality, latency = worth(recipe)
        share = next(
            (float(getattr(step, "share", 1.0)) for step in recipe.steps if step.name == "sequence_length"), 1.0
        )
        return quality - 0.02 * (1 - share), latency * (0.5 + 0.5 * share)

    records, proposing = (
        [done(*item, worth_with_lengths) for item in enumerate(start_design(SPACE)[:8])],
        proposer(seed),
    )
    while len(records) < 20:
        recipe = proposing.propose(records)
        assert recipe
        records.append(done(len(records), recipe, worth_with_lengths))
    groups = Counter(
        tuple(step.name if step.name == "sequence_length" else step for step in record.recipe.steps)
        for record in records
    )
    assert max(groups.values()) <= 2


def test_on_an_unseen_base_model_training_takes_in_proportion_to_its_size() -> None:
    trunk, leaf = [find("full_finetuning")()], [find("full_finetuning")(), find("int8_dynamic")()]
    records = [done(0, Recipe.of(trunk))]
    sizes = {"": 1.0, "large": 8.0}
    own, large = expected_seconds([Recipe.of(leaf), Recipe.of(leaf, model="large")], records, sizes)
    # The trunk of the first model is stored, that of the large one is not; the leaf's step was never seen.
    assert (own, large) == (40.0 + 1, 8 * 80.0 + 1)
    stages = (StageRecord("full_finetuning", 100.0, reused=False),)
    records.append(replace(done(1, Recipe.of(trunk, model="large")), stages=stages))
    longer = [find("full_finetuning").model_validate({"epochs": 6})]
    short, long = expected_seconds([Recipe.of(longer), Recipe.of(longer, model="large")], records, sizes)
    (few,), (many,) = forward_passes(Recipe.of(trunk)), forward_passes(Recipe.of(longer))
    assert long - short == pytest.approx((100.0 - 40.0) * many / few)


def test_the_base_model_changes_the_costs_of_serving_and_is_proposed() -> None:
    models = [BaseModel("large", layers=12, size=8.0), BaseModel("small", layers=6, size=1.0)]
    space = replace(SPACE, models=tuple(models))

    def better_if_small(recipe: Recipe) -> tuple[float, float]:
        quality, latency = worth(recipe)
        return (quality + 0.05, latency / 8) if recipe.model else (quality, latency)

    records = [done(number, recipe, better_if_small) for number, recipe in enumerate(start_design(space)[:12])]
    proposer = Proposer(space, OBJECTIVES, (), seed=0)
    assert proposer.reshapes("model")
    proposed: list[Recipe] = []
    for number in range(12, 18):
        recipe = proposer.propose(records, start_design(space))
        assert recipe is not None
        proposed.append(recipe)
        records.append(done(number, recipe, better_if_small))
    assert sum(recipe.model == "small" for recipe in proposed) >= 4
