"""Causal language modelling: the next token, of running text or of the responses to prompts and in dialogues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from autoopt.objectives.data.columns import TEXT_NAMES
from autoopt.objectives.data.rows import Reading, Row
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.inputs import Input, InputColumns, InputNames
from autoopt.objectives.measurement import Direction
from autoopt.objectives.models.model_folder import Body
from autoopt.objectives.models.pretrained import Head
from autoopt.objectives.tables.table import Table
from autoopt.objectives.task import Task, label_facts
from autoopt.objectives.tasks.causal_lm import scoring
from autoopt.objectives.tasks.causal_lm.generation import generate
from autoopt.objectives.tasks.causal_lm.packing import Block, pack, prompt_tokens
from autoopt.objectives.tasks.causal_lm.reading import INPUT_NAME, Form, dump_messages, form_of, read_language
from autoopt.objectives.tasks.outputs import check_finite
from autoopt.strategies.candidate import Candidate, Example, Features
from autoopt.strategies.errors import DataError, UsageError
from autoopt.strategies.training.batches import IGNORED_LABEL, forward

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    from autoopt.objectives.data.text_data import TextData
    from autoopt.objectives.scoring.bootstrap import Statistic

STATISTICS: Mapping[str, Statistic] = MappingProxyType(
    {"perplexity": scoring.perplexity, "bits_per_byte": scoring.bits_per_byte}
)
QUALITIES: Mapping[str, Statistic] = MappingProxyType(
    {"perplexity": scoring.token_probability, "bits_per_byte": scoring.byte_probability}
)
"""What is maximized for each metric."""
MAX_NEW_TOKENS = 50
"""Maximum length of an answer of ``predict``."""
MIN_LENGTH = 4
"""Minimum of ``max_length``."""
MAX_LOGITS = 2**25
"""Maximum number of logits in a batch: vocabularies are large."""


@dataclass(frozen=True)
class CausalLM(Task):
    """Perplexity of a decoder.

    Quality is 1 / perplexity, the geometric mean of the probabilities of the tokens, in (0, 1]: a budget of
    ``quality >= 0.9 * baseline`` allows a perplexity of 1.11 times the baseline's. With ``bits_per_byte`` it is that of
    the bytes. Of prompts and dialogues only the responses are learned and scored. The latency measured for it is that
    of one pass over a text of the target's length, not of generating one token after another.
    """

    metrics = tuple(STATISTICS)
    head = Head("AutoModelForCausalLM", body=Body.DECODER, is_pretrained=True)
    input_names = InputNames(("prompt", "instruction", *TEXT_NAMES), pairs=())
    sample = (
        {"text": "Chelsea won the cup in the last minute of the match."},
        {"text": "The cat sat on the mat and looked at the rain."},
        {"text": "Prices of gas and oil grew faster than expected."},
        {"text": "A bird sang in the tree all day long."},
        {"text": "The bank reported a profit, and its shares rose."},
        {"text": "No man is an island, entire of itself."},
    )
    shown_with_quality = ("perplexity",)
    writes = True

    form: Form = Form.TEXT

    def __post_init__(self) -> None:
        object.__setattr__(self, "form", Form(self.form))
        if self.max_length < MIN_LENGTH:
            raise UsageError(f"{self.name} needs blocks of {MIN_LENGTH} tokens or more, not of {self.max_length}")
        super().__post_init__()

    @classmethod
    def read(
        cls,
        table: Table,
        settings: DataSettings,
        *,
        metric: str | None,  # noqa: ARG003
        train_rows: Sequence[Row] = (),
    ) -> Reading:
        return read_language(table, settings, train_rows=train_rows)

    @classmethod
    def inputs(cls, table: Table, columns: InputColumns) -> list[Input]:
        """Return the prompt of each row, with the cell of ``input`` appended to an ``instruction`` as in training."""
        prompts = super().inputs(table, columns)
        spelled = {name.lower(): name for name in table.columns}
        if columns.text.lower() != "instruction" or INPUT_NAME not in spelled:
            return prompts
        position = table.columns.index(spelled[INPUT_NAME])
        appended = [str(row[position] or "").strip() for row in table.rows]
        return ["\n".join(filter(None, (str(prompt), text))) for prompt, text in zip(prompts, appended, strict=True)]

    @classmethod
    def is_running_text(cls, rows: Sequence[Row]) -> bool:
        return form_of(rows) is Form.TEXT

    @classmethod
    def facts(cls, examples: Sequence[Example]) -> frozenset[str]:
        """Return ``single`` for running text; not ``text``, since an edited word is a wrong answer."""
        return label_facts(examples)

    @classmethod
    def of_data(cls, data: TextData, *, max_length: int, metric: str | None) -> Self:
        return cls(max_length=max_length, metric=metric or "", form=form_of(data.train))

    def encode(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Features]:
        """Return the blocks into which running text is packed, or one for each prompt with its response; unpadded."""
        return [block.features for block in self._blocks(examples, tokenizer)]

    def answer(self, candidate: Candidate, examples: Sequence[Example]) -> list[tuple[float, int, int]]:
        """Return for each example the loss in nats, the number of tokens, and the bytes of text they stand for.

        Raises ``DataError`` if there is no token to predict.
        """
        import numpy as np

        blocks = self._blocks(examples, candidate.tokenizer)
        if not blocks:
            raise DataError(f"the tokenizer makes no token of these {len(examples):,} texts; give other text")
        totals = np.zeros((len(examples), 3))
        features = [block.features for block in blocks]
        batch_size = max(1, MAX_LOGITS // (self.max_length * candidate.model.config.vocab_size))
        pad = candidate.tokenizer.pad_token_id
        for positions, batch, output in forward(candidate.model, features, pad_token_id=pad, batch_size=batch_size):
            for position, losses in zip(positions, _token_losses(batch["labels"], output.logits), strict=True):
                _add_losses(totals, blocks[position], losses)
        return [(float(loss), int(tokens), int(size)) for loss, tokens, size in totals]

    def outcomes(self, examples: Sequence[Example], answers: Sequence[Any]) -> NDArray[Any]:  # noqa: ARG002
        """Return (examples, 3): loss, tokens and bytes."""
        import numpy as np

        return np.array(answers, dtype=np.float64).reshape(-1, 3)

    def predict(self, candidate: Candidate, texts: Sequence[str | tuple[str, str]]) -> list[dict[str, Any]]:
        """Continue each text by up to 50 tokens: ``label`` is the continuation, ``score`` its mean probability.

        After training on prompts or dialogues a text is a prompt, or the user's first message, and ``label`` the
        response. Raises ``UsageError`` for a pair of texts.
        """
        if not all(isinstance(text, str) for text in texts):
            raise UsageError(f"{self.name} continues a single text, and was given a pair; leave out the second text")
        tokenizer: Any = candidate.tokenizer
        answers = []
        for text in texts:
            prompt = prompt_tokens(self._prompt_text(str(text)), tokenizer, self.form)
            continuation = generate(candidate.model, prompt, end=tokenizer.eos_token_id, max_tokens=MAX_NEW_TOKENS)
            label = tokenizer.decode(continuation.ids, skip_special_tokens=True)
            label = label if self.form is Form.TEXT else label.strip()
            answers.append({"label": label, "score": continuation.score, "scores": {}})
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
        return pack(examples, tokenizer, max_length=self.max_length, form=self.form)

    def _prompt_text(self, text: str) -> str:
        return dump_messages([{"role": "user", "content": text}]) if self.form is Form.DIALOGUE else text


def _token_losses(labels: Any, logits: Any) -> NDArray[Any]:
    """Return the loss of each token but the first, (batch, length - 1); 0 if it is not predicted."""
    from torch.nn import functional as F

    targets = labels[:, 1:].to(logits.device)
    # One row for each token: in other layouts torch's sum over a large vocabulary is off by a ten-thousandth.
    predicted = logits[:, :-1].float().flatten(0, 1)
    losses = F.cross_entropy(predicted, targets.flatten(), reduction="none", ignore_index=IGNORED_LABEL)
    return losses.view(targets.shape).cpu().numpy()


def _add_losses(totals: NDArray[Any], block: Block, losses: NDArray[Any]) -> None:
    """Add loss, token and bytes of each predicted token to the totals of its example."""
    import numpy as np

    learned = slice(max(1, block.prompt), None)
    owners = block.tokens.owners[learned]
    own = check_finite(losses[learned.start - 1 : len(block.tokens.ids) - 1].astype(np.float64))
    np.add.at(totals, owners, np.column_stack([own, np.ones(len(own)), block.tokens.sizes[learned]]))
