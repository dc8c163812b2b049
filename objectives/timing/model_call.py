"""Models as calls that can be timed: from texts to answers, or a forward pass on tokens of the target's shape."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import cycle
from statistics import mean
from typing import TYPE_CHECKING, Any

from autoopt.objectives.models.decoding import next_token_pass
from autoopt.objectives.target import Batch, Calls, Target
from autoopt.objectives.timing.clock import Call
from autoopt.objectives.timing.latency import Calibration, Comparison, calibrate, compare
from autoopt.objectives.timing.pairing import SCREENING, Pairs
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.errors import ModelError
from autoopt.strategies.stand_ins.contract import TextModel, timed
from autoopt.strategies.system import measurement_gate

if TYPE_CHECKING:
    import torch


TEXTS = 16
"""Number of texts of each length on which a model that reads texts is timed; more than it could cache."""


def model_call(model: Any, target: Target, *, seed: int = 0) -> Call:
    """Return a forward pass over random tokens of shape (batch_size, sequence_length), without padding.

    The model must already be in evaluation mode and on the target's device, see ``placed``. Raises ``ModelError`` if
    the sequence is longer than the model can read.
    """
    return _call(model, target, target.sequence_length, seed)


def model_of(served: Any) -> Any:
    """Return the model of a candidate; anything else is a model itself."""
    return served.model if isinstance(served, Candidate) else served


def model_calls(served: Any, target: Target, *, seed: int = 0) -> Sequence[Call]:
    """Return one call for each length of the target: answers to its texts if it has some, else see ``model_call``.

    ``served`` is a candidate, or its model where no text is answered. Raises ``ModelError`` as ``model_call``, and for
    a model whose cache cannot be shortened.
    """
    if target.texts and isinstance(served, Candidate):
        return [_answer_call(served, batches) for batches in target.texts]
    model = model_of(served)
    if target.calls is Calls.PREFILL:
        return [_prefill_call(model, target, seed)]
    if target.calls is Calls.DECODE:
        return [_decode_call(model, target, seed)]
    return [_call(model, target, length, seed) for length in target.call_lengths]


@contextmanager
def placed(target: Target, *served: Any) -> Iterator[None]:
    """Put the models into evaluation mode on the target's device; restore mode and device on exit.

    A model whose time depends on its input (``strategies.stand_ins.early_exit_model``) replays the exits of real texts
    meanwhile, unless it is trained and is timed on real texts.
    """
    # What reads texts is no network, and has no device.
    models = [model for model in map(model_of, served) if not isinstance(model, TextModel)]
    before = [(model, model.training, model.device) for model in models]
    with ExitStack() as stack:
        try:
            for model, _, _ in before:
                model.eval().to(target.device)
                stack.enter_context(timed(model, texts=bool(target.texts)))
            yield
        finally:
            for model, training, device in before:
                model.train(training).to(device)


def calibrate_model(reference: Any, target: Target, *, samples: int = 150, seconds: float = math.inf) -> Calibration:
    """Calibrate a candidate or its model, see ``calibrate``."""
    with placed(target, reference):
        return calibrate(model_calls(reference, target), target, samples=samples, seconds=seconds)


def compare_models(
    candidate: Any,
    reference: Any,
    target: Target,
    *,
    limit_ratio: float | None = None,
    pairs: Pairs = SCREENING,
    candidate_target: Target | None = None,
) -> Comparison:
    """Compare two candidates or their models, see ``compare``.

    ``candidate_target`` has the lengths of the candidate's calls if its tokenizer makes others of the same texts. Texts
    that are answered are the same for both.
    """
    own_target = target if target.texts else _aligned(candidate_target or target, target)
    with placed(target, candidate, reference):
        calls = model_calls(candidate, own_target), model_calls(reference, target)
        return compare(*calls, target, limit_ratio=limit_ratio, pairs=pairs)


def _aligned(own_target: Target, target: Target) -> Target:
    """Return the candidate's target with as many lengths as the reference's, since calls are timed in pairs."""
    own, count = own_target.call_lengths, len(target.call_lengths)
    if len(own) == count:
        return own_target
    if len(own) == 1:
        return own_target.with_lengths(own * count)
    return own_target.with_lengths((round(mean(own)),))  # The reference's texts are all equally long.


def _answer_call(candidate: Candidate, batches: Sequence[Batch]) -> Call:
    """Return a call that answers one batch after another, as a server does: from texts to labels."""
    task: Any = candidate.task
    alone, turns = replace(candidate, tokens=None), cycle(map(list, batches))

    def call() -> object:
        with measurement_gate.serving():
            return task.predict(alone, next(turns))

    return call


def _call(model: Any, target: Target, length: int, seed: int) -> Call:
    if isinstance(model, TextModel):
        return _text_call(model, target, length, seed)
    inputs = _inputs(model, target, length, seed)

    def call() -> object:
        return model(**inputs)

    return call


def _prefill_call(model: Any, target: Target, seed: int) -> Call:
    prompt = _inputs(model, target, target.sequence_length, seed)["input_ids"]

    def call() -> object:
        return next_token_pass(model, prompt)

    return call


def _decode_call(model: Any, target: Target, seed: int) -> Call:
    """Return a call that writes tokens after the same cached states each time."""
    import torch

    tokens = _inputs(model, target, target.cached_length + target.decoded, seed)["input_ids"]
    before = tokens[:, : target.cached_length]
    written = [tokens[:, [place]] for place in range(target.cached_length, tokens.shape[1])]
    with torch.inference_mode():
        cache = next_token_pass(model, before).past_key_values
        for token in written:
            next_token_pass(model, token, cache)
    try:
        cache.crop(-target.decoded)
    except (AttributeError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"the time of a token cannot be measured: the cache of {type(model).__name__} cannot be shortened after "
            f"{target.cached_length} tokens: {error}; set target.prompt and target.output to fewer tokens, or "
            "leave out tpot and tokens_per_second"
        ) from error

    def call() -> object:
        for token in written:
            next_token_pass(model, token, cache)
        return cache.crop(-target.decoded)

    return call


def _text_call(model: TextModel, target: Target, length: int, seed: int) -> Call:
    """Return a call from texts to logits, of random texts of about ``length`` tokens, one after another."""
    chance = random.Random(seed)
    texts, seconds = (
        [[model.sample_text(part, chance) for _ in range(target.batch_size)] for _ in range(TEXTS)]
        for part in ((length - length // 2, length // 2) if model.reads_pairs else (length, 0))
    )
    turns = cycle(zip(texts, seconds if model.reads_pairs else [None] * TEXTS, strict=True))

    def call() -> object:
        return model.text_logits(*next(turns))

    return call


def _inputs(model: Any, target: Target, length: int, seed: int) -> dict[str, torch.Tensor]:
    import torch

    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is not None and 0 < longest < length:  # XLNet says -1 for any length.
        what, remedy = "sequence length", "set target.sequence_length"
        if target.calls.writes:
            what, remedy = "prompt and output together", "set target.prompt and target.output, together,"
        raise ModelError(
            f"the target's {what} is {length}, but this model reads at most {longest} tokens; "
            f"{remedy} to {longest} or less"
        )
    shape = (target.batch_size, length)
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(model.config.vocab_size, shape, generator=generator)
    mask = torch.ones(shape, dtype=torch.long)
    return {"input_ids": tokens.to(target.device), "attention_mask": mask.to(target.device)}
