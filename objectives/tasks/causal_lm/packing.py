"""Text as inputs of a decoder: packed into blocks, or a prompt with its response. Each token has its example."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from autoopt.objectives.tasks.causal_lm.reading import ASSISTANT, Form, Message, parse_messages
from autoopt.strategies.candidate import Example, Features
from autoopt.strategies.errors import DataError, UsageError
from autoopt.strategies.training.batches import IGNORED_LABEL

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PIECE = 100_000
"""In characters: a longer document is tokenized in pieces, which end where an example ends."""
LINE_END = "\n"


@dataclass(frozen=True)
class Tokens:
    """Tokens of a text, as parallel lists."""

    ids: list[int] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    """Index of the example that the token belongs to."""
    sizes: list[int] = field(default_factory=list)
    """Number of bytes of the text that the token stands for; 0 for a token that is not in the text."""

    def extend(self, ids: Sequence[int], owners: Sequence[int], sizes: Sequence[int]) -> None:
        self.ids.extend(ids)
        self.owners.extend(owners)
        self.sizes.extend(sizes)

    def part(self, start: int, end: int) -> Tokens:
        return Tokens(self.ids[start:end], self.owners[start:end], self.sizes[start:end])


@dataclass(frozen=True)
class Block:
    """One input of a model. Its first token is never predicted, since nothing precedes it."""

    tokens: Tokens
    prompt: int = 0
    """Number of leading tokens that are given and not learned."""

    @property
    def features(self) -> Features:
        """Inputs of a causal model of Hugging Face, which shifts ``labels`` itself."""
        ids = self.tokens.ids
        labels = [IGNORED_LABEL] * self.prompt + ids[self.prompt :]
        return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels}


def pack(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, *, max_length: int, form: Form
) -> list[Block]:
    """Return blocks of 2 to ``max_length`` tokens.

    Documents of running text, each followed by the end token, are concatenated and cut into blocks of ``max_length``
    and a last, shorter one. A prompt with its response is a block of its own; if it is too long, the prompt loses its
    beginning, down to half a block, and then the response its end.
    """
    has_response = [example.text_pair is not None for example in examples]
    if any(has_response) and not all(has_response):
        raise UsageError("some of these have a response and some have none; give one kind")
    if any(has_response):
        return [_response_block(i, example, tokenizer, max_length, form) for i, example in enumerate(examples)]
    return list(_cut(_concatenate(examples, tokenizer), max_length))


def render_dialogue(
    messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase, *, answer: str | None = None
) -> str:
    """Return a dialogue as one text, with the assistant's ``answer`` or up to where it begins.

    Uses the tokenizer's chat template, or a line ``role: content`` for each message without one. Raises ``DataError``
    if the template refuses the dialogue.
    """
    if not tokenizer.chat_template:
        lines = "".join(f"{message['role']}: {message['content']}\n" for message in messages)
        return f"{lines}{ASSISTANT}:" + (f" {answer}" if answer is not None else "")
    from jinja2.exceptions import TemplateError

    dialogue = [*messages, *([] if answer is None else [{"role": ASSISTANT, "content": answer}])]
    try:
        # transformers runs templates in a sandbox.
        text = tokenizer.apply_chat_template(dialogue, tokenize=False, add_generation_prompt=answer is None)
    except TemplateError as error:
        raise DataError(
            f"the chat template of the tokenizer refuses the dialogue {str(dialogue)[:80]}: {error}; leave such "
            "dialogues out, or choose another model"
        ) from None
    return str(text)


def prompt_tokens(text: str, tokenizer: PreTrainedTokenizerBase, form: Form) -> list[int]:
    """Return the tokens of the ``text`` of an example that is to be continued, at least one."""
    has_template = form is Form.DIALOGUE and bool(tokenizer.chat_template)
    if form is Form.DIALOGUE:
        text = render_dialogue(parse_messages(text), tokenizer)
    elif form is Form.PROMPT:
        text = text if text.endswith(LINE_END) else text + LINE_END
    ids, _ = _tokenize(text, tokenizer)
    # A template writes the start token itself.
    return ([] if has_template else start_tokens(tokenizer)) + ids or [_end_token(tokenizer)]


def start_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the token that the tokenizer puts before every text; empty if none."""
    ids: list[int] = tokenizer("")["input_ids"]
    return ids[:1] if ids and ids[0] == tokenizer.bos_token_id else []


