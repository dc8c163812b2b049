"""Written text as a decoder reads it: packed into blocks, or a prompt with its response; each token has its example."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from autoopt.objectives.tasks.causal_lm.reading import ASSISTANT, Form, Message, messages_of
from autoopt.strategies.candidate import Example, Features
from autoopt.strategies.errors import DataError, UsageError
from autoopt.strategies.training.batches import IGNORED_LABEL

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PIECE = 100_000
"""In characters: a document that is longer is tokenized in pieces, which end where an example ends."""
LINE_END = "\n"


@dataclass(frozen=True)
class Tokens:
    """Tokens of a text. The lists go together, an entry for each token."""

    ids: list[int] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    """The place of the example that the token is of."""
    sizes: list[int] = field(default_factory=list)
    """How many bytes of the text it stands for; 0 for a token that is not written in the text."""

    def add(self, ids: Sequence[int], owners: Sequence[int], sizes: Sequence[int]) -> None:
        self.ids.extend(ids)
        self.owners.extend(owners)
        self.sizes.extend(sizes)

    def part(self, start: int, end: int) -> Tokens:
        return Tokens(self.ids[start:end], self.owners[start:end], self.sizes[start:end])


@dataclass(frozen=True)
class Block:
    """What a model reads at once. Its first token is never predicted: there is nothing before it."""

    tokens: Tokens
    prompt: int = 0
    """How many tokens at the beginning are given and not to be learned."""

    @property
    def features(self) -> Features:
        """As causal models of Hugging Face take them: ``labels`` are the tokens themselves, which the model shifts."""
        ids = self.tokens.ids
        labels = [IGNORED_LABEL] * self.prompt + ids[self.prompt :]
        return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels}


def blocks(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, *, max_length: int, form: Form
) -> list[Block]:
    """Return the blocks, of 2 to ``max_length`` tokens each.

    Running text is packed: each document with the token that ends a text, one after the other, cut into blocks of
    ``max_length`` and a last one of what is left. A prompt and its response are a block of their own; where they are
    too long, the prompt loses its beginning first, down to half a block, then the response its end.
    """
    pairs = [example.text_pair is not None for example in examples]
    if any(pairs) and not all(pairs):
        raise UsageError("some of these have a response and some have none; give one kind")
    if any(pairs):
        return [_answered(place, example, tokenizer, max_length, form) for place, example in enumerate(examples)]
    return list(_cut(_packed(examples, tokenizer), max_length))


def rendered(messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase, *, answer: str | None = None) -> str:
    """A dialogue as one text, with the assistant's ``answer`` or up to where it begins.

    By the tokenizer's chat template; where it has none, a line ``role: content`` for each message. Raises ``DataError``
    where the template refuses the dialogue.
    """
    if not tokenizer.chat_template:
        said = "".join(f"{message['role']}: {message['content']}\n" for message in messages)
        return f"{said}{ASSISTANT}:" + (f" {answer}" if answer is not None else "")
    from jinja2.exceptions import TemplateError

    whole = [*messages, *([] if answer is None else [{"role": ASSISTANT, "content": answer}])]
    try:
        # Templates run in the sandbox of transformers.
        text = tokenizer.apply_chat_template(whole, tokenize=False, add_generation_prompt=answer is None)
    except TemplateError as error:
        raise DataError(
            f"the chat template of the tokenizer refuses the dialogue {str(whole)[:80]}: {error}; leave such dialogues "
            "out, or choose another model"
        ) from None
    return str(text)


def prompt_tokens(text: str, tokenizer: PreTrainedTokenizerBase, form: Form) -> list[int]:
    """The tokens of what is to be continued, at least one; ``text`` is what an example of this form has."""
    is_templated = form is Form.DIALOGUE and bool(tokenizer.chat_template)
    if form is Form.DIALOGUE:
        text = rendered(messages_of(text), tokenizer)
    elif form is Form.PROMPT:
        text = text if text.endswith(LINE_END) else text + LINE_END
    ids, _ = _tokenized(text, tokenizer)
    # A template has written the beginning itself.
    return ([] if is_templated else beginning(tokenizer)) + ids or [_end(tokenizer)]


def beginning(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The token that this tokenizer puts before every text, or none."""
    of_nothing: list[int] = tokenizer("")["input_ids"]
    return of_nothing[:1] if of_nothing and of_nothing[0] == tokenizer.bos_token_id else []


