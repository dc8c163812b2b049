from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.search.space.base_model import BaseModel
from autoopt.search.space.recipe import Recipe
from autoopt.search.space.space import NEEDS_IN_WORDS, RECIPE_NEEDS, InvalidRecipe, Space, build_space, check
from autoopt.search.space.start_design import RECIPES_BEFORE_OTHERS, baseline, start_design
from autoopt.search.space.strategy_choice import choose
from autoopt.strategies.catalog import catalog, find
from autoopt.strategies.knobs import Choice, Float, Int, Knob, KnobValue
from autoopt.strategies.strategy import Family

FACTS = frozenset({"bidirectional", "head", "one pass", "untied embeddings", "labels", "text", "unlabeled", "cpu"})


def space(
    facts: frozenset[str] = FACTS,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    disabled: frozenset[str] = frozenset(),
    layers: int | None = None,
    others: Sequence[BaseModel] = (),
    withheld: Mapping[str, str] | None = None,
) -> Space:
    """The space over the whole catalog, with what an experiment file may say of a strategy."""
    strategies = {name: strategy for name, strategy in catalog().items() if name not in disabled}
    choices = {name: choose(strategy, (settings or {}).get(name, {})) for name, strategy in strategies.items()}
    return build_space(choices, facts, [BaseModel("first", layers, withheld=withheld or {}), *others])


def drawing(seed: int) -> Callable[[str, Knob], KnobValue]:
    source = random.Random(seed)

    def suggest(_: str, knob: Knob) -> KnobValue:
        match knob:
            case Choice(options=options):
                return source.choice(options)
            case Int(low=low, high=high):
                return source.randint(low, high)
            case Float(low=low, high=high):
                return source.uniform(low, high)

    return suggest


@given(st.integers(0, 2**32))
def test_a_proposed_recipe_is_found_again_by_its_parameters(seed: int) -> None:
    try:
        recipe = space().propose(drawing(seed))
    except InvalidRecipe:
        return
    parameters = space().parameters(recipe)
    assert space().propose(lambda name, _: parameters[name]) == recipe


@given(st.integers(0, 2**32))
def test_every_proposed_recipe_makes_sense(seed: int) -> None:
    try:
        recipe = space().propose(drawing(seed))
    except InvalidRecipe:
        return
    names = {step.name for step in recipe.steps}
    assert any(step.learns or step.recovers for step in recipe.steps)
    for step in recipe.steps:
        assert not type(step).excludes & names
        assert "cut" not in step.needs or any(other.cuts for other in recipe.steps)
        assert "teacher" not in step.needs or any(other.learns for other in recipe.steps)


def test_a_strategy_is_offered_only_where_its_needs_are_met_and_the_reason_is_kept() -> None:
    narrowed = space(facts=FACTS - {"unlabeled"})
    assert narrowed.offer("masked_language_modeling") is None
    assert narrowed.withheld["masked_language_modeling"] == "it needs texts without labels"
    of_words = space(facts=FACTS - {"text"}).withheld["character_noise"]
    assert of_words == "it needs texts whose words may change while the answer stays the same"


def test_a_strategy_that_is_switched_off_is_not_offered() -> None:
    narrowed = space(disabled=frozenset({"layer_drop"}))
    assert narrowed.offer("layer_drop") is None
    assert narrowed.withheld["layer_drop"] == "switched off in the experiment file"


def test_a_fixed_knob_is_not_searched_and_a_narrowed_one_is_searched_there() -> None:
    narrowed = space(settings={"layer_drop": {"keep": 0.33}, "ffn_pruning": {"keep": [0.25, 0.125]}})
    recipe = narrowed.propose(_everything)
    cuts = {step.name: step for step in recipe.steps}
    assert (cuts["layer_drop"].keep, cuts["ffn_pruning"].keep) == (0.33, 0.125)  # type: ignore[attr-defined]
    assert "layer_drop.keep" not in narrowed.parameters(recipe)
    assert narrowed.parameters(recipe)["ffn_pruning.keep"] == 0.125


