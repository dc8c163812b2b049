"""What is special to each adaptation beyond full fine-tuning, LoRA and the two that freeze layers."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from autoopt.objectives.loading import load_labelled
from autoopt.objectives.monitor import ValidationMonitor
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.strategies.adaptation.bitfit import BitFit
from autoopt.strategies.adaptation.bottleneck_adapters import BottleneckAdapters
from autoopt.strategies.adaptation.contrastive_finetuning import ContrastiveFinetuning, supervised_contrastive_loss
from autoopt.strategies.adaptation.dora import DoRA
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.adaptation.gradual_unfreezing import GradualUnfreezing
from autoopt.strategies.adaptation.ia3 import IA3
from autoopt.strategies.adaptation.intermediate_task import IntermediateTask
from autoopt.strategies.adaptation.rdrop import RDrop
from autoopt.strategies.adaptation.rslora import RankStabilizedLoRA
from autoopt.strategies.adaptation.weight_averaging import WeightAveraging
from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.catalog import catalog, find
from autoopt.strategies.errors import UsageError
from autoopt.strategies.networks.architectures import layers
from autoopt.strategies.networks.solved_head import frozen_rows
from autoopt.strategies.strategy import Family, Strategy
from autoopt.strategies.training import precision, progress
from autoopt.strategies.training.batches import collate
from autoopt.strategies.training.loop import Schedule, fit
from autoopt.strategies.training.teacher_outputs import output_divergence
from tests import tiny, tiny_given

HEAD = ("classifier.", "bert.pooler.")


@pytest.fixture(scope="module")
def given() -> Candidate:
    return tiny.candidate(seed=5)


def changed(before: Candidate, after: Candidate) -> set[str]:
    old = before.model.state_dict()
    return {name for name, tensor in after.model.state_dict().items() if not torch.equal(tensor, old[name])}


@pytest.mark.parametrize(
    "strategy",
    [
        BitFit(learning_rate=2e-3, epochs=8),
        DoRA(learning_rate=2e-3, epochs=8),
        GradualUnfreezing(epochs=5, learning_rate=2e-4),
        IA3(learning_rate=1e-2, epochs=12),
        RankStabilizedLoRA(rank=32, learning_rate=5e-4, epochs=8),
        RDrop(epochs=5),
        WeightAveraging(epochs=5),
    ],
    ids=lambda strategy: strategy.name,
)
def test_it_learns(given: Candidate, strategy: Strategy) -> None:
    # The tiny model wants more than the knobs' values for real ones.
    strategy = strategy.model_copy(update={"epochs": 40, "batch_size": 8})
    before = loss(given)
    assert loss(strategy.apply(given, effort=1, seed=0)) < 0.8 * before


def loss(candidate: Candidate) -> float:
    batch: Any = collate(candidate.task.encode(tiny.examples(60, seed=3), candidate.tokenizer), pad_token_id=0)
    with torch.inference_mode():
        return float(candidate.model(**batch).loss)


@pytest.mark.parametrize(
    "strategy", [cls for cls in catalog().values() if "head_first" in cls.model_fields], ids=lambda cls: cls.name
)
def test_the_head_is_solved_before_the_first_step_of_the_others(given: Candidate, strategy: type[Strategy]) -> None:
    given = replace(given, other_data=partial(load_labelled, task_type=TextClassification))
    first, plain = (
        tiny_given.made(strategy, head_first=head_first)
        .model_copy(update={"learning_rate": 1e-9})
        .apply(given, effort=0.001, seed=0)
        for head_first in (True, False)
    )
    assert loss(first) < 0.9 * loss(plain)


def test_every_adaptation_that_trains_more_than_the_head_can_solve_it_first() -> None:
    networks = [cls for cls in catalog().values() if cls.learns and not cls.replaces]
    without = {cls.name for cls in networks if "head_first" not in cls.model_fields}
    assert without <= {"linear_probe", "contrastive_finetuning", "causal_language_modeling"}


def test_contrastive_finetuning_draws_classes_apart_and_solves_the_head(given: Candidate) -> None:
    def distance(candidate: Candidate) -> float:
        """The supervised contrastive loss of texts that were not trained on."""
        features = candidate.task.encode(tiny.examples(40, seed=3), candidate.tokenizer)
        return float(supervised_contrastive_loss(*frozen_rows(candidate.model, features, pad_token_id=0), 0.1))

    strategy = ContrastiveFinetuning(batch_size=8).model_copy(update={"learning_rate": 1e-3, "epochs": 15})
    after = strategy.apply(given, effort=1, seed=0)
    assert distance(after) < 0.97 * distance(given)
    assert tiny.accuracy(after) > 0.8 > tiny.accuracy(given)
    assert "bert.encoder.layer.0.output.dense.weight" in changed(given, after)


def test_the_contrastive_loss_is_that_of_the_paper() -> None:
    states, classes = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 0, 0, 2])
    unit = states / states.norm(dim=1, keepdim=True)
    terms = []
    for text in (0, 2, 3):  # The others are alone in their class.
        scores = {other: float(unit[text] @ unit[other]) / 0.5 for other in range(5) if other != text}
        total = sum(map(math.exp, scores.values()))
        terms.append(-fmean(math.log(math.exp(scores[other]) / total) for other in (0, 2, 3) if other != text))
    assert float(supervised_contrastive_loss(states, classes, 0.5)) == pytest.approx(fmean(terms), rel=1e-5)


def test_contrastive_finetuning_works_where_a_class_has_one_example(given: Candidate) -> None:
    few = replace(given, train=given.train[:3])
    assert ContrastiveFinetuning().apply(few, effort=1, seed=0).history[-1].endswith("3 steps")


def test_bitfit_changes_biases_and_the_head_and_nothing_else(given: Candidate) -> None:
    names = changed(given, BitFit().apply(given, effort=1, seed=0))
    assert all(name.endswith("bias") for name in names if not name.startswith(HEAD))
    assert any(name.endswith("query.bias") for name in names)


def test_ia3_is_merged_as_a_factor_for_each_key_value_and_inner_activation(given: Candidate) -> None:
    result = IA3(learning_rate=1e-2).apply(given, effort=1, seed=0)
    names = {name.split("layer.")[1][2:] for name in changed(given, result) if re.search(r"encoder\..*weight", name)}
    assert names == {
        "attention.self.key.weight",
        "attention.self.value.weight",
        "output.dense.weight",
    }
    before, after = (found.model.state_dict() for found in (given, result))
    value, output = (f"bert.encoder.layer.1.{path}.weight" for path in ("attention.self.value", "output.dense"))
    by_row, by_column = after[value] / before[value], after[output] / before[output]
    torch.testing.assert_close(by_row, by_row[:, :1].expand_as(by_row), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(by_column, by_column[:1].expand_as(by_column), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("strategy", [DoRA(rank=4), RankStabilizedLoRA(rank=32)], ids=["dora", "rslora"])
def test_what_was_added_is_merged(given: Candidate, strategy: Strategy) -> None:
    result = strategy.apply(given, effort=1, seed=0)
    assert [path for path, module in result.model.named_modules() if type(module).__module__.startswith("peft")] == []
    assert any(name.endswith("query.weight") for name in changed(given, result))
    assert list(result.model.state_dict()) == list(given.model.state_dict())


def test_rdrop_makes_two_passes_with_dropout_agree(given: Candidate) -> None:
    def divergence(candidate: Candidate) -> float:
        batch: Any = collate(candidate.task.encode(tiny.examples(60, seed=3), candidate.tokenizer), pad_token_id=0)
        torch.manual_seed(0)
        model = candidate.copy_model().train()
        with torch.inference_mode():
            pairs = [(model(**batch), model(**batch)) for _ in range(10)]
        return fmean(float(output_divergence(*pair, batch, problem="single_label_classification")) for pair in pairs)

    strategies = (RDrop(agreement=16.0, epochs=5), FullFinetuning(epochs=5))
    agreed, plain = (
        strategy.model_copy(update={"epochs": 20}).apply(given, effort=1, seed=0) for strategy in strategies
    )
    assert divergence(agreed) < 0.8 * divergence(plain)


def test_weight_averaging_gives_the_mean_of_the_last_weights(given: Candidate) -> None:
    seen: list[torch.Tensor] = []
    model: Any = given.copy_model()
    schedule = Schedule(learning_rate=2e-4, epochs=3, batch_size=8)
    fit(given, model, schedule, effort=1, seed=0, before_step=lambda *_: seen.append(model.classifier.weight.clone()))
    assert len(seen) == 9
    expected = torch.stack([*seen[5:], model.classifier.weight]).mean(0)  # After 5, 6, 7, 8 and all 9 steps.
    averaged: Any = (
        WeightAveraging(share=0.5, learning_rate=2e-4, batch_size=8, head_first=False)
        .apply(given, effort=1, seed=0)
        .model
    )
    torch.testing.assert_close(averaged.classifier.weight, expected)


def test_gradual_unfreezing_begins_with_the_head_and_ends_with_the_embeddings(given: Candidate) -> None:
    first = GradualUnfreezing(share=0.6).apply(given, effort=0.01, seed=0)
    assert first.history[-1].endswith(" 1 steps")
    assert [name for name in changed(given, first) if not name.startswith(HEAD)] == []
    whole = changed(given, GradualUnfreezing(share=0.6, batch_size=1).apply(given, effort=1, seed=0))
    assert "bert.embeddings.word_embeddings.weight" in whole


def test_with_layer_decay_the_lower_a_weight_lies_the_less_it_moves() -> None:
    given = tiny.candidate()
    after = FullFinetuning(layer_decay=0.3, epochs=1, weight_decay=0.0, head_first=False).apply(given, effort=1, seed=0)

    def moved(name: str) -> float:
        before, now = given.model.get_parameter(name), after.model.get_parameter(name)
        return float((now - before).detach().abs().max())

    lengths = [moved(f"bert.encoder.layer.{place}.output.dense.weight") for place in (3, 2, 1, 0)]
    lengths = [moved("classifier.weight"), *lengths, moved("bert.embeddings.LayerNorm.weight")]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.2)
    for above, below in itertools.pairwise(lengths[1:]):
        assert below == pytest.approx(0.3 * above, rel=0.2)


def test_batches_in_parts_and_recomputed_activations_give_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for rounding: without dropout a batch in parts has the gradient of the whole."""
    monkeypatch.setattr(precision, "training_precision", lambda _: torch.float32)
    given = tiny.candidate(layers=2)
    for module in given.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    whole, parts, again = (
        FullFinetuning(epochs=2, **settings).apply(given, effort=1, seed=0)
        for settings in ({}, {"accumulation": 4}, {"gradient_checkpointing": True})
    )
    for name, tensor in whole.model.state_dict().items():
        if name.endswith("key.bias"):
            continue  # Its gradient is zero but for rounding, and Adam makes a step of that.
        assert torch.allclose(parts.model.state_dict()[name], tensor, atol=2e-5), name
        assert torch.allclose(again.model.state_dict()[name], tensor, atol=2e-5), name
    assert not again.model.is_activation_checkpointing


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"accumulation": 0}, {"layer_decay": 0}, {"warmup": 1.5}])
def test_full_finetuning_refuses_settings_that_mean_nothing(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=f"{next(iter(settings))}"):
        FullFinetuning(**settings)


