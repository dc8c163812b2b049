"""Torch models as calls that can be timed, on inputs of the target's shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import mean
from typing import TYPE_CHECKING, Any

from autoopt.objectives.target import Target
from autoopt.objectives.timing.clock import Call
from autoopt.objectives.timing.latency import Calibration, Comparison, calibrate, compare
from autoopt.objectives.timing.pairing import SCREENING, Pairs
from autoopt.strategies.errors import ModelError
from autoopt.strategies.stand_ins.contract import timed

if TYPE_CHECKING:
    import torch


def model_call(model: Any, target: Target, *, seed: int = 0) -> Call:
    """Return a forward pass over random tokens of shape (batch_size, sequence_length), without padding.

    The model must already be in evaluation mode and on the target's device, see ``placed``. Raises ``ModelError`` if
    the sequence is longer than the model can read.
    """
    return _call(model, target, target.sequence_length, seed)


def model_calls(model: Any, target: Target, *, seed: int = 0) -> Sequence[Call]:
    """Return one forward pass for each length of the target, see ``model_call``."""
    return [_call(model, target, length, seed) for length in target.call_lengths]


@contextmanager
def placed(target: Target, *models: Any) -> Iterator[None]:
    """Put the models into evaluation mode on the target's device; restore mode and device on exit.

    A model whose time depends on its input (``strategies.stand_ins.early_exit_model``) replays the exits of real texts
    meanwhile, because it is timed on random tokens.
    """
    before = [(model, model.training, model.device) for model in models]
    with ExitStack() as stack:
        try:
            for model in models:
                model.eval().to(target.device)
                stack.enter_context(timed(model))
            yield
        finally:
            for model, training, device in before:
                model.train(training).to(device)


def calibrate_model(reference: Any, target: Target, *, samples: int = 150) -> Calibration:
    """Calibrate a torch model, see ``calibrate``."""
    with placed(target, reference):
        return calibrate(model_calls(reference, target), target, samples=samples)


def compare_models(
    candidate: Any,
    reference: Any,
    target: Target,
    *,
    limit_ratio: float | None = None,
    pairs: Pairs = SCREENING,
    candidate_target: Target | None = None,
) -> Comparison:
    """Compare two torch models, see ``compare``.

    ``candidate_target`` has the lengths of the candidate's calls if its tokenizer makes others of the same texts.
    """
    own_target = _aligned(candidate_target or target, target)
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


def _call(model: Any, target: Target, length: int, seed: int) -> Call:
    inputs = _inputs(model, target, length, seed)

    def call() -> object:
        return model(**inputs)

    return call


def _inputs(model: Any, target: Target, length: int, seed: int) -> dict[str, torch.Tensor]:
    import torch

    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is not None and length > longest:
        raise ModelError(
            f"the target's sequence length is {length}, but this model reads at most {longest} tokens; "
            f"set target.sequence_length to {longest} or less"
        )
    shape = (target.batch_size, length)
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(model.config.vocab_size, shape, generator=generator)
    mask = torch.ones(shape, dtype=torch.long)
    return {"input_ids": tokens.to(target.device), "attention_mask": mask.to(target.device)}