def _everything(name: str, knob: Knob) -> KnobValue:
    if isinstance(knob, Choice):
        return {"adaptation": "full_finetuning", "recovery": "distillation"}.get(name, knob.options[-1])
    return knob.low


def test_a_recipe_outside_the_space_has_no_parameters() -> None:
    narrow = space(settings={"layer_drop": {"keep": [0.5, 0.67]}})
    recipe = Recipe.of([find("full_finetuning")(), find("layer_drop").model_validate({"keep": 0.33})])
    with pytest.raises(InvalidRecipe, match=r"layer_drop\.keep = 0\.33 is not in the space"):
        narrow.parameters(recipe)


def test_a_recipe_that_learns_nothing_is_invalid() -> None:
    with pytest.raises(InvalidRecipe, match="no step learns the task"):
        space().propose(lambda _, knob: knob.options[0] if isinstance(knob, Choice) else knob.low)


def test_what_learns_the_task_from_unlabeled_texts_needs_no_adaptation_after_it() -> None:
    wide = space(facts=FACTS | {"classes", "single"})
    learner = find("self_training")()
    recipe = Recipe.of([learner, find("layer_drop")(), find("distillation")(), find("int8_dynamic")()])
    assert wide.parameters(recipe)["adaptation"] == "none"
    assert [learner.name] in [[step.name for step in designed.trunk] for designed in start_design(wide)]
    with pytest.raises(InvalidRecipe, match="no step learns the task"):
        wide.parameters(Recipe.of([find("masked_language_modeling")(), find("int8_dynamic")()]))
    adaptations = [strategy for strategy in catalog().values() if strategy.family is Family.ADAPTATION]
    assert [strategy.name for strategy in adaptations if not strategy.learns] == ["pooling"]


def test_what_only_changes_the_head_is_combined_with_any_adaptation_and_precedes_it() -> None:
    wide = space(facts=FACTS | {"whole", "classes", "single"})
    pooling = find("pooling")()
    for name in ("bitfit", "top_layers"):
        recipe = Recipe.of([find(name)(), pooling])
        assert [step.name for step in recipe.steps] == ["pooling", name]
        assert wide.parameters(recipe) | {"adaptation": name, "pooling": True} == wide.parameters(recipe)
    with pytest.raises(InvalidRecipe, match="no step learns the task"):
        wide.parameters(Recipe.of([pooling]))
    with pytest.raises(InvalidRecipe):  # It would discard the head that was learned.
        wide.parameters(Recipe.of([pooling, find("self_training")()]))
    designed = [[step.name for step in recipe.trunk] for recipe in start_design(wide)]
    assert ["pooling", "full_finetuning"] in designed
    assert wide.offer("pooling") is not None
    assert space(facts=FACTS - {"whole"}).offer("pooling") is None


@pytest.mark.parametrize("name", ["early_exit", "weight_sharing"])
def test_what_needs_several_layers_is_invalid_where_one_stays(name: str) -> None:
    cut = find("layer_drop").model_validate({"keep": 0.17})
    recipe = Recipe.of([find("full_finetuning")(), cut, find("distillation")(), find(name)()])
    assert space(facts=FACTS | {"classes"}, layers=12).parameters(recipe)[name] is True
    with pytest.raises(InvalidRecipe, match="the space does not contain"):
        space(facts=FACTS | {"classes"}, layers=6).parameters(recipe)


def test_the_start_design_begins_with_the_baseline_and_repeats_nothing() -> None:
    design = start_design(space())
    assert design[0].id == baseline(space()).id
    assert [step.name for step in design[0].steps] == ["full_finetuning"]
    assert len({recipe.id for recipe in design}) == len(design) >= 8


def test_the_start_design_tries_every_strategy_that_is_offered() -> None:
    tried = {step.name for recipe in start_design(space()) for step in recipe.steps}
    assert tried == {offer.strategy.name for offer in space().offers}


