from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from autoopt.search.space.recipe import Recipe
from autoopt.strategies.catalog import catalog, find
from autoopt.strategies.errors import UnknownStrategy
from autoopt.strategies.knobs import Choice, Float, Int, Knob
from autoopt.strategies.strategy import Family, Strategy


def values_of(knob: Knob) -> st.SearchStrategy[object]:
    match knob:
        case Choice(options=options):
            return st.sampled_from(options)
        case Int(low=low, high=high, step=step):
            return st.integers(0, (high - low) // step).map(lambda n: low + n * step)
        case Float(low=low, high=high):
            return st.floats(low, high)


@st.composite
def steps(draw: st.DrawFn) -> list[Strategy]:
    names = draw(st.lists(st.sampled_from(sorted(catalog())), unique=True, max_size=5))
    return [find(n)(**{k: draw(values_of(knob)) for k, knob in find(n).knobs().items()}) for n in names]


@given(steps())
def test_a_recipe_survives_its_json(chosen: list[Strategy]) -> None:
    recipe = Recipe.of(chosen)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


@given(steps(), st.randoms(use_true_random=False))
def test_the_id_does_not_depend_on_the_order_in_which_things_are_given(chosen: list[Strategy], random: object) -> None:
    shuffled = [dict(reversed(step.items())) for step in Recipe.of(chosen).to_json()]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert Recipe.from_json(shuffled).id == Recipe.of(chosen).id


@given(steps())
def test_strategies_are_in_the_order_of_their_families_with_recovery_last(chosen: list[Strategy]) -> None:
    ordered = Recipe.of(chosen).steps
    families = [list(Family).index(step.family) for step in ordered]
    assert families == sorted(families)
    within = [
        step.recovers for step in ordered if step.family is Family.COMPRESSION and not _comes_after_recovery(step)
    ]
    assert within == sorted(within)


def _comes_after_recovery(step: Strategy) -> bool:
    return any(find(name).recovers for name in type(step).after)


def test_a_strategy_comes_after_those_that_it_names() -> None:
    recipe = Recipe.of([find("ffn_pruning")(), find("layer_drop")()])
    assert [step.name for step in recipe.steps] == ["layer_drop", "ffn_pruning"]


def test_another_value_is_another_recipe() -> None:
    one, other = (Recipe.of([find("layer_drop").model_validate({"keep": keep})]) for keep in (0.5, 0.33))
    assert one.id != other.id


def test_the_id_is_the_same_in_another_process() -> None:
    code = (
        "from autoopt.search.space.recipe import Recipe; from autoopt.strategies.catalog import find;"
        "print(Recipe.of([find('layer_drop')(), find('full_finetuning')()]).id)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == Recipe.of([find("full_finetuning")(), find("layer_drop")()]).id


def test_an_unknown_strategy_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownStrategy, match=r"'lroa' is no strategy; did you mean 'lora'\?"):
        Recipe.from_json([{"strategy": "lroa"}])


def test_an_unknown_knob_is_refused() -> None:
    with pytest.raises(ValidationError, match="kep"):
        Recipe.from_json([{"strategy": "layer_drop", "kep": 0.5}])


@given(steps())
def test_a_recipe_of_another_base_model_carries_it_and_has_an_id_of_its_own(chosen: list[Strategy]) -> None:
    first, other = Recipe.of(chosen), Recipe.of(chosen, model="cut")
    stored = json.loads(json.dumps(other.to_json()))
    assert Recipe.from_json(stored) == other
    assert stored == [{"model": "cut"}, *first.to_json()]
    assert len({first.id, other.id, replace(other, model="small").id}) == 3
    assert all(prefix.model == "cut" for prefix in other.stored_prefixes)
    assert str(other) == f"cut: {first}"


def test_the_id_of_a_recipe_of_the_first_base_model_covers_its_steps_alone() -> None:
    recipe = Recipe.of([find("full_finetuning")(), find("layer_drop")()])
    steps = [{"strategy": step.name, **step.model_dump(mode="json")} for step in recipe.steps]
    canonical = json.dumps(steps, sort_keys=True, separators=(",", ":"))
    assert recipe.id == hashlib.sha256(canonical.encode()).hexdigest()[:12]