def test_bottlenecks_begin_as_nothing_and_learn_with_the_trunk_at_rest(given: Candidate) -> None:
    untrained = BottleneckAdapters().apply(given, effort=0, seed=0)
    assert torch.equal(tiny.logits(untrained), tiny.logits(given))
    after = BottleneckAdapters(learning_rate=1e-2, epochs=20).apply(given, effort=1, seed=0)
    before = untrained.model.state_dict()
    changed = {name for name, tensor in after.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name for name in changed if "bottleneck" not in name and not name.startswith(HEAD)} == set()
    assert any("bottleneck" in name for name in changed)
    assert tiny.accuracy(after) > 0.8


def test_a_copy_with_bottlenecks_uses_its_own(given: Candidate) -> None:
    after = BottleneckAdapters().apply(given, effort=1, seed=0)
    twin = replace(after, model=after.copy_model())
    for layer in layers(twin.model):
        torch.nn.init.ones_(layer.get_submodule("bottleneck.up").bias)  # type: ignore[arg-type]
    before = tiny.logits(after)
    assert not torch.equal(tiny.logits(twin), before)
    assert torch.equal(tiny.logits(after), before)


def test_an_intermediate_task_helps_where_the_task_has_few_examples(tmp_path: Path) -> None:
    """The other data set tells sport from business by other names of the classes; the task has four examples."""
    other = tmp_path / "other.csv"
    rows = [f"{example.text},{'money' if example.label == 0 else 'games'}" for example in tiny.examples(80, seed=8)]
    rows += [f"today said {word},weather" for word in ("sharply", "after", "new", "the")]
    other.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    few = replace(
        tiny.candidate(),
        train=tiny.examples(4, seed=1),
        other_data=partial(load_labelled, task_type=TextClassification),
    )
    settings = {"learning_rate": 2e-3, "epochs": 5}
    strategy = IntermediateTask(data=str(other), first_epochs=10, **settings)  # type: ignore[arg-type]
    after = strategy.apply(few, effort=1, seed=0)
    alone = FullFinetuning(**settings).apply(few, effort=1, seed=0)  # type: ignore[arg-type]
    assert tiny.accuracy(after) > 0.9 > tiny.accuracy(alone)
    assert re.search(r"60 steps on 84 other examples, then 5 steps", after.history[-1])
    assert after.model.config.id2label == few.model.config.id2label