def test_the_start_design_compares_trunks_before_it_cuts_any_the_frozen_one_first() -> None:
    design = start_design(space())
    alone = [recipe.trunk[0].name for recipe in design if not recipe.leaf]
    assert alone[:4] == ["full_finetuning", "linear_probe", "lora", "top_layers"]
    assert design[1].trunk[0].name == "linear_probe"
    first_cut = next(recipe for recipe in design if recipe.trunk and any(step.cuts for step in recipe.leaf))
    assert all(design.index(recipe) < design.index(first_cut) for recipe in design if not recipe.leaf)


def test_the_start_design_cuts_the_base_model_at_two_depths() -> None:
    leaves = [{step.name: step for step in recipe.steps} for recipe in start_design(space()) if not recipe.trunk]
    cuts = [steps for steps in leaves if "layer_drop" in steps][:2]
    assert [cut["layer_drop"].keep for cut in cuts] == [0.5, 0.33]  # type: ignore[attr-defined]
    assert [cut["recovery_finetuning"].epochs for cut in cuts] == [5, 5]  # type: ignore[attr-defined]


def test_the_start_design_tries_the_whole_trunk_in_every_usual_runtime_before_it_cuts_it() -> None:
    design = start_design(space())
    full = [recipe for recipe in design if [step.name for step in recipe.trunk] == ["full_finetuning"]]
    first_cut = next(recipe for recipe in full if any(step.cuts for step in recipe.leaf))
    whole = [[step.name for step in recipe.leaf] for recipe in full[: full.index(first_cut)]]
    assert whole == [[], ["int8_dynamic"], ["onnx_runtime"]]


def test_the_start_design_trains_the_least_model_the_longest_and_on_the_most() -> None:
    distilled = [
        {step.name: step for step in recipe.steps}
        for recipe in start_design(space())
        if {"layer_drop", "distillation"} <= {step.name for step in recipe.steps}
    ]
    assert distilled[0]["layer_drop"].keep == min(cut["layer_drop"].keep for cut in distilled)  # type: ignore[attr-defined]
    trained = distilled[0]["distillation"]
    assert (trained.epochs, trained.learning_rate, trained.texts) == (8, 4e-4, 2000)  # type: ignore[attr-defined]


def test_a_deep_cut_of_the_start_design_is_trained_without_a_teacher_where_it_may_have_none() -> None:
    design = start_design(space(disabled=frozenset({"distillation"})))
    deepest = [{step.name: step for step in recipe.steps} for recipe in design if recipe.trunk]
    trained = next(steps for steps in deepest if "layer_drop" in steps and steps["layer_drop"].keep == 0.17)  # type: ignore[attr-defined]
    assert trained["recovery_finetuning"].epochs == 8  # type: ignore[attr-defined]


def test_the_start_design_stays_in_a_narrowed_space() -> None:
    narrow = space(settings={"layer_drop": {"keep": [0.67, 0.83]}}, disabled=frozenset({"distillation"}))
    for recipe in start_design(narrow)[1:]:
        narrow.parameters(recipe)
        assert all(step.keep >= 0.67 for step in recipe.steps if step.name == "layer_drop")  # type: ignore[attr-defined]


def test_the_baseline_is_full_finetuning_even_where_the_search_may_not_use_it() -> None:
    design = start_design(space(disabled=frozenset({"full_finetuning"})))
    assert [step.name for step in design[0].steps] == ["full_finetuning"]


def test_a_strategy_that_has_to_be_told_something_is_offered_once_it_is() -> None:
    facts = frozenset({"bidirectional", "head", "one pass", "untied embeddings", "text", "labels"})
    choices = {"full_finetuning": choose(find("full_finetuning"), {})}
    silent = build_space({**choices, "back_translation": choose(find("back_translation"), {"there": ""})}, facts)
    assert silent.offer("back_translation") is None
    assert silent.withheld["back_translation"] == (
        "it needs the setting back and there: back_translation: {back: ..., there: ...} under strategies"
    )
    configured = choose(find("back_translation"), {"there": "a/b", "back": "b/a"})
    offer = build_space({**choices, "back_translation": configured}, facts).offer("back_translation")
    assert offer is not None
    assert set(offer.searched) == {"share"}


