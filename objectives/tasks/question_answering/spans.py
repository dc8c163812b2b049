"""From the logits over windows to the best span of each context, and the probability that it has no answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from autoopt.objectives.tasks.outputs import check_finite, softmax
from autoopt.objectives.tasks.question_answering.windows import Window
from autoopt.strategies.candidate import Candidate, Example, Span
from autoopt.strategies.training.batches import forward

if TYPE_CHECKING:
    from numpy.typing import NDArray

BEST = 20
"""Number of spans considered in each window, and kept for each example."""

Bounds: TypeAlias = tuple[int, int]
"""Start and end of a span, in characters of the context."""


@dataclass(frozen=True)
class Answer(Span):
    """The best span of a context; ``text`` is empty and ``start`` 0 if the answer is that there is none."""

    score: float
    """Sum of the start and end logits of the best span; minus infinity if the context has no token."""
    null_score: float
    """Score of no answer: the lowest over all windows."""
    probability: float
    """Probability of this answer among the best spans and no answer."""
    null_probability: float

    @property
    def null_margin(self) -> float:
        """Score of no answer above that of the best span, in logits."""
        return self.null_score - self.score

    def unless_above(self, threshold: float) -> Answer:
        """Return this answer, or no answer if the null margin exceeds the threshold."""
        if self.null_margin <= threshold:
            return self
        return Answer("", 0, self.score, self.null_score, self.null_probability, self.null_probability)


def best_answers(
    candidate: Candidate, examples: Sequence[Example], windows: Sequence[Window], *, max_tokens: int
) -> list[Answer]:
    """Return for each example the best span of at most ``max_tokens`` tokens over all of its windows.

    Of equal spans it is the one that starts first, then the shortest. Raises ``Diverged`` if a logit is not finite.
    """
    import numpy as np

    scores: dict[int, dict[Bounds, float]] = defaultdict(dict)
    null_scores = [float("inf")] * len(examples)
    pad = candidate.tokenizer.pad_token_id
    for positions, _, output in forward(candidate.model, [window.features for window in windows], pad_token_id=pad):
        logits = np.stack([output[name].float().cpu().numpy() for name in ("start_logits", "end_logits")], axis=1)
        for position, of_window in zip(positions, logits.astype(np.float64), strict=True):
            window = windows[position]
            starts, ends = of_window
            check_finite(of_window[:, : len(window.features["input_ids"])])
            null_score = float(starts[window.null] + ends[window.null])
            null_scores[window.example] = min(null_scores[window.example], null_score)
            of_example = scores[window.example]
            for bounds, score in best_spans(window, starts, ends, max_tokens=max_tokens):
                of_example[bounds] = max(score, of_example.get(bounds, score))
    return [
        _answer(example.text_pair or "", scores[index].items(), null_scores[index])
        for index, example in enumerate(examples)
    ]


def best_spans(
    window: Window, starts: NDArray[Any], ends: NDArray[Any], *, max_tokens: int
) -> list[tuple[Bounds, float]]:
    """Return the ``BEST`` spans of a window's context with the sums of their logits, the best first."""
    import numpy as np
    from numpy.lib.stride_tricks import sliding_window_view

    count = len(window.offsets)
    if count == 0:
        return []
    inside = slice(window.first, window.first + count)
    ends = np.concatenate([ends[inside], np.full(max_tokens - 1, -np.inf)])
    # Shape (tokens, max_tokens): the span that begins with a token and has so many more.
    sums = (starts[inside, None] + sliding_window_view(ends, max_tokens)).ravel()
    lowest = np.partition(sums, -BEST)[-BEST] if sums.size > BEST else -np.inf
    eligible = np.flatnonzero((sums >= lowest) & np.isfinite(sums))
    best = eligible[np.argsort(-sums[eligible], kind="stable")][:BEST]
    tokens = [divmod(int(index), max_tokens) for index in best]
    return [
        ((window.offsets[first][0], window.offsets[first + more][1]), float(sums[index]))
        for (first, more), index in zip(tokens, best, strict=True)
    ]


def _answer(context: str, scores: Iterable[tuple[Bounds, float]], null_score: float) -> Answer:
    import numpy as np

    ranked = sorted(scores, key=lambda item: (-item[1], item[0]))[:BEST]
    ranked = [(bounds, score) for bounds, score in ranked if context[slice(*bounds)].strip()]
    if not ranked:
        return Answer("", 0, float("-inf"), null_score, 1.0, 1.0)
    (start, end), score = ranked[0]
    null_probability, probability, *_ = softmax(np.array([null_score, *(score for _, score in ranked)])).tolist()
    text = context[start:end]
    return Answer(
        text.strip(), start + len(text) - len(text.lstrip()), score, null_score, probability, null_probability
    )
