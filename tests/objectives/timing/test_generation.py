"""How the passes of a model that writes are timed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from autoopt.objectives.models.decoding import next_token_pass
from autoopt.objectives.target import Calls, Target
from autoopt.objectives.timing.clock import Clock
from autoopt.objectives.timing.latency import calibrate, compare
from autoopt.objectives.timing.model_call import model_calls
from autoopt.strategies.errors import ModelError
from tests import tiny_decoder, zoo

PREFILL = Target(batch_size=2, sequence_length=12, calls=Calls.PREFILL)
DECODE = Target(batch_size=2, sequence_length=12, calls=Calls.DECODE, output=20)


@dataclass
class Cache:
    length: int

    def crop(self, tokens: int) -> None:
        self.length += tokens


class Writer(torch.nn.Module):
    """Takes 20 ms for a prompt, 3 ms for a token, on a clock of its own; the speed is a factor of both."""

    def __init__(self, *, speed: float = 1.0) -> None:
        super().__init__()
        self.speed, self.now, self.cached = speed, 0.0, list[int]()
        self.config = SimpleNamespace(vocab_size=50, max_position_embeddings=64)

    def forward(self, input_ids: torch.Tensor, past_key_values: Any = None, use_cache: bool = False) -> Any:
        assert use_cache
        self.now += (0.020 if past_key_values is None else 0.003 * input_ids.shape[1]) / self.speed
        cache = past_key_values or Cache(0)
        self.cached.append(cache.length)
        cache.length += input_ids.shape[1]
        return SimpleNamespace(past_key_values=cache)


def _time_of_both(first: Writer, second: Writer) -> float:
    return first.now + second.now


def test_a_pass_over_the_prompt_and_a_token_each_take_what_they_take() -> None:
    writer = Writer()
    clock = Clock(wall=lambda: writer.now, cpu=lambda: writer.now)
    prefill = calibrate(model_calls(writer, PREFILL), PREFILL, samples=10, clock=clock)
    decode = calibrate(model_calls(writer, DECODE), DECODE, samples=10, clock=clock)
    assert prefill.p50_ms == pytest.approx(20, rel=0.001)
    assert decode.p50_ms / DECODE.decoded == pytest.approx(3, rel=0.001)


def test_ten_models_are_in_the_order_of_their_speed() -> None:
    speeds, ratios = [1.0, 1.1, 1.2, 1.5, 2.0, 0.5, 0.9, 3.0, 1.05, 0.7], []
    for speed in speeds:
        candidate, reference = Writer(speed=speed), Writer()
        now = partial(_time_of_both, candidate, reference)
        calls = model_calls(candidate, DECODE), model_calls(reference, DECODE)
        ratios.append(compare(*calls, DECODE, clock=Clock(wall=now, cpu=now)).ratio)
    assert ratios == pytest.approx([1 / speed for speed in speeds])


def test_each_call_writes_the_middle_of_the_answer_after_the_same_tokens() -> None:
    writer = Writer()
    [call] = model_calls(writer, DECODE)
    writer.cached.clear()
    for _ in range(3):
        call()
    middle = 12 + (20 - 8) // 2
    assert writer.cached == 3 * list(range(middle, middle + 8))


def test_a_short_answer_is_written_whole() -> None:
    target = Target(sequence_length=12, calls=Calls.DECODE, output=3)
    assert (target.cached_length, target.decoded) == (12, 3)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen3", "gemma3_text"])
def test_the_cached_tokens_are_those_of_a_whole_pass(kind: str) -> None:
    model: Any = zoo.decoder(kind).model
    model.eval()
    ids = torch.randint(model.config.vocab_size, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        cache = next_token_pass(model, ids[:, :8]).past_key_values
        written = next_token_pass(model, ids[:, 8:], cache)
        whole = model(input_ids=ids)
    assert written.logits.shape[1] == 1
    torch.testing.assert_close(written.logits[:, -1], whole.logits[:, -1], rtol=1e-4, atol=1e-5)


def test_a_real_decoder_is_timed_from_the_same_state_each_time() -> None:
    model, target = tiny_decoder.model().eval(), Target(sequence_length=10, calls=Calls.DECODE, output=16)
    lengths = list[int]()

    def note_length(_: Any, __: Any, inputs: dict[str, Any]) -> None:
        lengths.append(inputs["past_key_values"].get_seq_length() if inputs["past_key_values"] is not None else 0)

    model.register_forward_pre_hook(note_length, with_kwargs=True)
    with torch.inference_mode():
        [call] = model_calls(model, target)
        call()
    assert lengths == [0, *range(14, 22), *range(14, 22)]


def test_a_cache_that_cannot_be_shortened_is_refused() -> None:
    model: Any = zoo.decoder("mistral").model  # It forgets all but the last four tokens.
    model.eval()
    remedy = "the time of a token cannot be measured: .*set target.prompt and target.output"
    with pytest.raises(ModelError, match=remedy):
        model_calls(model, Target(sequence_length=10, calls=Calls.DECODE, output=16))


def test_a_prompt_that_leaves_no_room_for_the_answer_is_refused() -> None:
    with pytest.raises(ModelError, match="prompt and output together is 74, but this model reads at most 64 tokens"):
        model_calls(Writer(), Target(sequence_length=60, calls=Calls.DECODE, output=20))


def test_a_target_of_each_kind_has_a_table_of_its_own_and_survives_json() -> None:
    forward = Target(batch_size=2, sequence_length=12)
    assert len({forward.slug, PREFILL.slug, DECODE.slug}) == 3
    assert forward.slug == "cpu-threads1-batch2-length12"
    for target in (forward, PREFILL, DECODE):
        assert Target.from_json(target.to_json()) == target
