"""What a model answers, before a decision is made of it: recorded once, and how far two models' answers are apart."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from autoopt.strategies.candidate import Batch, Features
from autoopt.strategies.system.digests import tensor_digest
from autoopt.strategies.training import batches
from autoopt.strategies.training.batches import IGNORED_LABEL
from autoopt.strategies.training.precision import mixed_precision

if TYPE_CHECKING:
    import torch

OUTPUTS = ("logits", "start_logits", "end_logits")
"""Where Hugging Face models put their logits; a model has the first, or the other two."""
HIDDEN = -1e4
"""The logit of a place that is only padding."""

SoftAnswer: TypeAlias = "dict[str, torch.Tensor]"
"""By output, for one example: (classes,), (length, classes) or (length,)."""


KEPT, LARGEST = 4, 20_000_000
"""So many recordings stay in memory, none of more numbers than this."""

_recordings: OrderedDict[str, list[SoftAnswer]] = OrderedDict()


def recorded(model: Any, features: Sequence[Features], *, pad_token_id: int) -> list[SoftAnswer]:
    """What ``record`` returns. Leaves of one trunk that come after each other in a process share one recording."""
    key = _key(model, features)
    if key not in _recordings:
        answers = record(model, features, pad_token_id=pad_token_id)
        if sum(logits.numel() for answer in answers for logits in answer.values()) > LARGEST:
            return answers
        _recordings[key] = answers
        while len(_recordings) > KEPT:
            _recordings.popitem(last=False)
    _recordings.move_to_end(key)
    return _recordings[key]


def _key(model: Any, features: Sequence[Features]) -> str:
    """Of the weights, the architecture and the examples."""
    total = hashlib.sha256(f"{type(model).__name__} {model.config.to_json_string()}".encode())
    total.update(tensor_digest(model.state_dict().items()).encode())
    for item in features:
        total.update(json.dumps([(name, item[name]) for name in sorted(item)], default=str).encode())
    return total.hexdigest()


def record(model: Any, features: Sequence[Features], *, pad_token_id: int) -> list[SoftAnswer]:
    """The model's answers to the examples, in their order, without what is padding."""
    recorded: list[Any] = [None] * len(features)
    with mixed_precision(model.device):
        for positions, batch, output in batches.forward(model, features, pad_token_id=pad_token_id):
            lengths = batch["attention_mask"].sum(dim=1).tolist()
            answers = {name: output[name] for name in OUTPUTS if output.get(name) is not None}
            for place, position in enumerate(positions):
                recorded[position] = {
                    name: _kept(logits[place] if _is_of_text(name, logits) else logits[place, : lengths[place]])
                    for name, logits in answers.items()
                }
    return recorded


def _kept(logits: torch.Tensor) -> torch.Tensor:
    """A copy in full precision; Autograd refuses the tensors of inference mode themselves."""
    import torch

    return logits.to(torch.float32, copy=True)


def divergence(
    output: Any, teacher: Sequence[SoftAnswer], batch: Batch, *, problem: str, temperature: float
) -> torch.Tensor:
    """How far a batch's answers are from the teacher's recorded ones, as ``apart``."""
    import torch

    padded = {
        name: torch.nn.utils.rnn.pad_sequence([answer[name] for answer in teacher], batch_first=True).to(
            output[name].device
        )
        for name in teacher[0]
    }
    return apart(output, padded, batch, problem=problem, temperature=temperature)


def apart(
    student: Any, teacher: Mapping[str, Any], batch: Batch, *, problem: str, temperature: float = 1.0
) -> torch.Tensor:
    """How far one output is from another for the same batch, differentiable; 0 where they are the same.

    Classes: KL(teacher || student) at ``temperature``, times its square, which keeps the gradient's scale (Hinton et
    al. 2015), averaged over what has a label. Several labels for a text: the same for each label. A number: the
    squared error. ``problem`` is what ``config.problem_type`` says.
    """
    import torch
    from torch.nn import functional as F

    losses = []
    for name in OUTPUTS:
        if teacher.get(name) is None:
            continue
        answers, target = student[name], teacher[name]
        if problem == "regression":
            losses.append(F.mse_loss(answers, target))
        elif problem == "multi_label_classification":
            losses.append(temperature**2 * _binary(answers / temperature, target / temperature))
        else:
            losses.append(temperature**2 * _categorical(name, answers / temperature, target / temperature, batch))
    return torch.stack(losses).mean()


def _is_of_text(name: str, logits: torch.Tensor) -> bool:
    """True where there is one answer for the whole text and not one for each of its places."""
    return name == "logits" and logits.dim() == 2


def _binary(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional as F

    chances = teacher.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(teacher, chances)
    return F.binary_cross_entropy_with_logits(student, chances) - entropy


def _categorical(name: str, student: torch.Tensor, teacher: torch.Tensor, batch: Batch) -> torch.Tensor:
    from torch.nn import functional as F

    if not _is_of_text(name, student):
        present = batch["attention_mask"].bool()
        if name == "logits":  # A class for each place.
            known = batch["labels"] != IGNORED_LABEL if "labels" in batch else present
            student, teacher = student[known], teacher[known]
        else:  # A place in the text.
            student, teacher = student.masked_fill(~present, HIDDEN), teacher.masked_fill(~present, HIDDEN)
    return F.kl_div(F.log_softmax(student, -1), F.log_softmax(teacher, -1), log_target=True, reduction="batchmean")
