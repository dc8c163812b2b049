from collections.abc import Callable

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from autoopt.objectives.target import Target
from autoopt.objectives.timing.model_call import calibrate_model, compare_models, model_call, model_calls, placed
from autoopt.strategies.errors import ModelError

TARGET = Target(batch_size=2, sequence_length=16)


def bert(**changes: int) -> BertForSequenceClassification:
    sizes = {"vocab_size": 100, "hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 4}
    config = BertConfig.from_dict({**sizes, "num_hidden_layers": 2, **changes})
    model = BertForSequenceClassification(config)
    model.train(mode=False)
    return model


def inputs_of(model: BertForSequenceClassification, target: Target, seed: int) -> dict[str, torch.Tensor]:
    inputs_seen = {}
    hook = model.register_forward_pre_hook(lambda _, args, inputs: inputs_seen.update(inputs), with_kwargs=True)
    model_call(model, target, seed=seed)()
    hook.remove()
    return inputs_seen


def test_the_model_reads_tokens_of_its_vocabulary_in_the_shape_of_the_target() -> None:
    inputs = inputs_of(bert(), TARGET, seed=0)
    assert inputs["input_ids"].shape == (2, 16)
    assert int(inputs["input_ids"].min()) >= 0
    assert int(inputs["input_ids"].max()) < 100
    assert inputs["attention_mask"].eq(1).all()


def test_there_is_a_call_for_each_length_of_the_target() -> None:
    model, read = bert(), []
    model.register_forward_pre_hook(lambda _, args, inputs: read.append(inputs["input_ids"].shape), with_kwargs=True)
    for call in model_calls(model, Target(batch_size=2, lengths=(8, 8, 24))):
        call()
    assert read == [(2, 8), (2, 8), (2, 24)]


def test_over_several_lengths_one_layer_is_faster_than_four_too() -> None:
    torch.set_num_threads(1)
    target = Target(lengths=(8, 16, 48))
    comparison = compare_models(bert(num_hidden_layers=1), bert(num_hidden_layers=4), target)
    assert comparison.high < 0.9
    assert comparison.samples % 3 == 0


def test_the_tokens_depend_on_the_seed_alone() -> None:
    model = bert()
    first, again, other = (inputs_of(model, TARGET, seed)["input_ids"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_target_longer_than_the_model_reads_is_refused_with_the_length_that_it_reads() -> None:
    with pytest.raises(ModelError, match=r"sequence length is 600.*at most 512 tokens.*512 or less"):
        model_call(bert(), Target(sequence_length=600))


def test_a_model_is_measured_in_evaluation_mode_and_put_back_afterwards() -> None:
    model = bert().train()
    with placed(TARGET, model):
        assert not any(module.training for module in model.modules())
    assert all(module.training for module in model.modules())


def test_one_layer_is_faster_than_four() -> None:
    torch.set_num_threads(1)
    comparison = compare_models(bert(num_hidden_layers=1), bert(num_hidden_layers=4), TARGET)
    assert comparison.high < 0.9
    assert comparison.ratio == pytest.approx(comparison.candidate_p50_ms / comparison.reference_p50_ms, rel=0.5)


def test_the_calibration_of_a_model_has_a_95th_percentile() -> None:
    calibration = calibrate_model(bert(), TARGET)
    assert calibration.p95_ms is not None
    assert 0 < calibration.p50_ms <= calibration.p95_ms


@pytest.mark.parametrize(("own", "lengths"), [((8, 24), (8, 16)), ((12,), (8, 16)), ((8, 16), (30,))])
def test_a_candidate_with_another_tokenizer_reads_its_own_lengths(
    own: tuple[int, ...], lengths: tuple[int, ...]
) -> None:
    reference, candidate = bert(num_hidden_layers=1), bert(num_hidden_layers=1)
    read = dict[str, set[int]]()

    def note(name: str) -> Callable[..., None]:
        return lambda _, __, inputs: read.setdefault(name, set()).add(inputs["input_ids"].shape[1])

    reference.register_forward_pre_hook(note("reference"), with_kwargs=True)
    candidate.register_forward_pre_hook(note("candidate"), with_kwargs=True)
    compare_models(candidate, reference, Target(lengths=lengths), candidate_target=Target(lengths=own))
    expected = set(own) if len(own) == 1 or len(own) == len(lengths) else {sum(own) // len(own)}
    assert read == {"reference": set(lengths), "candidate": expected}