def _response_block(
    index: int, example: Example, tokenizer: PreTrainedTokenizerBase, max_length: int, form: Form
) -> Block:
    prompt = prompt_tokens(example.text, tokenizer, form)
    text = _response_text(example, tokenizer, form)
    ids, ends = _tokenize(text, tokenizer)
    response = Tokens()
    response.extend(ids, [index] * len(ids), _byte_sizes(text, ends))
    if not (form is Form.DIALOGUE and tokenizer.chat_template):  # A template writes the end token itself.
        response.extend([_end_token(tokenizer)], [index], [0])
    response = response.part(0, max_length - min(len(prompt), max_length // 2))
    prompt = prompt[-(max_length - len(response.ids)) :]
    block = Tokens()
    block.extend(prompt, [index] * len(prompt), [0] * len(prompt))
    block.extend(response.ids, response.owners, response.sizes)
    return Block(block, prompt=len(prompt))


def _response_text(example: Example, tokenizer: PreTrainedTokenizerBase, form: Form) -> str:
    response = example.text_pair or ""
    if form is not Form.DIALOGUE:
        return response
    messages = parse_messages(example.text)
    prompt = render_dialogue(messages, tokenizer)
    dialogue = render_dialogue(messages, tokenizer, answer=response)
    if dialogue.startswith(prompt):
        return dialogue.removeprefix(prompt)
    return f"{response}{tokenizer.eos_token}"  # Some templates render a prompt unlike the same turn once answered.


@dataclass(frozen=True)
class _Piece:
    """Consecutive examples that are tokenized as one text."""

    first: int
    """Index of the first example."""
    texts: list[str]
    begins: bool
    """Whether a document begins here."""
    ends: bool


def _pieces(examples: Sequence[Example]) -> Iterator[_Piece]:
    texts: list[str] = []
    begins, length = True, 0
    for index, example in enumerate(examples):
        texts.append(example.text)
        length += len(example.text)
        is_last = index == len(examples) - 1
        ends = is_last or bool(example.text and not example.text.endswith(LINE_END))
        if ends or length >= PIECE:
            if length or not begins:
                yield _Piece(index + 1 - len(texts), texts, begins, ends)
            texts, begins, length = [], ends, 0


def _concatenate(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Tokens:
    """Return the documents, each between the tokenizer's start token, if it has one, and the end token."""
    start, end = start_tokens(tokenizer), _end_token(tokenizer)
    stream = Tokens()
    for piece in _pieces(examples):
        if piece.begins:
            stream.extend(start, [piece.first] * len(start), [0] * len(start))
        text = "".join(piece.texts)
        ids, ends = _tokenize(text, tokenizer)
        bounds = list(accumulate(map(len, piece.texts)))
        owners = [piece.first + bisect_right(bounds, position - 1) for position in ends]
        stream.extend(ids, owners, _byte_sizes(text, ends))
        if piece.ends:
            stream.extend([end], [piece.first + len(piece.texts) - 1], [0])
    return stream


def _cut(stream: Tokens, max_length: int) -> Iterator[Block]:
    count = len(stream.ids)
    cuts = [*range(0, count, max_length), count]
    if count % max_length == 1:
        # A last block of one token has nothing to predict: it takes another from the block before, if there is one.
        cuts = [*cuts[:-2], cuts[-2] - 1, count] if count > 1 else []
    for start, end in pairwise(cuts):
        yield Block(stream.part(start, end))


def _tokenize(text: str, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Return the tokens and the end of each in characters, which never decreases."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return encoded["input_ids"], list(accumulate((end for _, end in encoded["offset_mapping"]), max))


def _byte_sizes(text: str, ends: Sequence[int]) -> list[int]:
    """Return the bytes of each token; those of no token, such as blanks, count to the next, at the end to the last."""
    if not ends:
        return []
    bounds = [*ends[:-1], len(text)]
    return [len(text[start:end].encode()) for start, end in zip([0, *bounds], bounds, strict=False)]


def _end_token(tokenizer: PreTrainedTokenizerBase) -> int:
    return int(tokenizer.eos_token_id)