def _answered(place: int, example: Example, tokenizer: PreTrainedTokenizerBase, max_length: int, form: Form) -> Block:
    prompt = prompt_tokens(example.text, tokenizer, form)
    response = Tokens()
    text = _response(example, tokenizer, form)
    ids, ends = _tokenized(text, tokenizer)
    response.add(ids, [place] * len(ids), _sizes(text, ends))
    if not (form is Form.DIALOGUE and tokenizer.chat_template):  # A template has written the end itself.
        response.add([_end(tokenizer)], [place], [0])
    kept = response.part(0, max_length - min(len(prompt), max_length // 2))
    prompt = prompt[-(max_length - len(kept.ids)) :]
    whole = Tokens()
    whole.add(prompt, [place] * len(prompt), [0] * len(prompt))
    whole.add(kept.ids, kept.owners, kept.sizes)
    return Block(whole, prompt=len(prompt))


def _response(example: Example, tokenizer: PreTrainedTokenizerBase, form: Form) -> str:
    said = example.text_pair or ""
    if form is not Form.DIALOGUE:
        return said
    messages = messages_of(example.text)
    before, whole = rendered(messages, tokenizer), rendered(messages, tokenizer, answer=said)
    if whole.startswith(before):
        return whole.removeprefix(before)
    return f"{said}{tokenizer.eos_token}"  # Some templates open a turn with more than is in it when it is closed.


@dataclass(frozen=True)
class _Piece:
    """Examples that follow each other and are tokenized as one text."""

    first: int
    """The place of the first one."""
    texts: list[str]
    begins: bool
    """True where a document begins here."""
    ends: bool


def _pieces(examples: Sequence[Example]) -> Iterator[_Piece]:
    texts: list[str] = []
    begins, length = True, 0
    for place, example in enumerate(examples):
        texts.append(example.text)
        length += len(example.text)
        is_last = place == len(examples) - 1
        ends = is_last or bool(example.text and not example.text.endswith(LINE_END))
        if ends or length >= PIECE:
            if length or not begins:
                yield _Piece(place + 1 - len(texts), texts, begins, ends)
            texts, begins, length = [], ends, 0


def _packed(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Tokens:
    """The documents, each after the beginning that the tokenizer gives it and before the token that ends it."""
    first, last = beginning(tokenizer), _end(tokenizer)
    stream = Tokens()
    for piece in _pieces(examples):
        if piece.begins:
            stream.add(first, [piece.first] * len(first), [0] * len(first))
        text = "".join(piece.texts)
        ids, ends = _tokenized(text, tokenizer)
        bounds = list(accumulate(map(len, piece.texts)))
        stream.add(ids, [piece.first + bisect_right(bounds, end - 1) for end in ends], _sizes(text, ends))
        if piece.ends:
            stream.add([last], [piece.first + len(piece.texts) - 1], [0])
    return stream


def _cut(stream: Tokens, max_length: int) -> Iterator[Block]:
    count = len(stream.ids)
    cuts = [*range(0, count, max_length), count]
    if count % max_length == 1:
        # A block of one token has nothing to predict: the one before gives it another; alone it is nothing.
        cuts = [*cuts[:-2], cuts[-2] - 1, count] if count > 1 else []
    for start, end in pairwise(cuts):
        yield Block(stream.part(start, end))


def _tokenized(text: str, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The tokens, and of each the character that it ends before; this never goes back."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return encoded["input_ids"], list(accumulate((end for _, end in encoded["offset_mapping"]), max))


def _sizes(text: str, ends: Sequence[int]) -> list[int]:
    """Bytes by token; what no token stands for, such as blanks, counts to the next one, and at the end to the last."""
    if not ends:
        return []
    whole = [*ends[:-1], len(text)]
    return [len(text[start:end].encode()) for start, end in zip([0, *whole], whole, strict=False)]


def _end(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends a text."""
    return int(tokenizer.eos_token_id)
