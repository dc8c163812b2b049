"""What is special to each acceleration: what gets smaller or faster, and which answers stay."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given as for_any
from hypothesis import strategies as st

from autoopt.objectives.target import Target
from autoopt.objectives.tasks import open_task
from autoopt.objectives.timing.model_call import placed
from autoopt.strategies import saving
from autoopt.strategies.acceleration.early_exit import EarlyExit
from autoopt.strategies.acceleration.half_precision import HalfPrecision
from autoopt.strategies.acceleration.int4_weight_only import Int4WeightOnly
from autoopt.strategies.acceleration.int8_dynamic import Int8Dynamic
from autoopt.strategies.acceleration.int8_embeddings import Int8Embeddings
from autoopt.strategies.acceleration.int8_weight_only import Int8WeightOnly
from autoopt.strategies.acceleration.onnx_runtime import OnnxRuntime
from autoopt.strategies.acceleration.sequence_length import SequenceLength
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.stand_ins.structure import structure_digest
from autoopt.strategies.stand_ins.weight_only_linear import WeightOnlyLinear, fitting_group
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training import batches
from tests import tiny

TARGET = Target(device="cpu", threads=1, batch_size=1, sequence_length=8)


@pytest.fixture(scope="module")
def trained() -> Candidate:
    return FullFinetuning(learning_rate=2e-3, epochs=15, head_first=False).apply(tiny.candidate(), effort=1, seed=0)


def bytes_of(candidate: Candidate) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in candidate.model.state_dict().values())


def apart(one: Candidate, other: Candidate) -> float:
    """The greatest difference of their answers, in standard deviations of the second one's."""
    return float((tiny.logits(one) - tiny.logits(other)).abs().max() / tiny.logits(other).std())


@pytest.mark.parametrize(
    ("strategy", "size", "difference"),
    [
        (HalfPrecision(format="bfloat16"), 0.5, 0.05),
        (HalfPrecision(format="float16"), 0.5, 0.01),
        (Int8WeightOnly(), 0.37, 0.15),
        (Int4WeightOnly(group=32), 0.27, 0.5),
    ],
    ids=lambda value: str(value),
)
def test_it_is_smaller_and_answers_nearly_the_same(
    trained: Candidate, strategy: Strategy, size: float, difference: float
) -> None:
    smaller = strategy.apply(trained, effort=1, seed=0)
    assert bytes_of(smaller) / bytes_of(trained) == pytest.approx(size, abs=0.03)
    assert 0 < apart(smaller, trained) < difference
    assert structure_digest(smaller.model) != structure_digest(trained.model)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_saved_half_precision_model_comes_back_in_it(trained: Candidate, dtype: str, tmp_path: Path) -> None:
    saving.save(HalfPrecision(format=dtype).apply(trained, effort=1, seed=0), tmp_path / "saved")
    loaded = saving.load(tmp_path / "saved", open_task=open_task)
    assert {str(parameter.dtype) for parameter in loaded.model.parameters()} == {f"torch.{dtype}"}


@for_any(
    outputs=st.integers(1, 5),
    groups=st.integers(1, 3),
    group=st.sampled_from([5, 8, 32]),
    bits=st.sampled_from([4, 8]),
    seed=st.integers(0, 99),
)
def test_stored_weights_are_within_half_a_step_of_what_they_were(
    outputs: int, groups: int, group: int, bits: int, seed: int
) -> None:
    torch.manual_seed(seed)
    linear = torch.nn.Linear(groups * group, outputs, bias=seed % 2 == 0)
    stored = WeightOnlyLinear.of(linear, bits=bits, group=group)
    step = stored.scale.repeat_interleave(stored.group, dim=1)
    assert ((stored.unpacked() - linear.weight).abs() <= step * 0.5001).all()
    inputs = torch.randn(3, groups * group)
    expected = torch.nn.functional.linear(inputs, stored.unpacked(), linear.bias)
    assert torch.equal(stored(inputs), expected)
    assert torch.equal(copy.deepcopy(stored)(inputs), expected)


@pytest.mark.parametrize(
    ("inputs", "group", "size"), [(384, 128, 128), (48, 32, 24), (7, 4, 7), (6, 128, 6), (61, 32, 61)]
)
def test_a_group_divides_the_inputs(inputs: int, group: int, size: int) -> None:
    assert fitting_group(inputs, group) == size


# sequence_length


def test_sequence_length_reads_what_it_may_and_nothing_after_it(trained: Candidate) -> None:
    cut = SequenceLength(share=0.5).apply(trained, effort=1, seed=0)
    longest = cut.edits[-1]["longest"]
    lengths = sorted(len(item["input_ids"]) for item in trained.features())
    assert longest == lengths[int(0.5 * len(lengths))] < lengths[-1]
    ids = torch.randint(5, 25, (4, longest + 3))
    other = ids.clone()
    other[:, longest:] = 5
    with torch.inference_mode():
        mask = torch.ones_like(ids)
        answers, same = (cut.model(input_ids=read, attention_mask=mask).logits for read in (ids, other))
        assert torch.equal(answers, same)
        kept = trained.model(input_ids=ids[:, :longest], attention_mask=mask[:, :longest]).logits
        assert torch.equal(answers, kept)
        assert torch.equal(cut.model(ids, mask).logits, kept)
    assert structure_digest(cut.model) != structure_digest(trained.model)


def test_what_is_cut_off_the_texts_of_an_onnx_graph_is_another_shape(trained: Candidate) -> None:
    graph = OnnxRuntime().apply(trained, effort=0, seed=0)
    cut = [SequenceLength(share=share).apply(graph, effort=0, seed=0) for share in (0.5, 0.8)]
    assert len({each.edits[-1]["longest"] for each in cut}) == 2
    assert len({structure_digest(each.model) for each in (graph, *cut)}) == 3