def test_a_space_that_an_earlier_version_stored_is_the_same_space() -> None:
    whole = space()
    stored = whole.to_json()
    assert whole.is_stored_as(json.loads(json.dumps(stored)))
    earlier = {
        offer.strategy.name: {
            "knobs": {name: repr(knob) for name, knob in offer.searched.items()},
            "settings": dict(offer.fixed),
        }
        for offer in whole.offers
    }
    assert whole.is_stored_as(json.loads(json.dumps(earlier)))
    assert not whole.is_stored_as({**earlier, "another": {"knobs": {}, "settings": {}}})
    assert "options=" not in json.dumps(stored)


def test_every_need_of_the_catalog_is_said_in_words() -> None:
    needs = frozenset[str]().union(*(strategy.needs for strategy in catalog().values())) - RECIPE_NEEDS
    assert needs <= NEEDS_IN_WORDS.keys()


WHOLE = FACTS | {"whole", "classes", "single"}


@pytest.mark.parametrize("others", [["int8_dynamic"], ["layer_drop", "distillation"], ["vocabulary_pruning"]])
@pytest.mark.parametrize("student", ["static_embeddings", "linear_bag"])
def test_nothing_else_of_a_recipe_compresses_what_is_no_network(student: str, others: list[str]) -> None:
    trunk = [find("full_finetuning")()] if student == "static_embeddings" else []
    wide = space(facts=WHOLE)
    assert wide.contains(Recipe.of([*trunk, find(student)()]))
    both = Recipe.of([*trunk, find(student)(), *(find(name)() for name in others)])
    with pytest.raises(InvalidRecipe):
        wide.parameters(both)
    with pytest.raises(InvalidRecipe, match=f"{student} is no network"):
        check(both)


def test_a_student_of_the_labels_alone_has_no_trunk_and_is_offered_for_one_base_model() -> None:
    wide, bag = space(facts=WHOLE, others=[CUT]), find("linear_bag")()
    assert wide.contains(Recipe.of([bag, find("random_edits")()]))
    assert not wide.contains(Recipe.of([bag], model="cut"))
    with pytest.raises(InvalidRecipe):
        wide.parameters(Recipe.of([find("full_finetuning")(), bag]))


def test_a_student_of_the_trunk_needs_one() -> None:
    with pytest.raises(InvalidRecipe):
        space(facts=WHOLE).parameters(Recipe.of([find("static_embeddings")()]))


def test_one_recipe_has_one_student() -> None:
    wide = space(facts=WHOLE)
    with pytest.raises(InvalidRecipe):
        wide.parameters(Recipe.of([find("linear_bag")(), find("static_embeddings")()]))


def test_the_start_design_has_the_students_among_its_first_recipes() -> None:
    design = [[step.name for step in recipe.steps] for recipe in start_design(space(facts=WHOLE))]
    assert design.index(["linear_bag"]) == 2
    assert design.index(["full_finetuning", "static_embeddings"]) == 4
    assert sum("static_embeddings" in steps for steps in design) == 1


CUT = BaseModel("cut", layers=2, size=1.0)


def test_of_several_base_models_one_is_selected_first() -> None:
    wide = space(others=[CUT])
    recipe = Recipe.of([find("full_finetuning")()], model="cut")
    parameters = wide.parameters(recipe)
    assert next(iter(parameters.items())) == ("model", "cut")
    assert next(iter(wide.parameters(Recipe.of(recipe.steps)).items())) == ("model", "first")
    assert wide.propose(lambda name, _: parameters[name]) == recipe
    assert wide.size() == 2 * space().size()


