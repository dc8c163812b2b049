"""What is special to each strategy: the one or two things that it is there for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given as for_any
from hypothesis import strategies as st
from torch.nn import functional as F
from transformers import BertTokenizer

from autoopt.strategies import saving
from autoopt.strategies.acceleration.int8_dynamic import Int8Dynamic
from autoopt.strategies.adaptation import top_layers
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.adaptation.linear_probe import LinearProbe
from autoopt.strategies.adaptation.lora import LoRA
from autoopt.strategies.adaptation.pooling import Pooling
from autoopt.strategies.adaptation.top_layers import TopLayers
from autoopt.strategies.augmentation.random_edits import RandomEdits
from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.compression.distillation import Distillation
from autoopt.strategies.compression.ffn_pruning import FFNPruning
from autoopt.strategies.compression.head_pruning import HeadPruning
from autoopt.strategies.compression.layer_drop import LayerDrop
from autoopt.strategies.compression.recovery_finetuning import RecoveryFinetuning
from autoopt.strategies.errors import DataError, ModelError, UsageError
from autoopt.strategies.networks.architectures import layers
from autoopt.strategies.networks.word_head import WordHead
from autoopt.strategies.stand_ins.int8_linear import Int8Linear
from autoopt.strategies.training import batches, teacher_outputs
from autoopt.strategies.training.loop import Schedule, train
from autoopt.strategies.unsupervised.masked_language_modeling import MaskedLanguageModeling, _word_numbers, mask
from tests import tiny

TRAINED = FullFinetuning(learning_rate=2e-3, epochs=15, head_first=False)
"""Enough for the tiny model to answer nearly everything rightly."""


@pytest.fixture(scope="module")
def given() -> Candidate:
    return tiny.candidate()


@pytest.fixture(scope="module")
def trained(given: Candidate) -> Candidate:
    return TRAINED.apply(given, effort=1, seed=0)


def changed(before: Candidate, after: Candidate) -> set[str]:
    """The names of the tensors that are not what they were."""
    old = before.model.state_dict()
    return {name for name, tensor in after.model.state_dict().items() if not torch.equal(tensor, old[name])}


def divergence(teacher: Any, student: Candidate) -> float:
    """KL(teacher || student) on examples that neither was trained on."""
    target = F.log_softmax(tiny.logits(student, teacher), dim=-1)
    return float(F.kl_div(F.log_softmax(tiny.logits(student), dim=-1), target, log_target=True, reduction="batchmean"))


# unsupervised


def masked_loss(candidate: Candidate) -> float:
    """Cross entropy on hidden words of other texts, with a head that is trained in the same way on any trunk."""
    model: Any = candidate.copy_model()
    tokenizer: Any = candidate.tokenizer
    torch.manual_seed(0)
    words = WordHead(model.base_model)

    def loss(words: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        torch.manual_seed(len(batch["input_ids"]))
        selected, masked = mask(batch["input_ids"], tokenizer)
        return F.cross_entropy(words({**batch, "input_ids": masked}, selected), batch["input_ids"][selected])

    def features(count: int, seed: int) -> list[dict[str, Any]]:
        encoded = candidate.task.encode(tiny.examples(count, seed=seed), tokenizer)
        return [{name: value for name, value in item.items() if name != "labels"} for item in encoded]

    schedule = Schedule(learning_rate=5e-3, epochs=10)
    train(
        words,
        features(48, seed=2),
        schedule,
        pad_token_id=0,
        effort=1,
        seed=0,
        loss=loss,
        parameters=words.head_parameters(),
    )
    with torch.inference_mode():
        return float(loss(words, batches.collate(features(200, seed=9), pad_token_id=0)))


@pytest.mark.slow
def test_masked_language_modeling_lowers_the_masked_loss(given: Candidate) -> None:
    texts = tuple(example.text for example in tiny.examples(96, seed=2))
    strategy = MaskedLanguageModeling(learning_rate=2e-3, epochs=15)
    after = strategy.apply(replace(given, unlabeled=texts), effort=1, seed=0)
    assert masked_loss(after) < masked_loss(given) - 0.02


def test_masked_language_modeling_leaves_the_task_head_as_it_is(given: Candidate) -> None:
    names = changed(given, MaskedLanguageModeling().apply(given, effort=1, seed=0))
    assert any(name.startswith("bert.encoder.layer.0.") for name in names)
    assert not any(name.startswith(("classifier.", "bert.pooler.")) for name in names)


@for_any(ids=st.lists(st.integers(5, 28), min_size=1, max_size=20), seed=st.integers(0, 1000))
def test_masking_hides_a_word_at_least_and_never_a_special_token(ids: list[int], seed: int) -> None:
    tokenizer: Any = tiny.candidate(layers=1).tokenizer
    row = torch.tensor([[tokenizer.cls_token_id, *ids, tokenizer.sep_token_id, tokenizer.pad_token_id]])
    torch.manual_seed(seed)
    selected, hidden = mask(row, tokenizer)
    assert selected.any()
    assert not selected[torch.isin(row, torch.tensor(tokenizer.all_special_ids))].any()
    assert torch.equal(hidden[~selected], row[~selected])


def test_all_pieces_of_a_word_are_hidden_together() -> None:
    tokenizer: Any = tiny.candidate(layers=1).tokenizer
    ids = [tokenizer.cls_token_id, *[tokenizer.vocab["cup"], tokenizer.vocab["##s"]] * 5, tokenizer.sep_token_id]
    assert _word_numbers(ids, tokenizer) == [0, 1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 11]
    row, words = torch.tensor([ids]), torch.tensor([_word_numbers(ids, tokenizer)])
    chosen = []
    for seed in range(30):
        torch.manual_seed(seed)
        selected, _ = mask(row, tokenizer, words=words)
        chosen.append(selected[0, 1:-1])
        assert torch.equal(selected[0, 1:-1:2], selected[0, 2:-1:2])
    assert 0 < torch.stack(chosen).float().mean() < 0.4


def test_masked_language_modeling_needs_a_mask_token(given: Candidate) -> None:
    class Maskless:
        mask_token_id = None

    tokenizer: Any = Maskless()
    with pytest.raises(ModelError, match="needs a tokenizer with a mask token"):
        MaskedLanguageModeling().apply(replace(given, tokenizer=tokenizer), effort=1, seed=0)


# augmentation

words = st.lists(st.sampled_from(tiny.TOPIC_WORDS[0] + tiny.COMMON_WORDS), min_size=1, max_size=12).map(" ".join)


@for_any(
    examples=st.lists(st.builds(Example, words, st.integers(0, 1), st.none() | words), max_size=8).map(tuple),
    share=st.sampled_from([0.05, 0.1, 0.2]),
    copies=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 1000),
)
def test_random_edits_keep_labels_and_words_and_never_give_an_empty_text(
    given: Candidate, examples: tuple[Example, ...], share: float, copies: int, seed: int
) -> None:
    result = RandomEdits(share=share, copies=copies).apply(replace(given, train=examples), effort=1, seed=seed)
    assert result.train[: len(examples)] == examples
    assert len(result.train) == len(examples) * (1 + copies)
    for original, copy in zip(examples * copies, result.train[len(examples) :], strict=True):
        assert copy.label == original.label
        assert copy.text.strip()
        assert set(copy.text.split()) <= set(original.text.split())
        assert (copy.text_pair is None) == (original.text_pair is None)


def test_random_edits_change_most_texts(given: Candidate) -> None:
    result = RandomEdits().apply(given, effort=1, seed=0)
    copies = result.train[len(given.train) :]
    assert sum(copy.text != example.text for copy, example in zip(copies, given.train, strict=True)) > len(copies) / 2


# adaptation


def test_full_finetuning_learns_with_every_layer(given: Candidate, trained: Candidate) -> None:
    assert tiny.accuracy(trained) > 0.9
    assert {f"bert.encoder.layer.{index}.output.dense.weight" for index in range(4)} <= changed(given, trained)


def test_a_linear_probe_learns_and_leaves_the_trunk_untouched() -> None:
    given = Pooling().apply(tiny.candidate(layers=1, seed=5), effort=1, seed=0)
    probed = LinearProbe().apply(given, effort=1, seed=0)
    assert {name.rpartition(".")[0] for name in changed(given, probed)} == {"classifier"}
    assert tiny.accuracy(probed) > 0.7 > tiny.accuracy(given)


def test_a_linear_probe_has_no_use_for_what_it_was_once_trained_with() -> None:
    """Recipes of earlier versions name them."""
    given = tiny.candidate(layers=1, seed=5)
    old = LinearProbe.model_validate({"learning_rate": 3e-3, "epochs": 50, "batch_size": 16})
    results = [strategy.apply(given, effort=1, seed=0) for strategy in (old, LinearProbe())]
    assert tiny.digest(results[0].model) == tiny.digest(results[1].model)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_top_layers_leave_the_lower_layers_untouched(given: Candidate, count: int) -> None:
    names = changed(given, TopLayers(count=count).apply(given, effort=1, seed=0))
    upper = [f"bert.encoder.layer.{index}." for index in range(4 - count, 4)]
    assert all(any(name.startswith(start) for name in names) for start in upper)
    assert [name for name in names if not name.startswith((*upper, "bert.pooler.", "classifier."))] == []


def test_top_layers_give_the_same_whether_the_frozen_layers_were_recorded_or_not(
    given: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = TopLayers().apply(given, effort=1, seed=0)
    monkeypatch.setattr(top_layers, "LARGEST_RECORD_BYTES", 0)
    computed = TopLayers().apply(given, effort=1, seed=0)
    torch.testing.assert_close(tiny.logits(computed), tiny.logits(recorded), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("targets", ["attention", "all"])
def test_lora_is_merged_into_the_weights(given: Candidate, targets: str) -> None:
    adapted = LoRA(rank=8, targets=targets).apply(given, effort=1, seed=0)
    assert [path for path, module in adapted.model.named_modules() if type(module).__module__.startswith("peft")] == []
    before, after = given.model.state_dict(), adapted.model.state_dict()
    assert list(after) == list(before)
    inner = {name for name in changed(given, adapted) if ".encoder." in name}
    assert any(".output.dense." in name for name in inner) == (targets == "all")
    assert any(".attention.self.query." in name for name in inner)
    for name in inner:
        singular = torch.linalg.svdvals((after[name] - before[name]).double())
        assert singular[8] < 1e-4 * singular[0], f"{name} changed by more than rank 8"


# compression


def idle(given: Candidate, *indices: int) -> Candidate:
    """The candidate with these layers made to pass on what they get."""
    model = given.copy_model()
    for index in indices:
        layer: Any = layers(model)[index]
        for linear in (layer.attention.output.dense, layer.output.dense):
            torch.nn.init.zeros_(linear.weight)
            torch.nn.init.zeros_(linear.bias)
    return replace(given, model=model)


@pytest.mark.parametrize(
    ("idle_layers", "keep", "kept"),
    [((1, 2), 0.67, [0, 3, 4, 5]), ((1, 4), 0.67, [0, 2, 3, 5]), ((1, 2, 3), 0.5, [0, 4, 5]), ((1, 2), 0.33, [0, 5])],
)
def test_layer_drop_keeps_both_ends_and_drops_the_layers_that_do_least(
    idle_layers: tuple[int, ...], keep: float, kept: list[int]
) -> None:
    given = idle(tiny.candidate(layers=6), *idle_layers)
    result = LayerDrop(keep=keep).apply(given, effort=1, seed=0)
    assert result.history[-1] == f"kept layers {kept} of 6"
    for layer, index in zip(layers(result.model), kept, strict=True):
        original = layers(given.model)[index].state_dict()
        assert all(torch.equal(tensor, original[name]) for name, tensor in layer.state_dict().items())


@pytest.mark.parametrize("seed", range(4))
def test_layer_drop_never_keeps_simply_the_first_layers(seed: int) -> None:
    given = tiny.candidate(layers=6, seed=seed)
    for effort in (0, 1):
        history = LayerDrop(keep=0.5).apply(given, effort=effort, seed=0).history[-1]
        assert history.startswith("kept layers [0, ")
        assert history.endswith(", 5] of 6")


@pytest.mark.parametrize(("choose", "kept"), [("bottom", "[0, 1]"), ("spread", "[0, 3]")])
@pytest.mark.parametrize("effort", [0, 1])
def test_layer_drop_chooses_as_it_is_told(given: Candidate, choose: Any, kept: str, effort: float) -> None:
    assert f"kept layers {kept} of 4" in LayerDrop(choose=choose).apply(given, effort=effort, seed=0).history[-1]


@pytest.mark.parametrize("strategy", [LayerDrop(keep=0.83), FFNPruning()], ids=["layer_drop", "ffn_pruning"])
def test_a_cut_without_any_text_says_so(given: Candidate, strategy: LayerDrop | FFNPruning) -> None:
    with pytest.raises(DataError, match="neither training nor unlabeled texts"):
        strategy.apply(replace(given, train=(), unlabeled=()), effort=1, seed=0)


@pytest.mark.parametrize(("keep", "kept"), [(0.5, "[0, 3]"), (0.17, "[0]")])
def test_the_ends_alone_are_kept_without_looking_at_texts(given: Candidate, keep: float, kept: str) -> None:
    result = LayerDrop(keep=keep).apply(replace(given, train=(), unlabeled=()), effort=1, seed=0)
    assert result.history[-1] == f"kept layers {kept} of 4"


def sliced(full: Candidate, pruned: Candidate) -> Candidate:
    """The pruned candidate with its least-squares repair undone: the same columns as they were in the full model."""
    model = pruned.copy_model()
    for new, old in zip(layers(model), layers(full.model), strict=True):
        narrow, wide = (layer.get_parameter("intermediate.dense.weight") for layer in (new, old))
        columns = (narrow[:, None] == wide[None]).all(-1).int().argmax(1)
        output = new.get_parameter("output.dense.weight")
        output.data = layer_output(old)[:, columns].clone()
    return replace(pruned, model=model)


def layer_output(layer: torch.nn.Module) -> torch.Tensor:
    return layer.get_parameter("output.dense.weight").detach()


@pytest.mark.parametrize("keep", [0.75, 0.5])
def test_the_repair_of_ffn_pruning_is_nearer_to_the_full_model_than_slicing(trained: Candidate, keep: float) -> None:
    pruned = FFNPruning(keep=keep).apply(trained, effort=1, seed=0)
    full = tiny.logits(trained)
    repaired_error = (tiny.logits(pruned) - full).norm()
    sliced_error = (tiny.logits(sliced(trained, pruned)) - full).norm()
    assert repaired_error < 0.8 * sliced_error


@pytest.mark.parametrize(("keep", "width"), [(0.75, 48), (0.5, 32), (0.25, 16), (0.125, 8)])
def test_ffn_pruning_makes_both_matrices_smaller(given: Candidate, keep: float, width: int) -> None:
    pruned = FFNPruning(keep=keep).apply(given, effort=1, seed=0)
    assert pruned.model.config.intermediate_size == width
    for layer in layers(pruned.model):
        assert layer.get_parameter("intermediate.dense.weight").shape == (width, 32)
        assert layer.get_parameter("output.dense.weight").shape == (32, width)


def test_recovery_finetuning_makes_good_what_a_cut_has_cost(trained: Candidate) -> None:
    cut = FFNPruning(keep=0.125).apply(LayerDrop(keep=0.5).apply(trained, effort=1, seed=0), effort=1, seed=0)
    recovered = RecoveryFinetuning(learning_rate=2e-3, epochs=15).apply(cut, effort=1, seed=0)
    assert tiny.accuracy(recovered) >= tiny.accuracy(cut)
    assert divergence(trained.model, recovered) < divergence(trained.model, cut)


def test_distillation_moves_the_answers_towards_the_teachers(trained: Candidate) -> None:
    student = LayerDrop(keep=0.5).apply(replace(trained, teacher=trained.model), effort=1, seed=0)
    distilled = Distillation(learning_rate=2e-3, epochs=8).apply(student, effort=1, seed=0)
    assert divergence(trained.model, distilled) < divergence(trained.model, student) / 2


def test_distillation_learns_from_unlabeled_texts_what_labelled_ones_do_not_show(trained: Candidate) -> None:
    texts = tuple(example.text for example in tiny.examples(200, seed=7))
    student = LayerDrop(keep=0.5).apply(replace(trained, teacher=trained.model), effort=1, seed=0)
    student = replace(student, train=trained.train[:4], unlabeled=texts)
    settings = {"learning_rate": 2e-3, "epochs": 60}

    def distilled(count: int) -> Candidate:
        strategy = Distillation().model_copy(update={**settings, "texts": count})
        return strategy.apply(student, effort=1, seed=0)

    assert divergence(trained.model, distilled(100)) < 0.7 * divergence(trained.model, distilled(0))
    assert distilled(100).train == student.train


def test_distillation_asks_the_teacher_of_unlabeled_texts_only_where_there_are_any(
    trained: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    recorded = teacher_outputs.recorded_outputs

    def counted(model: Any, features: Any, *, pad_token_id: int) -> Any:
        asked.append(len(features))
        return recorded(model, features, pad_token_id=pad_token_id)

    monkeypatch.setattr("autoopt.strategies.compression.distillation.recorded_outputs", counted)
    student = LayerDrop().apply(
        replace(trained, teacher=trained.model, unlabeled=("a cup", "a goal")), effort=1, seed=0
    )
    Distillation().apply(student, effort=0.01, seed=0)
    assert asked == [len(student.train)]
    Distillation(texts=2000).apply(student, effort=0.01, seed=0)
    assert asked[1:] == [len(student.train), 2]


def test_distillation_follows_the_teacher_where_the_labels_say_otherwise(given: Candidate, trained: Candidate) -> None:
    wrong = tuple(replace(example, label=1 - tiny.class_of(example)) for example in given.train)
    student = replace(given, train=wrong, teacher=trained.model)
    strategy = Distillation(learning_rate=2e-3, epochs=15, weight=0.9, temperature=1.0)
    assert tiny.accuracy(strategy.apply(student, effort=1, seed=0)) > 0.8


@pytest.mark.parametrize("match", ["hidden", "relations"])
def test_distillation_brings_what_happens_within_nearer_to_the_teacher(trained: Candidate, match: Any) -> None:
    student = HeadPruning().apply(LayerDrop().apply(trained, effort=1, seed=0), effort=1, seed=0)
    student = replace(student, teacher=trained.model)
    batch = batches.collate(student.features(), pad_token_id=0)

    def apart(candidate: Candidate) -> float:
        inner = Distillation(match=match)._inner(candidate.model, trained.model)
        with torch.no_grad():
            return float(inner.run(candidate.model, dict(batch))[1])

    without = Distillation(learning_rate=2e-3, epochs=20).apply(student, effort=1, seed=0)
    with_it = Distillation(learning_rate=2e-3, epochs=20, match=match).apply(student, effort=1, seed=0)
    assert apart(with_it) < 0.8 * min(apart(student), apart(without))
    assert tiny.accuracy(with_it) > 0.8


def test_relations_are_none_to_padding_and_nothing_apart_from_themselves(trained: Candidate) -> None:
    inner = Distillation(match="relations")._inner(trained.model, trained.model)
    features = trained.features()
    student = FFNPruning(keep=0.25).apply(trained, effort=1, seed=0).model
    found = []
    for longer in (0, 3):
        batch = batches.collate(features, pad_token_id=0)
        batch = {name: F.pad(value, (0, longer)) if value.dim() > 1 else value for name, value in batch.items()}
        with torch.no_grad():
            assert float(inner.run(trained.model, batch)[1]) == pytest.approx(0, abs=1e-6)
            found.append(float(inner.run(student, batch)[1]))
    assert found[1] == pytest.approx(found[0], rel=1e-4) != 0


@pytest.mark.parametrize("saved_by", ["autoopt", "transformers"])
def test_distillation_may_learn_from_another_model(
    given: Candidate, trained: Candidate, saved_by: str, tmp_path: Path
) -> None:
    """The trunk knows nothing, the named teacher knows it all, and the labels are all wrong."""
    if saved_by == "autoopt":
        saving.save(FFNPruning().apply(trained, effort=1, seed=0), tmp_path / "teacher")
    else:
        trained.model.save_pretrained(tmp_path / "teacher")
        trained.tokenizer.save_pretrained(tmp_path / "teacher")
    wrong = tuple(replace(example, label=1 - tiny.class_of(example)) for example in given.train)
    student = LayerDrop().apply(replace(given, train=wrong, teacher=given.model), effort=1, seed=0)
    strategy = Distillation(teacher=str(tmp_path / "teacher"), weight=1.0, learning_rate=2e-3, epochs=15)
    assert tiny.accuracy(strategy.apply(student, effort=1, seed=0)) > 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("nothing there", "cannot open the teacher"),
        ("other classes", "is for the classes no, yes, and the data has business, sport; give one that was trained on"),
        ("other tokens", "has other tokens than the model"),
    ],
)
def test_a_teacher_that_cannot_be_one_says_why(given: Candidate, change: str, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "teacher"
    model: Any = given.copy_model()
    if change == "other classes":
        model.config.id2label = {0: "no", 1: "yes"}
    if change != "nothing there":
        model.save_pretrained(folder)
        words = tiny.VOCABULARY[:-1] if change == "other tokens" else tiny.VOCABULARY
        BertTokenizer({word: number for number, word in enumerate(words)}).save_pretrained(folder)
    with pytest.raises(ModelError, match=message):
        Distillation(teacher=str(folder), match="hidden").apply(replace(given, teacher=given.model), effort=1, seed=0)


def test_distillation_without_a_teacher_says_what_to_do(given: Candidate) -> None:
    with pytest.raises(UsageError, match="has no teacher; put a strategy that learns the task before it"):
        Distillation().apply(given, effort=0, seed=0)


# acceleration


@pytest.mark.parametrize("per_token", [False, True])
def test_int8_dynamic_nearly_keeps_the_answers_and_shrinks_the_files(
    trained: Candidate, per_token: bool, tmp_path: Path
) -> None:
    quantized = Int8Dynamic(per_token=per_token).apply(trained, effort=1, seed=0)
    full, now = tiny.logits(trained), tiny.logits(quantized)
    assert not torch.equal(now, full)
    assert (now - full).norm() < 0.1 * full.norm()
    saving.save(trained, tmp_path / "full")
    saving.save(quantized, tmp_path / "quantized")
    assert saving.size_bytes(tmp_path / "quantized") < saving.size_bytes(tmp_path / "full") / 2


@pytest.mark.parametrize("per_token", [False, True])
@pytest.mark.parametrize("make", [torch.ones, torch.randn], ids=["equal weights", "random weights"])
def test_8_bit_products_never_overflow(make: Callable[..., torch.Tensor], per_token: bool) -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(64, 8)
    linear.weight.data = make(8, 64)
    inputs = torch.cat([torch.ones(1, 64), torch.rand(3, 64)])
    with torch.inference_mode():
        expected, answer = linear(inputs), Int8Linear.of(linear, per_token=per_token)(inputs)
    assert (answer - expected).norm() < 0.03 * expected.norm()


def test_a_scale_for_each_token_keeps_small_tokens_beside_an_outlier() -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(64, 8, bias=False)
    inputs = torch.randn(4, 64)
    inputs[0] *= 1000
    with torch.inference_mode():
        expected = linear(inputs)[1:]
        errors = [(Int8Linear.of(linear, per_token=each)(inputs)[1:] - expected).norm() for each in (True, False)]
    assert errors[0] < 0.03 * expected.norm()
    assert errors[1] > 0.5 * expected.norm()