# early_exit


def exiting(candidate: Candidate, confidence: float) -> Candidate:
    """With classifiers that have learned enough of the tiny model's states."""
    given = replace(candidate, train=tiny.examples(120, seed=5))
    return EarlyExit(confidence=confidence, learning_rate=1e-2, epochs=20).apply(given, effort=1, seed=0)


def depth_of(candidate: Candidate) -> float:
    depths = candidate.edits[-1]["mix"]
    return float(sum(depths) / len(depths))


def test_the_less_sure_a_classifier_must_be_the_earlier_texts_are_answered(trained: Candidate) -> None:
    depths = [depth_of(exiting(trained, confidence)) for confidence in (0.55, 0.9, 0.9999)]
    assert 1 <= depths[0] < depths[1] < depths[2] <= 4
    assert depths[1] < 3


def test_early_exits_keep_the_quality(trained: Candidate) -> None:
    assert tiny.accuracy(exiting(trained, 0.9)) > 0.9


def test_an_answer_does_not_depend_on_what_else_is_in_the_batch(trained: Candidate) -> None:
    given = exiting(trained, 0.9)
    assert 1 < depth_of(given) < 4
    features = given.task.encode(tiny.examples(40, seed=9), given.tokenizer)
    together = torch.empty(40, 2)
    for places, _, output in batches.forward(given.model, features, pad_token_id=0, batch_size=40):
        together[places] = output.logits
    alone = torch.cat(
        [output.logits for item in features for *_, output in batches.forward(given.model, [item], pad_token_id=0)]
    )
    assert torch.allclose(alone, together, atol=1e-4)


def test_a_measurement_takes_the_depths_of_real_texts(trained: Candidate) -> None:
    model: Any = EarlyExit().apply(trained, effort=0, seed=0).model
    model.remember([3, 1, 4])
    ids = torch.randint(5, 25, (1, 8))
    with torch.inference_mode():
        with placed(TARGET, model):
            replayed = [model.answered_after(input_ids=ids, attention_mask=torch.ones_like(ids)) for _ in range(6)]
        assert replayed == [3, 1, 4, 3, 1, 4]
        with placed(TARGET, model):
            of_two = [model.answered_after(input_ids=ids.expand(2, 8)) for _ in range(3)]
        assert of_two == [3, 4, 4]  # The later one of 3 and 1, of 4 and 3, of 1 and 4.
        assert model.answered_after(input_ids=ids) == copy.deepcopy(model).answered_after(input_ids=ids)


def test_a_trained_model_that_is_timed_on_real_texts_leaves_where_it_does_when_it_serves(trained: Candidate) -> None:
    model: Any = EarlyExit().apply(trained, effort=0, seed=0).model
    on_texts = replace(TARGET, texts=((("a text",),),))
    ids = torch.randint(5, 25, (1, 8))
    serving = model.answered_after(input_ids=ids)
    assert serving == 4
    with torch.inference_mode(), placed(on_texts, model):
        assert [model.answered_after(input_ids=ids) for _ in range(3)] == [1, 2, 3]  # Not trained: as is assumed.
    model.remember([3, 1, 4])
    with torch.inference_mode(), placed(on_texts, model):
        assert [model.answered_after(input_ids=ids) for _ in range(3)] == [serving] * 3


def test_another_mix_of_depths_is_another_shape_and_its_order_is_not(trained: Candidate) -> None:
    model: Any = EarlyExit().apply(trained, effort=0, seed=0).model
    shapes = []
    for mix in ([1, 2, 2], [2, 1, 2], [1, 1, 2], [4, 4, 4]):
        model.remember(mix)
        shapes.append(structure_digest(model))
    assert shapes[0] == shapes[1]
    assert len(set(shapes)) == 3


@pytest.mark.parametrize("effort", [0.0, 1.0])
def test_one_layer_alone_has_no_early_exits(effort: float) -> None:
    start = tiny.candidate(layers=1)
    found = EarlyExit().apply(start, effort=effort, seed=0)
    assert (found.model, found.edits) == (start.model, start.edits)
    assert found.history[-1] == "no early exits, since there is one layer alone"


def test_a_copy_of_a_model_with_early_exits_uses_its_own_classifiers(trained: Candidate) -> None:
    model: Any = EarlyExit(confidence=0.5).apply(trained, effort=0, seed=0).model
    twin = copy.deepcopy(model)
    for one in twin.exits:
        torch.nn.init.zeros_(one.classifier.weight)
        one.classifier.bias.data = torch.tensor([9.0, -9.0])
    ids = torch.randint(5, 25, (1, 8))
    with torch.inference_mode():
        assert twin(input_ids=ids).logits.tolist() == [[9.0, -9.0]]
        assert model(input_ids=ids).logits.tolist() != [[9.0, -9.0]]


def test_early_exits_go_with_8_bits_and_are_saved(trained: Candidate, tmp_path: Path) -> None:
    given = Int8Embeddings().apply(Int8Dynamic().apply(trained, effort=1, seed=0), effort=1, seed=0)
    given = EarlyExit().apply(SequenceLength().apply(given, effort=1, seed=0), effort=1, seed=0)
    saving.save(given, tmp_path / "saved")
    loaded = saving.load(tmp_path / "saved", open_task=open_task)
    assert torch.equal(tiny.logits(loaded), tiny.logits(given))
    assert structure_digest(loaded.model) == structure_digest(given.model)


def test_a_text_that_nobody_is_sure_of_runs_through_all_layers(trained: Candidate) -> None:
    given = EarlyExit(confidence=1.1).apply(trained, effort=1, seed=0)
    assert set(given.edits[-1]["mix"]) == {4}
    assert torch.equal(tiny.logits(given), tiny.logits(trained))
