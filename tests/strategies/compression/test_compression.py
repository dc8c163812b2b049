"""What is special to cuts of heads and ranks, and to 8-bit embeddings: what does not matter is what goes."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given as for_any
from hypothesis import strategies as st

from autoopt.strategies import saving
from autoopt.strategies.acceleration.int8_dynamic import Int8Dynamic
from autoopt.strategies.acceleration.int8_embeddings import Int8Embeddings
from autoopt.strategies.acceleration.onnx_runtime import OnnxRuntime
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.compression import joint_pruning
from autoopt.strategies.compression.embedding_factorization import EmbeddingFactorization
from autoopt.strategies.compression.ffn_pruning import FFNPruning
from autoopt.strategies.compression.head_pruning import HeadPruning
from autoopt.strategies.compression.joint_pruning import JointPruning
from autoopt.strategies.compression.layer_drop import LayerDrop
from autoopt.strategies.compression.low_rank import LowRank
from autoopt.strategies.compression.magnitude_pruning import MagnitudePruning
from autoopt.strategies.compression.recovery_finetuning import RecoveryFinetuning
from autoopt.strategies.compression.wanda import Wanda
from autoopt.strategies.compression.weight_sharing import WeightSharing
from autoopt.strategies.networks import calibration
from autoopt.strategies.networks.architectures import layers
from autoopt.strategies.networks.pruning import labelled_sample, loss_of
from autoopt.strategies.networks.refitting import second_moments
from autoopt.strategies.stand_ins.contract import parameter_count
from autoopt.strategies.stand_ins.sparse_linear import SparseLinear, kept_of
from autoopt.strategies.stand_ins.structure import structure_digest
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.system.recordings import MAX_RECORDINGS
from autoopt.strategies.training import teacher_outputs
from tests import tiny


@pytest.fixture(scope="module")
def trained() -> Candidate:
    return FullFinetuning(learning_rate=2e-3, epochs=15).apply(tiny.candidate(), effort=1, seed=0)


def with_idle_heads(candidate: Candidate, idle: tuple[int, ...]) -> Candidate:
    """The candidate with these heads of each layer, of width 8, made to find nothing."""
    model = candidate.copy_model()
    for layer in layers(model):
        value: Any = layer.get_submodule("attention.self.value")
        for head in idle:
            torch.nn.init.zeros_(value.weight[head * 8 : head * 8 + 8])
            torch.nn.init.zeros_(value.bias[head * 8 : head * 8 + 8])
    return replace(candidate, model=model)


@pytest.mark.parametrize("idle", [(0, 1), (0, 3), (2, 3)])
def test_head_pruning_removes_the_heads_that_do_nothing(trained: Candidate, idle: tuple[int, ...]) -> None:
    given = with_idle_heads(trained, idle)
    pruned = HeadPruning(keep=0.5).apply(given, effort=1, seed=0)
    assert pruned.history[-1] == "2 of 4 heads in each layer"
    error = (tiny.logits(pruned) - tiny.logits(given)).norm()
    assert error < 0.02 * tiny.logits(given).norm()
    blind = HeadPruning(keep=0.5).apply(given, effort=0, seed=0)  # Which keeps heads for their shape alone.
    if idle == (0, 1):
        assert (tiny.logits(blind) - tiny.logits(given)).norm() > 5 * error


def test_the_repair_of_head_pruning_is_nearer_to_the_full_model_than_slicing(
    trained: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autoopt.strategies.networks import pruning

    repaired = HeadPruning(keep=0.5).apply(trained, effort=1, seed=0)
    monkeypatch.setattr(pruning, "refit", lambda _, weight, columns: weight[:, columns])
    sliced = HeadPruning(keep=0.5).apply(trained, effort=1, seed=0)
    full = tiny.logits(trained)
    assert (tiny.logits(repaired) - full).norm() < 0.9 * (tiny.logits(sliced) - full).norm()


def cost_of(model: Any) -> float:
    """By the shapes alone, as a share of the whole tiny model of four layers."""
    total = 0.0
    present: list[Any] = list(layers(model))
    for layer in present:
        heads, width = layer.attention.self.query.out_features / 32, layer.intermediate.dense.out_features / 64
        total += 0.25 + 0.75 * (heads + width) / 2  # Four matrices of 32 x 32 against two of 32 x 64.
    return total / 4


@pytest.mark.parametrize("keep", [0.75, 0.5, 0.33, 0.25, 0.17])
@pytest.mark.parametrize("effort", [0, 1])
def test_joint_pruning_spends_what_it_may(trained: Candidate, keep: float, effort: float) -> None:
    cut = JointPruning(keep=keep).apply(trained, effort=effort, seed=0)
    assert keep - 0.06 < cost_of(cut.model) <= max(keep, 0.11)  # A layer with next to nothing in it costs 0.08.
    assert torch.isfinite(tiny.logits(cut)).all()


def test_joint_pruning_looks_at_as_many_tokens_as_it_is_told(
    trained: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[int] = []
    cut = joint_pruning._cut

    def counted(candidate: Candidate, places: list[int], keep: float, labelled: list[Any], texts: list[Any]) -> Any:
        looked_at.append(len(labelled))
        assert [item["input_ids"] for item in labelled] == [item["input_ids"] for item in texts]
        return cut(candidate, places, keep, labelled, texts)

    monkeypatch.setattr(joint_pruning, "_cut", counted)
    monkeypatch.setattr(joint_pruning, "FEWEST", 4)
    tokens = sum(len(item["input_ids"]) for item in trained.features())
    for share in (1.0, 0.5, 0.001):
        looked_at.clear()
        JointPruning(calibration_tokens=int(share * tokens)).apply(trained, effort=1, seed=0)
        assert set(looked_at) == {max(4, round(share * len(trained.train)))}


def test_joint_pruning_keeps_what_is_worth_something(trained: Candidate) -> None:
    """A layer that adds nothing is the first to go, and the answers stay."""
    model: Any = trained.copy_model()
    idle: Any = layers(model)[1]
    with torch.no_grad():
        for part in (idle.attention.output.dense, idle.output.dense):
            part.weight.zero_()
    given = replace(trained, model=model)
    labelled = labelled_sample(given, 24, 0)
    assert list(joint_pruning._fewer_and_fewer(given, [4, 3], labelled)) == [[0, 1, 2, 3], [0, 2, 3]]
    cut = JointPruning(keep=0.6).apply(given, effort=1, seed=0)
    assert loss_of(given, cut.model, labelled) < loss_of(given, model, labelled) + 0.02


def test_joint_pruning_divides_the_cost_by_what_is_worth_something(trained: Candidate) -> None:
    model: Any = trained.copy_model()
    partly: Any = layers(model)[2]
    with torch.no_grad():
        partly.attention.output.dense.weight[:, :16] = 0  # Heads 0 and 1 of 4.
        partly.output.dense.weight[:, :48] = 0
    given = replace(trained, model=model)
    labelled = labelled_sample(given, 24, 0)
    _, parts = joint_pruning._cut(given, [0, 1, 2, 3], 0.7, labelled, labelled)
    assert parts[2].heads <= 2
    assert parts[2].width <= 16
    assert sum(part.heads for part in parts) > 8


@for_any(
    of_heads=st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=2), min_size=2, max_size=3),
    seed=st.integers(0, 99),
    keep=st.sampled_from([0.1, 0.4, 0.7, 1.0]),
)
def test_the_division_of_joint_pruning_is_the_best_one(of_heads: list[list[float]], seed: int, keep: float) -> None:
    heads = torch.tensor(of_heads)
    columns = torch.rand(len(of_heads), 3, generator=torch.Generator().manual_seed(seed))
    budget = keep * len(of_heads)
    found = joint_pruning._best_parts(heads, columns, 0.4, budget)

    def worth(parts: Sequence[joint_pruning.Part]) -> float:
        return sum(
            float(heads[place].topk(part.heads).values.sum() + columns[place].topk(part.width).values.sum())
            for place, part in enumerate(parts)
        )

    def cost(parts: Sequence[joint_pruning.Part]) -> int:
        return sum(joint_pruning._cost(part.heads / 2, part.width / 3, 0.4) for part in parts)

    parts = [joint_pruning.Part(h, w) for h in (1, 2) for w in (1, 2, 3)]
    plans = list(itertools.product(parts, repeat=len(of_heads)))
    limit = max(int(budget * joint_pruning.GRAIN), min(map(cost, plans)))
    assert cost(found) <= limit
    assert worth(found) == pytest.approx(max(worth(plan) for plan in plans if cost(plan) <= limit))


def test_low_rank_keeps_the_answers_where_the_matrices_are_of_that_rank(trained: Candidate) -> None:
    model = trained.copy_model()
    torch.manual_seed(0)
    for layer in layers(model):
        for module in layer.modules():
            if isinstance(module, torch.nn.Linear):
                outputs, inputs = module.weight.shape
                module.weight.data = torch.randn(outputs, 4) @ torch.randn(4, inputs) / 8
    given = replace(trained, model=model)
    factored = LowRank(keep=0.17).apply(given, effort=1, seed=0)
    torch.testing.assert_close(tiny.logits(factored), tiny.logits(given), rtol=1e-3, atol=1e-3)


def test_second_moments_are_those_of_what_enters_the_part(trained: Candidate) -> None:
    model: Any = trained.copy_model()
    calls = calibration.first_layer_calls(model, calibration.sample(trained, 20, 0), pad_token_id=0)
    layer, other = layers(model)[:2]
    inner: Any = layer.get_submodule("intermediate.dense")
    entered: list[torch.Tensor] = []
    hook = inner.register_forward_pre_hook(lambda _, args: entered.append(args[0]))
    for call in calls:
        call.run(layer)
    hook.remove()
    tokens = torch.cat([found[call.mask] for found, call in zip(entered, calls, strict=True)]).double()
    torch.testing.assert_close(second_moments(layer, inner, calls), tokens.T @ tokens, rtol=1e-4, atol=1e-4)
    foreign: Any = other.get_submodule("intermediate.dense")
    with pytest.raises(ValueError, match="is not called by the layer"):
        second_moments(layer, foreign, calls)


def test_factors_made_for_the_activations_beat_plain_ones(trained: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    from autoopt.strategies.compression import low_rank

    full = tiny.logits(trained)
    aware = (tiny.logits(LowRank(keep=0.33).apply(trained, effort=1, seed=0)) - full).norm()
    monkeypatch.setattr(low_rank, "second_moments", lambda _, linear, __: torch.eye(linear.in_features).double())
    assert aware < (tiny.logits(LowRank(keep=0.33).apply(trained, effort=1, seed=0)) - full).norm()


def test_weight_sharing_is_smaller_as_a_file_and_runs_as_many_layers(trained: Candidate, tmp_path: Path) -> None:
    shared = WeightSharing(group=2).apply(trained, effort=1, seed=0)
    assert len(layers(shared.model)) == 4
    first, second, third, _ = layers(shared.model)
    assert first is second is not third
    before = [layer.get_parameter("output.dense.weight") for layer in layers(trained.model)]
    torch.testing.assert_close(first.get_parameter("output.dense.weight"), (before[0] + before[1]) / 2)
    both = Int8Dynamic().apply(shared, effort=1, seed=0)
    for name, candidate in {"full": trained, "shared": shared, "both": both}.items():
        saving.save(candidate, tmp_path / name)
    sizes = [saving.size_bytes(tmp_path / name) for name in ("full", "shared", "both")]
    assert sizes[0] > sizes[1] > sizes[2]
    loaded, edits, _ = saving.load_weights(tmp_path / "both")
    assert edits == both.edits
    assert torch.equal(tiny.logits(both, loaded), tiny.logits(both))


def test_factored_embeddings_are_best_for_the_words_that_are_used(trained: Candidate) -> None:
    seen = replace(trained, train=(Example("chelsea cup goal", 1),) * 50)
    factored = EmbeddingFactorization(keep=0.25).apply(seen, effort=1, seed=0)
    tables: list[Any] = [found.model.get_input_embeddings() for found in (trained, factored)]
    tokenizer: Any = trained.tokenizer
    ids = torch.arange(len(tokenizer))
    errors = (tables[1](ids) - tables[0](ids)).norm(dim=1).detach()
    used = tokenizer.convert_tokens_to_ids(["chelsea", "cup", "goal"])
    assert float(errors[used].max()) < 0.5 * float(errors.mean())
    assert tables[1](ids).shape == tables[0](ids).shape


def test_cuts_and_8_bits_go_together_and_are_saved_together(trained: Candidate, tmp_path: Path) -> None:
    from autoopt.objectives.tasks import open_task

    candidate = trained
    for strategy in (LayerDrop(), FFNPruning(), HeadPruning(), LowRank(), Int8Dynamic(), Int8Embeddings()):
        candidate = strategy.apply(candidate, effort=1, seed=0)
    saving.save(candidate, tmp_path / "saved")
    loaded = saving.load(tmp_path / "saved", open_task=open_task)
    assert torch.equal(tiny.logits(loaded), tiny.logits(candidate))


@pytest.mark.slow
def test_a_cut_model_in_onnx_runtime_answers_alike_and_is_saved(trained: Candidate, tmp_path: Path) -> None:
    from autoopt.objectives.tasks import open_task

    cut = HeadPruning().apply(FFNPruning().apply(trained, effort=1, seed=0), effort=1, seed=0)
    exact = OnnxRuntime(precision="fp32").apply(cut, effort=1, seed=0)
    torch.testing.assert_close(tiny.logits(exact), tiny.logits(cut), rtol=1e-4, atol=1e-4)
    saving.save(exact, tmp_path / "saved")
    loaded = saving.load(tmp_path / "saved", open_task=open_task)
    assert torch.equal(tiny.logits(loaded), tiny.logits(exact))
    assert loaded.model.shape == exact.model.shape


@pytest.mark.slow
def test_8_bits_in_onnx_runtime_nearly_keep_the_answers_and_have_a_shape_of_their_own(trained: Candidate) -> None:
    quantized = OnnxRuntime().apply(trained, effort=1, seed=0)
    assert (tiny.logits(quantized) - tiny.logits(trained)).norm() < 0.1 * tiny.logits(trained).norm()
    again = OnnxRuntime().apply(replace(trained, model=tiny.model(seed=9)), effort=1, seed=0)
    assert structure_digest(quantized.model) == structure_digest(again.model) != structure_digest(trained.model)
    assert parameter_count(quantized.model) == parameter_count(trained.model)


def test_8_bit_embeddings_nearly_keep_the_answers_and_shrink_the_table(trained: Candidate) -> None:
    quantized = Int8Embeddings().apply(trained, effort=1, seed=0)
    assert not torch.equal(tiny.logits(quantized), tiny.logits(trained))
    assert (tiny.logits(quantized) - tiny.logits(trained)).norm() < 0.02 * tiny.logits(trained).norm()
    table: Any = quantized.model.get_input_embeddings()
    before: Any = trained.model.get_input_embeddings()
    assert sum(tensor.nbytes for tensor in table.state_dict().values()) < 0.4 * before.weight.nbytes


@for_any(
    outputs=st.integers(1, 9), inputs=st.integers(1, 9), keep=st.sampled_from([0.3, 0.5, 0.7]), seed=st.integers(0, 99)
)
def test_a_sparse_layer_is_the_dense_one_with_zeros(outputs: int, inputs: int, keep: float, seed: int) -> None:
    torch.manual_seed(seed)
    linear = torch.nn.Linear(inputs, outputs)
    kept = kept_of(linear.weight.detach().abs(), keep, "rows")
    sparse = SparseLinear.of(linear, kept)
    assert torch.equal(sparse.unpacked(), linear.weight * kept)
    assert set(kept.sum(1).tolist()) == {max(1, round(keep * inputs))}
    batch = torch.randn(3, inputs)
    expected = torch.nn.functional.linear(batch, linear.weight * kept, linear.bias)
    with torch.inference_mode():
        assert torch.equal(sparse(batch), expected)
        assert torch.equal(copy.deepcopy(sparse)(batch), expected)
    assert torch.equal(sparse(batch), expected)


def test_of_four_neighbours_the_two_largest_stay() -> None:
    scores = torch.tensor([[4.0, 1, 3, 2, 0, 9, 8, 1]])
    assert kept_of(scores, 0.9, "2:4").tolist() == [[True, False, True, False, False, True, True, False]]


@pytest.mark.parametrize("strategy", [MagnitudePruning(), Wanda()], ids=lambda strategy: strategy.name)
def test_recovery_trains_what_is_left_and_keeps_the_zeros(trained: Candidate, strategy: Strategy) -> None:
    cut = strategy.apply(trained, effort=1, seed=0)
    recovered = RecoveryFinetuning().apply(cut, effort=1, seed=0)
    before: Any = cut.model.get_submodule("bert.encoder.layer.0.intermediate.dense")
    after: Any = recovered.model.get_submodule("bert.encoder.layer.0.intermediate.dense")
    assert torch.equal(before.unpacked() == 0, after.unpacked() == 0)
    assert not torch.equal(before.values, after.values)
    assert float((after.unpacked() == 0).float().mean()) == pytest.approx(0.5)


def test_wanda_keeps_what_is_fed_where_magnitudes_do_not(trained: Candidate) -> None:
    """Inputs that are always zero need no weights, however large these are."""
    model = trained.copy_model()
    mixing: Any = model.get_submodule("bert.encoder.layer.0.output.dense")
    inner: Any = model.get_submodule("bert.encoder.layer.0.intermediate.dense")
    with torch.no_grad():
        inner.weight[:32] = 0
        inner.bias[:32] = -50.0  # GELU makes zero of it.
        mixing.weight[:, :32] *= 9
    given = replace(trained, model=model)
    cuts: list[Any] = [
        strategy.apply(given, effort=1, seed=0).model.get_submodule("bert.encoder.layer.0.output.dense")
        for strategy in (Wanda(), MagnitudePruning())
    ]
    assert [bool((cut.unpacked()[:, :32] != 0).any()) for cut in cuts] == [False, True]


def test_zeros_take_a_bit_each(trained: Candidate) -> None:
    sizes = []
    for candidate in (trained, MagnitudePruning(keep=0.3).apply(trained, effort=1, seed=0)):
        linears = {
            name: t for name, t in candidate.model.state_dict().items() if ".layer." in name and "Norm" not in name
        }
        sizes.append(sum(tensor.numel() * tensor.element_size() for tensor in linears.values()))
    assert sizes[1] / sizes[0] == pytest.approx(0.3 + 1 / 32, abs=0.03)


def test_leaves_of_one_trunk_share_its_recorded_answers(trained: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[int] = []
    record = teacher_outputs.record_outputs

    def counted(model: Any, features: Any, *, pad_token_id: int) -> Any:
        recorded.append(len(features))
        return record(model, features, pad_token_id=pad_token_id)

    monkeypatch.setattr(teacher_outputs, "record_outputs", counted)
    teacher_outputs._recordings.clear()
    features, pad = trained.features(), trained.tokenizer.pad_token_id
    first = teacher_outputs.recorded_outputs(trained.model, features, pad_token_id=pad)
    again = teacher_outputs.recorded_outputs(trained.copy_model(), features, pad_token_id=pad)
    assert len(recorded) == 1
    assert all(torch.equal(a["logits"], b["logits"]) for a, b in zip(first, again, strict=True))
    other: Any = trained.copy_model()
    with torch.no_grad():
        next(other.parameters()).add_(0.01)
    teacher_outputs.recorded_outputs(other, features, pad_token_id=pad)
    teacher_outputs.recorded_outputs(trained.model, features[:-1], pad_token_id=pad)
    assert recorded == [len(features), len(features), len(features) - 1]
    for count in range(1, MAX_RECORDINGS + 2):
        teacher_outputs.recorded_outputs(trained.model, features[:count], pad_token_id=pad)
    assert len(teacher_outputs._recordings) == MAX_RECORDINGS
    monkeypatch.setattr(teacher_outputs._recordings, "max_numbers", 1)
    teacher_outputs.recorded_outputs(trained.model, features[:9], pad_token_id=pad)
    assert len(teacher_outputs._recordings) == MAX_RECORDINGS


def test_both_factors_of_a_low_rank_layer_are_of_one_size_so_that_training_moves_both_alike(trained: Candidate) -> None:
    cut: Any = LowRank(keep=0.33).apply(trained, effort=1, seed=0).model
    pairs: list[Any] = [part for part in cut.modules() if isinstance(part, torch.nn.Sequential) and len(part) == 2]
    assert pairs
    for thin, wide in pairs:
        assert torch.allclose(thin.weight.norm(dim=1), wide.weight.norm(dim=0), rtol=1e-3)
