"""From the logits over windows to answers: the best piece of each context, and how sure the model is of none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from autoopt.objectives.tasks.question_answering.windows import Window
from autoopt.strategies.candidate import Candidate, Example, Span
from autoopt.strategies.errors import Diverged
from autoopt.strategies.training.batches import forward

if TYPE_CHECKING:
    from numpy.typing import NDArray

BEST = 20
"""So many pieces of each window are looked at, and of each example kept."""

Piece: TypeAlias = tuple[int, int]
"""The characters of a context, from and to."""


@dataclass(frozen=True)
class Answer(Span):
    """The best piece of a context. ``text`` is empty, and ``start`` 0, where it is taken to have no answer in it."""

    score: float
    """Start and end logit of the best piece, added; minus infinity where the context has no token."""
    null_score: float
    """The same of no answer: the least of all windows."""
    chance: float
    """Of this answer, among the best pieces and no answer."""
    null_chance: float

    @property
    def doubt(self) -> float:
        """How much likelier no answer is than the best piece, in logits."""
        return self.null_score - self.score

    def unless_above(self, threshold: float) -> Answer:
        """This answer, or none where the doubt is above the threshold."""
        if self.doubt <= threshold:
            return self
        return Answer("", 0, self.score, self.null_score, self.null_chance, self.null_chance)


def best_answers(
    candidate: Candidate, examples: Sequence[Example], windows: Sequence[Window], *, max_tokens: int
) -> list[Answer]:
    """Return for each example the best piece of at most ``max_tokens`` tokens over all of its windows.

    Of equal ones it is the one that starts first, and of those the shortest. Raises ``Diverged`` where a logit is not
    finite.
    """
    import numpy as np

    found: dict[int, dict[Piece, float]] = defaultdict(dict)
    nulls = [float("inf")] * len(examples)
    pad = candidate.tokenizer.pad_token_id
    for positions, _, output in forward(candidate.model, [window.features for window in windows], pad_token_id=pad):
        logits = np.stack([output[name].float().cpu().numpy() for name in ("start_logits", "end_logits")], axis=1)
        for place, (starts, ends) in zip(positions, logits.astype(np.float64), strict=True):
            window = windows[place]
            length = len(window.features["input_ids"])
            if not (np.isfinite(starts[:length]).all() and np.isfinite(ends[:length]).all()):
                raise Diverged("the model's output is not finite; a lower learning rate may help")
            nulls[window.example] = min(nulls[window.example], float(starts[window.null] + ends[window.null]))
            kept = found[window.example]
            for piece, score in pieces(window, starts, ends, max_tokens=max_tokens):
                kept[piece] = max(score, kept.get(piece, score))
    return [
        _answer(example.text_pair or "", found[place].items(), nulls[place]) for place, example in enumerate(examples)
    ]


def pieces(window: Window, starts: NDArray[Any], ends: NDArray[Any], *, max_tokens: int) -> list[tuple[Piece, float]]:
    """The ``BEST`` pieces of a window's context with the sum of their logits, the best first."""
    import numpy as np
    from numpy.lib.stride_tricks import sliding_window_view

    count = len(window.offsets)
    if count == 0:
        return []
    inside = slice(window.first, window.first + count)
    ends = np.concatenate([ends[inside], np.full(max_tokens - 1, -np.inf)])
    # Of shape (tokens, max_tokens): the piece that begins with one token and goes on for so many more.
    sums = (starts[inside, None] + sliding_window_view(ends, max_tokens)).ravel()
    least = np.partition(sums, -BEST)[-BEST] if sums.size > BEST else -np.inf
    chosen = np.flatnonzero((sums >= least) & np.isfinite(sums))
    best = chosen[np.argsort(-sums[chosen], kind="stable")][:BEST]
    tokens = [divmod(int(place), max_tokens) for place in best]
    return [
        ((window.offsets[first][0], window.offsets[first + more][1]), float(sums[place]))
        for (first, more), place in zip(tokens, best, strict=True)
    ]


def _answer(context: str, found: Iterable[tuple[Piece, float]], null_score: float) -> Answer:
    import numpy as np

    ranked = sorted(found, key=lambda item: (-item[1], item[0]))[:BEST]
    ranked = [(piece, score) for piece, score in ranked if context[slice(*piece)].strip()]
    if not ranked:
        return Answer("", 0, float("-inf"), null_score, 1.0, 1.0)
    (start, end), score = ranked[0]
    scores = np.array([null_score, *(score for _, score in ranked)])
    raised = np.exp(scores - scores.max())
    null_chance, chance, *_ = (raised / raised.sum()).tolist()
    text = context[start:end]
    return Answer(text.strip(), start + len(text) - len(text.lstrip()), score, null_score, chance, null_chance)
