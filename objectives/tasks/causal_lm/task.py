"""Causal language modelling: the next token, of running text or of the responses to prompts and in dialogues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from autoopt.objectives.data.rows import Reading, Row
from autoopt.objectives.measurement import Direction
from autoopt.objectives.models.pretrained import Head
from autoopt.objectives.task import Task
from autoopt.objectives.tasks.causal_lm import scoring
from autoopt.objectives.tasks.causal_lm.generation import continued
from autoopt.objectives.tasks.causal_lm.packing import Block, blocks, prompt_tokens
from autoopt.objectives.tasks.causal_lm.reading import Form, form_of, read_written, text_of
from autoopt.strategies.candidate import Candidate, Example, Features
from autoopt.strategies.errors import DataError, Diverged, UsageError
from autoopt.strategies.training.batches import IGNORED_LABEL, forward

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    from autoopt.objectives.data.settings import DataSettings
    from autoopt.objectives.data.text_data import TextData
    from autoopt.objectives.file_formats.table import Table
    from autoopt.objectives.judging.bootstrap import Statistic

STATISTICS: Mapping[str, Statistic] = MappingProxyType(
    {"perplexity": scoring.perplexity, "bits_per_byte": scoring.bits_per_byte}
)
QUALITIES: Mapping[str, Statistic] = MappingProxyType(
    {"perplexity": scoring.token_probability, "bits_per_byte": scoring.byte_probability}
)
"""What is maximized for each metric."""
CONTINUATION = 50
"""In tokens: the longest answer of ``predict``."""
LEAST_LENGTH = 4
"""In tokens."""
LOGITS = 2**25
"""So many numbers a batch may give: a vocabulary is large."""


@dataclass(frozen=True)
class CausalLM(Task):
    """Perplexity, where the model is a decoder.

    Quality is what perplexity is the inverse of, the geometric mean of the probabilities of the tokens, in (0, 1]: a
    budget of ``quality >= 0.9 * baseline`` allows a perplexity of 1.11 times the baseline's. With ``bits_per_byte`` it
    is that of the bytes. Of prompts and dialogues the responses alone are learned and scored. The latency that is
    measured for it is that of one pass over a text of the target's length, not of writing one token after another.
    """

    metrics = tuple(STATISTICS)
    head = Head.NEXT_WORD
    # Not "text": a word that is edited is a wrong answer. Not "labels": the text is its own.
    facts = frozenset()

    form: Form = Form.TEXT

    def __post_init__(self) -> None:
        object.__setattr__(self, "form", Form(self.form))
        if self.max_length < LEAST_LENGTH:
            raise UsageError(f"{self.name} needs blocks of {LEAST_LENGTH} tokens or more, not of {self.max_length}")
        super().__post_init__()

    @classmethod
    def read(cls, table: Table, settings: DataSettings, *, metric: str | None, like: Sequence[Row] = ()) -> Reading:  # noqa: ARG003
        return read_written(table, settings, like=like)

    @classmethod
    def in_order(cls, rows: Sequence[Row]) -> bool:
        return form_of(rows) is Form.TEXT

    @classmethod
    def of_data(cls, data: TextData, *, max_length: int, metric: str | None) -> Self:
        return cls(max_length=max_length, metric=metric or "", form=form_of(data.train))

    def encode(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Features]:
        """The blocks that running text is packed into, or a prompt with its response each; never padded."""
        return [block.features for block in self._blocks(examples, tokenizer)]

    def answer(self, candidate: Candidate, examples: Sequence[Example]) -> list[tuple[float, int, int]]:
        """For each example the model's loss in nats, of how many tokens, and how many bytes of text they stand for.

        Raises ``DataError`` where there is no token to predict.
        """
        import numpy as np

        read = self._blocks(examples, candidate.tokenizer)
        if not read:
            raise DataError(f"the tokenizer makes no token of these {len(examples):,} texts; give other text")
        rows = np.zeros((len(examples), 3))
        features = [block.features for block in read]
        batch_size = max(1, LOGITS // (self.max_length * candidate.model.config.vocab_size))
        pad = candidate.tokenizer.pad_token_id
        for positions, batch, output in forward(candidate.model, features, pad_token_id=pad, batch_size=batch_size):
            for position, losses in zip(positions, _losses(batch["labels"], output.logits), strict=True):
                _add(rows, read[position], losses)
        return [(float(loss), int(tokens), int(size)) for loss, tokens, size in rows]

    def outcomes(self, examples: Sequence[Example], answers: Sequence[Any]) -> NDArray[Any]:  # noqa: ARG002
        """(examples, 3): loss, tokens and bytes."""
        import numpy as np

        return np.array(answers, dtype=np.float64).reshape(-1, 3)

    def predict(self, candidate: Candidate, texts: Sequence[str | tuple[str, str]]) -> list[dict[str, Any]]:
        """Go on with each text, by up to 50 tokens: ``label`` is what comes next, ``score`` the mean probability.

        Where it was trained on prompts or dialogues a text is a prompt, or what the user says first, and ``label`` the
        response. Raises ``UsageError`` for a pair of texts.
        """
        if not all(isinstance(text, str) for text in texts):
            raise UsageError(f"{self.name} goes on with a single text, and was given a pair; leave out the second text")
        tokenizer: Any = candidate.tokenizer
        answers = []
        for text in texts:
            prompt = prompt_tokens(self._as_example(str(text)), tokenizer, self.form)
            found = continued(candidate.model, prompt, end=tokenizer.eos_token_id, most=CONTINUATION)
            label = tokenizer.decode(found.ids, skip_special_tokens=True)
            label = label if self.form is Form.TEXT else label.strip()
            answers.append({"label": label, "score": found.score, "scores": {}})
        return answers

    @property
    def statistics(self) -> Mapping[str, Statistic]:
        return STATISTICS

    @property
    def quality(self) -> Statistic:
        return QUALITIES[self.metric or next(iter(STATISTICS))]

    def unit(self, metric: str) -> str:
        return "bits" if metric == "bits_per_byte" else ""

    def direction(self, metric: str) -> Direction:
        return Direction.MINIMIZE if metric in STATISTICS else Direction.MAXIMIZE

    def _blocks(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Block]:
        return blocks(examples, tokenizer, max_length=self.max_length, form=self.form)

    def _as_example(self, text: str) -> str:
        return text_of([{"role": "user", "content": text}]) if self.form is Form.DIALOGUE else text


def _losses(labels: Any, logits: Any) -> NDArray[Any]:
    """The loss of each token but the first, (batch, length - 1); 0 where nothing is to be predicted."""
    from torch.nn import functional as F

    targets = labels[:, 1:].to(logits.device)
    # A row for each token: over another layout torch adds a large vocabulary up so that a ten-thousandth is lost.
    predicted = logits[:, :-1].float().flatten(0, 1)
    losses = F.cross_entropy(predicted, targets.flatten(), reduction="none", ignore_index=IGNORED_LABEL)
    return losses.view(targets.shape).cpu().numpy()


def _add(rows: NDArray[Any], block: Block, losses: NDArray[Any]) -> None:
    """Credit each token that was to be predicted to its example."""
    import numpy as np

    learned = slice(max(1, block.prompt), None)
    owners = block.tokens.owners[learned]
    own = losses[learned.start - 1 : len(block.tokens.ids) - 1].astype(np.float64)
    if not np.isfinite(own).all():
        raise Diverged("the model's output is not finite; a lower learning rate may help")
    np.add.at(rows, owners, np.column_stack([own, np.ones(len(own)), block.tokens.sizes[learned]]))