def test_an_intermediate_task_may_be_one_of_numbers(given: Candidate) -> None:
    def read(_: str) -> tuple[tuple[Example, ...], tuple[str, ...]]:
        return tuple(Example(example.text, float(tiny.class_of(example))) for example in given.train), ()

    after = IntermediateTask(data="numbers").apply(replace(given, other_data=read), effort=1, seed=0)
    assert tiny.logits(after).shape == tiny.logits(given).shape


def test_an_intermediate_task_refuses_several_classes_for_a_text(given: Candidate) -> None:
    read = lambda _: ((Example("won the cup", (0, 1)),) * 4, ("a", "b"))  # noqa: E731
    with pytest.raises(UsageError, match="one class or one number for each text"):
        IntermediateTask(data="sets").apply(replace(given, other_data=read), effort=1, seed=0)


@pytest.mark.parametrize(
    "name", sorted(n for n, s in catalog().items() if s.family is Family.ADAPTATION and s.trains and not s.requires)
)
def test_a_model_can_be_scored_on_other_texts_while_it_is_trained(name: str) -> None:
    """As the search does at the rungs of a trunk, and the training to keep its best weights."""
    given, seen = tiny.candidate(), list[float]()

    def look(model: Any) -> None:
        task: Any = given.task
        seen.append(task.score(replace(given, model=model), [Example("a1 b2", 0), Example("b1", 1)])["quality"].value)

    given = replace(given, monitor=ValidationMonitor.of(given.train[:4]))
    with progress.visiting({0.25: look}):
        find(name)().apply(given, effort=1.0, seed=0)
    assert all(0 <= quality <= 1 for quality in seen)
    assert seen or name == "linear_probe"  # It is solved where it can be.
