"""Try a strategy on a small model: applied, saved, loaded and answered again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.strategies import saving
from autoopt.strategies.candidate import Candidate, Example, TaskView
from autoopt.strategies.errors import AutooptError, ModelError
from autoopt.strategies.model_needs import unmet
from autoopt.strategies.stand_ins.contract import TextModel, text_logits
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training import batches

if TYPE_CHECKING:
    import torch

TRAINING_EFFORT = 0.05
"""Effort at which strategies that train are tried: at 0 they would do nothing."""
BATCH_SIZES = (1, 8)

OpenTask = Callable[[Mapping[str, Any]], TaskView]


def failure(strategy: Strategy, candidate: Candidate, *, open_task: OpenTask) -> str | None:
    """Return why the strategy cannot be used on the candidate's model, in a line; None if it can.

    The model must have what the strategy needs of its architecture. The strategy is applied without training, and once
    more with a little training or calibration. Each result is saved, loaded, and must answer as before, text by text
    and in batches.
    """
    if reason := unmet(strategy.needs, candidate.model):
        return reason
    try:
        for effort in (0.0, TRAINING_EFFORT if strategy.trains else 1.0):
            result = strategy.apply(candidate, effort=effort, seed=0)
            check_saved(result, open_task=open_task)
    except AutooptError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  Whatever a strategy does with an architecture that it does not fit.
        return f"it fails on this architecture: {type(error).__name__}: {' '.join(str(error).split())[:120]}"
    return None


def check_saved(candidate: Candidate, *, open_task: OpenTask) -> None:
    """Raise ``ModelError`` unless the candidate answers after saving and loading as it did before."""
    import torch

    with tempfile.TemporaryDirectory(prefix="probe-") as name:
        folder = Path(name) / "saved"
        saving.save(candidate, folder)
        try:
            loaded = saving.load(folder, open_task=open_task)
        except AutooptError as error:
            reason = str(error).replace(str(folder), "the saved model")
            raise ModelError(f"it cannot be loaded again: {reason}") from error
    for size in BATCH_SIZES:
        before, after = (answers(one, candidate.train[: BATCH_SIZES[-1]], size) for one in (candidate, loaded))
        for ours, theirs in zip(before, after, strict=True):
            if not torch.isfinite(ours).all():
                raise ModelError("its answers are not finite numbers")
            if not torch.equal(ours, theirs):
                raise ModelError("its answers differ after it was saved and loaded")


def answers(candidate: Candidate, examples: Sequence[Example], batch_size: int) -> list[torch.Tensor]:
    """Return the first output of the candidate's model for each batch, shortest texts first."""
    import torch

    model: Any = candidate.model
    if isinstance(model, TextModel):
        parts = [examples[start : start + batch_size] for start in range(0, len(examples), batch_size)]
        return [torch.from_numpy(text_logits(model, part)) for part in parts]
    features, pad_token_id = candidate.task.encode(examples, candidate.tokenizer), candidate.tokenizer.pad_token_id
    return [
        (output.logits if "logits" in output else output.start_logits).float()
        for _, _, output in batches.forward(model, features, pad_token_id=pad_token_id, batch_size=batch_size)
    ]