def test_a_space_of_one_base_model_has_no_parameter_for_it() -> None:
    assert "model" not in space().parameters(Recipe.of([find("full_finetuning")()]))
    assert "model" not in space().to_json()
    with pytest.raises(InvalidRecipe, match="does not contain"):
        space().parameters(Recipe.of([find("full_finetuning")()], model="cut"))


def test_a_base_model_that_the_space_lacks_is_named() -> None:
    with pytest.raises(InvalidRecipe, match="model = 'small' is not in the space"):
        space(others=[CUT]).parameters(Recipe.of([find("full_finetuning")()], model="small"))


@pytest.mark.parametrize("name", ["early_exit", "weight_sharing"])
def test_the_layers_are_those_of_the_selected_base_model(name: str) -> None:
    cut = find("layer_drop").model_validate({"keep": 0.5})
    steps = [find("full_finetuning")(), cut, find("distillation")(), find(name)()]
    wide = space(facts=FACTS | {"classes"}, layers=6, others=[CUT])
    assert wide.parameters(Recipe.of(steps))[name] is True
    with pytest.raises(InvalidRecipe, match="does not contain"):
        wide.parameters(Recipe.of(steps, model="cut"))


def test_what_fails_on_every_base_model_is_not_offered_at_all() -> None:
    wide = space(others=[replace(CUT, withheld={"lora": "its probe failed"})], withheld={"lora": "it fails"})
    assert wide.withheld["lora"] == "it fails"
    assert wide.offer("lora") is None
    assert [model.withheld for model in wide.models] == [{}, {}]


def test_a_small_base_model_may_learn_from_a_large_one_without_a_cut() -> None:
    largest = {"larger_teacher": "its teacher, first, is not larger"}
    several, settings = FACTS | {"several bases", "whole"}, {"larger_teacher": {"base": "first"}}
    wide = space(facts=several, settings=settings, others=[CUT], withheld=largest)
    teaching = find("larger_teacher").model_validate({"base": "first"})
    recipe = Recipe.of([find("full_finetuning")(), teaching], model="cut")
    assert wide.parameters(recipe)["recovery_without_distillation_without_recovery_finetuning"] == "larger_teacher"
    assert any(recipe.model and teaching in recipe.steps for recipe in start_design(wide))
    with pytest.raises(InvalidRecipe, match="does not contain"):
        wide.parameters(Recipe.of(recipe.steps))
    assert "larger_teacher" in space(facts=FACTS | {"whole"}).withheld


def test_a_strategy_may_be_withheld_for_one_base_model_only() -> None:
    wide = space(others=[replace(CUT, withheld={"lora": "its probe failed"})])
    assert wide.parameters(Recipe.of([find("lora")()]))["adaptation"] == "lora"
    with pytest.raises(InvalidRecipe):
        wide.parameters(Recipe.of([find("lora")()], model="cut"))
    narrowed = wide.parameters(Recipe.of([find("bitfit")()], model="cut"))
    assert narrowed["adaptation_without_lora"] == "bitfit"
    assert not wide.is_stored_as(space(others=[CUT]).to_json())


def test_the_start_design_brings_the_strongest_recipes_of_each_other_model_early() -> None:
    alone, wide = start_design(space()), start_design(space(others=[CUT, replace(CUT, label="small")]))
    own = [recipe for recipe in wide if not recipe.model]
    assert own == alone
    others = [recipe.model for recipe in wide if recipe.model]
    assert others == ["cut", "small"] * (len(others) // 2)
    first = next(index for index, recipe in enumerate(wide) if recipe.model)
    assert [recipe.model != "" for recipe in wide[first : first + len(others)]] == [True] * len(others)
    assert first == 1 + RECIPES_BEFORE_OTHERS
    assert [[step.name for step in recipe.steps] for recipe in wide[first : first + 4 : 2]] == [
        ["linear_probe"],
        ["full_finetuning", "int8_dynamic"],
    ]
    assert len(others) == 8
