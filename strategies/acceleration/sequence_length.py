"""Truncate texts that are longer than most (Sun et al. 2019, "How to fine-tune BERT", head-only truncation)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy

SAMPLE = 1000
"""Maximum number of training texts whose lengths are computed."""
CUT = frozenset({"input_ids", "attention_mask", "token_type_ids"})


class SequenceLength(Strategy):
    """Lowers the latency of long texts; short texts cost the same. The model itself drops the rest.

    Not for tasks in which the end of a text decides. With ``target.lengths: fixed`` that length is truncated.

    - ``share``: share of the training texts that are read whole.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"text"})

    share: Annotated[float, Choice(0.8, 0.9, 0.95, 0.99)] = 0.95

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        examples = random.Random(seed).sample(candidate.train, min(SAMPLE, len(candidate.train)))
        lengths = sorted(len(item["input_ids"]) for item in candidate.task.encode(examples, candidate.tokenizer))
        longest = lengths[min(len(lengths) - 1, int(self.share * len(lengths)))]
        edit = {"strategy": self.name, "longest": longest}
        model = self.reshape(candidate.copy_model(), edit)
        event = f"reads {longest} tokens at most, of {lengths[-1]} in the longest text"
        return candidate.evolve(event, model=model, edits=(*candidate.edits, edit))

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:
        model.longest = edit["longest"]
        model.register_forward_pre_hook(_truncate, with_kwargs=True)
        return model


def _truncate(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Truncate the inputs to ``longest`` tokens."""
    cut = {name: value[:, : model.longest] if name in CUT else value for name, value in kwargs.items()}
    return tuple(value[:, : model.longest] for value in args), cut
