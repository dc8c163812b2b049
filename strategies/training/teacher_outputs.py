"""Recorded outputs of a teacher model, and the divergence between the outputs of two models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from autoopt.strategies.candidate import Batch, Features
from autoopt.strategies.system.recordings import Recordings
from autoopt.strategies.training import batches
from autoopt.strategies.training.batches import IGNORED_LABEL
from autoopt.strategies.training.precision import mixed_precision

if TYPE_CHECKING:
    import torch

OUTPUTS = ("logits", "start_logits", "end_logits")
"""Names of the logits of Hugging Face models; a model has the first, or the other two."""
PADDING_LOGIT = -1e4
"""Logit of a padded position."""

RecordedOutput: TypeAlias = "dict[str, torch.Tensor]"
"""Logits of one example by output name: (classes,), (length, classes) or (length,)."""

_recordings: Recordings[list[RecordedOutput]] = Recordings(max_numbers=20_000_000)


def recorded_outputs(model: Any, features: Sequence[Features], *, pad_token_id: int) -> list[RecordedOutput]:
    """Return what ``record_outputs`` does, from memory if this process recorded the same model and examples lately."""
    return _recordings.get(
        model,
        features,
        lambda: record_outputs(model, features, pad_token_id=pad_token_id),
        size=lambda outputs: sum(logits.numel() for output in outputs for logits in output.values()),
    )


def record_outputs(model: Any, features: Sequence[Features], *, pad_token_id: int) -> list[RecordedOutput]:
    """Return the model's float32 logits for each example, in order and without padding."""
    recorded: list[Any] = [None] * len(features)
    with mixed_precision(model.device):
        for positions, batch, output in batches.forward(model, features, pad_token_id=pad_token_id):
            lengths = batch["attention_mask"].sum(dim=1).tolist()
            outputs = {name: output[name] for name in OUTPUTS if output.get(name) is not None}
            for place, position in enumerate(positions):
                recorded[position] = {
                    name: _copy(logits[place] if _is_per_text(name, logits) else logits[place, : lengths[place]])
                    for name, logits in outputs.items()
                }
    return recorded


def _copy(logits: torch.Tensor) -> torch.Tensor:
    """Return a float32 copy in main memory, since autograd refuses tensors made in inference mode."""
    import torch

    return logits.to("cpu", torch.float32, copy=True)


def distillation_loss(
    output: Any, teacher: Sequence[RecordedOutput], batch: Batch, *, problem: str, temperature: float
) -> torch.Tensor:
    """Return ``output_divergence`` of a batch's output from the teacher's recorded outputs for its examples."""
    import torch

    padded = {
        name: torch.nn.utils.rnn.pad_sequence([recorded[name] for recorded in teacher], batch_first=True).to(
            output[name].device
        )
        for name in teacher[0]
    }
    return output_divergence(output, padded, batch, problem=problem, temperature=temperature)


def output_divergence(
    student: Any, teacher: Mapping[str, Any], batch: Batch, *, problem: str, temperature: float = 1.0
) -> torch.Tensor:
    """Return the divergence of two outputs for the same batch, a differentiable scalar; 0 if they are equal.

    Classes: KL(teacher || student) at ``temperature``, times its square to keep the gradient's scale (Hinton et al.
    2015), averaged over labelled positions. Several labels per text: the same for each label. A number: the squared
    error. ``problem`` is ``config.problem_type``.
    """
    import torch
    from torch.nn import functional as F

    losses = []
    for name in OUTPUTS:
        if teacher.get(name) is None:
            continue
        logits, target = student[name], teacher[name]
        if problem == "regression":
            losses.append(F.mse_loss(logits, target))
        elif problem == "multi_label_classification":
            losses.append(temperature**2 * _binary(logits / temperature, target / temperature))
        else:
            losses.append(temperature**2 * _categorical(name, logits / temperature, target / temperature, batch))
    return torch.stack(losses).mean()


def _is_per_text(name: str, logits: torch.Tensor) -> bool:
    """Whether there is one output for the whole text rather than one per position."""
    return name == "logits" and logits.dim() == 2


def _binary(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional as F

    probabilities = teacher.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(teacher, probabilities)
    return F.binary_cross_entropy_with_logits(student, probabilities) - entropy


def _categorical(name: str, student: torch.Tensor, teacher: torch.Tensor, batch: Batch) -> torch.Tensor:
    from torch.nn import functional as F

    if not _is_per_text(name, student):
        present = batch["attention_mask"].bool()
        if name == "logits":  # A class per position.
            labelled = batch["labels"] != IGNORED_LABEL if "labels" in batch else present
            student, teacher = student[labelled], teacher[labelled]
        else:  # A position in the text.
            student = student.masked_fill(~present, PADDING_LOGIT)
            teacher = teacher.masked_fill(~present, PADDING_LOGIT)
    return F.kl_div(F.log_softmax(student, -1), F.log_softmax(teacher, -1), log_target=True, reduction="batchmean")
