"""What every strategy of the catalog promises. A new file in the tree is tested here without another edit."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from autoopt.objectives.loading import load_labelled
from autoopt.objectives.tasks import open_task
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.strategies import saving
from autoopt.strategies.adaptation.linear_probe import LinearProbe
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.catalog import catalog
from autoopt.strategies.errors import UsageError
from autoopt.strategies.model_needs import MODEL_NEEDS
from autoopt.strategies.stand_ins.structure import structure_digest
from autoopt.strategies.strategy import Family, Strategy
from tests import tiny, tiny_decoder
from tests.tiny_given import made

SMALL_EFFORT = 0.3
STUDY_NEEDS = {
    "head",
    "one pass",
    "untied embeddings",
    "cpu",
    "gpu",
    "unlabeled",
    "labels",
    "text",
    "single",
    "classes",
    "imbalanced",
    "tags",
    "spans",
    "unanswerable",
    "whole",
    "several bases",
    "writes",
    *MODEL_NEEDS,
}
RECIPE_NEEDS = {"teacher", "cut", "layers"}

every_strategy = pytest.mark.parametrize(
    "strategy",
    # What exports to another runtime takes seconds each time.
    [pytest.param(cls, id=name, marks=[pytest.mark.slow] * bool(cls.packages)) for name, cls in catalog().items()],
)
every_cut = pytest.mark.parametrize(
    "strategy", [pytest.param(cls, id=name) for name, cls in catalog().items() if cls.cuts]
)
every_fixed_shape = pytest.mark.parametrize(
    "strategy",
    [
        pytest.param(cls, id=name, marks=[pytest.mark.slow] * bool(cls.packages))
        for name, cls in catalog().items()
        if not cls.adaptive or cls is LinearProbe
    ],
)
every_training = pytest.mark.parametrize(
    "strategy", [pytest.param(cls, id=name) for name, cls in catalog().items() if cls.trains]
)


def candidate_for(strategy: type[Strategy]) -> Candidate:
    """A candidate that has whatever the strategy may need."""
    if "causal" in strategy.needs:
        return replace(tiny_decoder.candidate(), unlabeled=tiny_decoder.CORPUS)
    other_data = partial(load_labelled, task_type=TextClassification)
    return replace(tiny.candidate(layers=2), teacher=tiny.model(layers=2, seed=7), other_data=other_data)


@pytest.fixture
def given(strategy: type[Strategy]) -> Candidate:
    return candidate_for(strategy)


@cache
def result_of(strategy: type[Strategy], effort: float = SMALL_EFFORT) -> Candidate:
    """What it makes of a candidate that has whatever it may need; made once for all tests that look at it."""
    return made(strategy).apply(candidate_for(strategy), effort=effort, seed=0)


def logits(candidate: Candidate, model: Any = None) -> Any:
    """What it answers to texts that it was not trained on."""
    if candidate.task.name == "causal_lm":
        with torch.inference_mode():
            return (model or candidate.model)(input_ids=torch.arange(24).reshape(2, 12)).logits
    return tiny.logits(candidate, model)


def digest(model: Any) -> str | None:
    return None if model is None else tiny.digest(model)


def parameters(candidate: Candidate) -> int:
    return sum(parameter.numel() for parameter in candidate.model.parameters())


@every_strategy
def test_its_file_sums_it_up_in_a_line_that_names_the_paper(strategy: type[Strategy]) -> None:
    assert re.fullmatch(r"[A-Z0-9].{20,110}\(.*(19|20)\d\d.*\)\.", strategy.summary())
    assert re.search(r"(19|20)\d\d", strategy.paper())


@every_strategy
def test_its_docstring_tells_how_to_choose_each_knob(strategy: type[Strategy]) -> None:
    assert [knob for knob in strategy.knobs() if f"``{knob}``" not in (strategy.__doc__ or "")] == []


@every_strategy
def test_it_is_named_by_its_file_and_its_folder(strategy: type[Strategy]) -> None:
    path = Path(inspect.getfile(strategy))
    assert (strategy.name, strategy.family) == (path.stem, path.parent.name)
    assert isinstance(strategy.family, Family)


@every_strategy
def test_it_refuses_a_field_that_it_does_not_know(strategy: type[Strategy]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        strategy.model_validate({"nonsense": 1})


@every_strategy
def test_it_cannot_be_changed_once_made(strategy: type[Strategy]) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(strategy(), next(iter(strategy.model_fields), "anything"), 1)


@every_strategy
def test_the_default_of_each_knob_lies_where_the_knob_searches(strategy: type[Strategy]) -> None:
    default = strategy()
    assert {
        name: getattr(default, name) for name, knob in strategy.knobs().items() if getattr(default, name) not in knob
    } == {}


@every_strategy
def test_every_annotated_knob_is_a_knob(strategy: type[Strategy]) -> None:
    """A knob type that is imported for type checkers alone is dropped by pydantic without a word."""
    lineage = [cls for cls in reversed(strategy.mro()) if cls is not Strategy and issubclass(cls, Strategy)]
    bodies = [ast.parse(inspect.getsource(cls)).body[0] for cls in lineage]
    annotated = [
        field.target.id
        for body in bodies
        for field in getattr(body, "body", ())
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and re.search(r"\b(Choice|Int|Float)\(", ast.unparse(field.annotation))
    ]
    assert list(strategy.knobs()) == annotated


@every_strategy
def test_what_it_names_exists(strategy: type[Strategy]) -> None:
    assert strategy.needs <= STUDY_NEEDS | RECIPE_NEEDS
    assert strategy.after <= {name for name, other in catalog().items() if other.family == strategy.family}
    assert strategy.excludes <= set(catalog())
    assert strategy.requires | strategy.reads <= set(strategy.model_fields)


@every_strategy
def test_it_says_what_it_has_to_be_told(strategy: type[Strategy], given: Candidate) -> None:
    for name in strategy.requires:
        assert strategy.model_fields[name].get_default() == ""
        with pytest.raises(UsageError, match=f"'{name}'"):
            strategy().apply(given, effort=SMALL_EFFORT, seed=0)


@every_strategy
def test_without_effort_it_gives_the_shapes_and_gives_them_again(strategy: type[Strategy], given: Candidate) -> None:
    first = result_of(strategy, 0)
    again = made(strategy).apply(given, effort=0, seed=0)
    assert logits(first).shape == logits(given).shape
    assert digest(first.model) == digest(again.model)
    assert first.edits == again.edits
    assert len(first.history) == len(given.history) + 1


def _may_go(strategy: type[Strategy], name: str) -> bool:
    """Whether the data decide if this tensor stays: a linear probe may read the mean in place of the pooler."""
    return strategy is LinearProbe and "pooler" in name


@every_fixed_shape
def test_its_shapes_do_not_depend_on_the_effort(strategy: type[Strategy]) -> None:
    shapes = [
        {name: tensor.shape for name, tensor in result.model.state_dict().items() if not _may_go(strategy, name)}
        for result in (result_of(strategy, effort) for effort in (0, SMALL_EFFORT))
    ]
    assert shapes[0] == shapes[1]


@every_strategy
def test_what_changes_what_serving_costs_says_so(strategy: type[Strategy], given: Candidate) -> None:
    says_so = strategy.reshapes() or strategy is LinearProbe  # Without the pooler it is measured again: ``adaptive``.
    assert says_so or structure_digest(result_of(strategy).model) == structure_digest(given.model)


@every_strategy
def test_the_same_seed_gives_the_same_candidate(strategy: type[Strategy], given: Candidate) -> None:
    first = result_of(strategy)
    torch.rand(3)  # What else has drawn random numbers must not matter.
    again = made(strategy).apply(given, effort=SMALL_EFFORT, seed=0)
    assert digest(first.model) == digest(again.model)
    assert (first.train, first.edits, first.history) == (again.train, again.edits, again.history)


@every_strategy
@pytest.mark.parametrize("effort", [0, SMALL_EFFORT])
def test_the_candidate_that_it_is_given_stays_as_it_was(strategy: type[Strategy], effort: float) -> None:
    given = candidate_for(strategy)
    before = (digest(given.model), digest(given.teacher), given.train, given.unlabeled, given.edits)
    answers = logits(given)
    made(strategy).apply(given, effort=effort, seed=0)
    assert (digest(given.model), digest(given.teacher), given.train, given.unlabeled, given.edits) == before
    assert torch.equal(logits(given), answers)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in given.model.parameters())


@every_strategy
@pytest.mark.parametrize("effort", [0, SMALL_EFFORT])
def test_its_result_is_ready_to_serve_and_to_train(strategy: type[Strategy], effort: float) -> None:
    result = result_of(strategy, effort)
    assert not any(module.training for module in result.model.modules())
    assert all(parameter.requires_grad for parameter in result.model.parameters())
    assert [name for name, parameter in result.model.named_parameters() if parameter.grad is not None] == []


@every_strategy
def test_its_result_survives_saving_bit_for_bit(strategy: type[Strategy], tmp_path: Path) -> None:
    result = result_of(strategy)
    expected = logits(result)
    saving.save(result, tmp_path / "saved")
    loaded = saving.load(tmp_path / "saved", open_task=open_task)
    assert torch.equal(logits(loaded), expected)
    assert digest(loaded.model) == digest(result.model)
    assert (loaded.edits, loaded.history, loaded.task) == (result.edits, result.history, result.task)


@every_strategy
def test_what_it_saves_holds_no_pickle(strategy: type[Strategy], tmp_path: Path) -> None:
    saving.save(result_of(strategy), tmp_path / "saved")
    files = list((tmp_path / "saved").iterdir())
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".txt"}
    assert [path.name for path in files if re.match(rb"PK\x03\x04|\x80[\x02-\x05]", path.read_bytes())] == []


@every_strategy
def test_transformers_opens_its_result_or_refuses_it(strategy: type[Strategy], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    opens: Any = AutoModelForCausalLM if "causal" in strategy.needs else AutoModelForSequenceClassification
    result = result_of(strategy)
    saving.save(result, tmp_path / "saved")
    if result.edits:
        with pytest.raises(OSError, match=r"no file named model\.safetensors"):
            opens.from_pretrained(tmp_path / "saved")
    else:
        plain = opens.from_pretrained(tmp_path / "saved")
        assert torch.equal(logits(result, plain), logits(result))


@every_cut
@pytest.mark.parametrize("effort", [0, SMALL_EFFORT])
def test_a_cut_leaves_fewer_parameters(strategy: type[Strategy], given: Candidate, effort: float) -> None:
    assert parameters(result_of(strategy, effort)) < parameters(given)


@every_training
def test_training_changes_weights_with_effort_and_none_without(strategy: type[Strategy], given: Candidate) -> None:
    untrained = result_of(strategy, 0).model.state_dict()
    assert all(torch.equal(untrained[name], tensor) for name, tensor in given.model.state_dict().items())
    assert digest(result_of(strategy).model) != digest(result_of(strategy, 0).model)
