"""Add copies with words replaced by neighbours in embedding space (Wang and Yang 2015, "That's so annoying")."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.texts.words import edit_words, split_for_editing

if TYPE_CHECKING:
    import torch

NEIGHBOURS = 5
"""Number of nearest words to draw a replacement from."""


class SynonymReplacement(Strategy):
    """Copies in which words are replaced by their neighbours in the model's embedding table, which needs no thesaurus.

    Neighbours are used alike but do not always mean the same: *good* is a neighbour of *bad*.

    - ``share``: share of the words replaced; 0.1 for sentiment and the like, 0.2 for topics.
    - ``closeness``: minimum cosine similarity of a neighbour.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"text"})

    share: Annotated[float, Choice(0.05, 0.1, 0.2)] = 0.1
    closeness: Annotated[float, Choice(0.5, 0.6, 0.7)] = 0.6
    copies: int = 1

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("synonym replacement, none made")
        rng = random.Random(seed)
        texts = [text for example in candidate.train for text in (example.text, example.text_pair) if text is not None]
        replacements = neighbours(
            candidate, sorted({word for text in texts for word in split_for_editing(text)}), self.closeness
        )

        def replace_words(words: list[str]) -> list[str]:
            indices = [index for index, word in enumerate(words) if word in replacements]
            for index in rng.sample(indices, min(len(indices), max(1, round(self.share * len(words))))):
                words[index] = rng.choice(replacements[words[index]])
            return words

        copies = [
            example.edited(lambda text: edit_words(text, replace_words))
            for _ in range(self.copies)
            for example in candidate.train
        ]
        return candidate.evolve(f"synonym replacement, {len(copies)} examples added", train=(*candidate.train, *copies))


def neighbours(candidate: Candidate, words: list[str], closeness: float) -> dict[str, list[str]]:
    """Return the nearest words of each word by cosine similarity of their embeddings, at least ``closeness``.

    Only words of a single token have neighbours.
    """
    import torch

    tokenizer: Any = candidate.tokenizer
    model: Any = candidate.model
    table: torch.Tensor = model.get_input_embeddings().weight.detach()
    words_by_token = _whole_words(tokenizer)
    token_ids = torch.tensor(list(words_by_token), device=table.device)
    unit = torch.nn.functional.normalize(table[token_ids], dim=-1)
    rows_by_token = {token_id: row for row, token_id in enumerate(words_by_token)}
    rows_by_word = {
        word: rows_by_token[ids[0]]
        for word in words
        if len(ids := _token_ids(tokenizer, word)) == 1 and ids[0] in rows_by_token
    }
    table_words = list(words_by_token.values())
    neighbours_by_word: dict[str, list[str]] = {}
    pairs = list(rows_by_word.items())
    for start in range(0, len(pairs), 256):
        chunk = pairs[start : start + 256]
        similarity: torch.Tensor = unit[[row for _, row in chunk]] @ unit.T
        values, nearest = similarity.topk(min(NEIGHBOURS + 1, len(table_words)), dim=-1)
        for (word, row), cosines, rows in zip(chunk, values.tolist(), nearest.tolist(), strict=True):
            close = [
                table_words[other]
                for other, cosine in zip(rows, cosines, strict=True)
                if other != row and cosine >= closeness
            ]
            if close:
                neighbours_by_word[word] = close[:NEIGHBOURS]
    return neighbours_by_word


def _token_ids(tokenizer: Any, word: str) -> list[int]:
    ids: list[int] = tokenizer(word, add_special_tokens=False)["input_ids"]
    return ids


def _whole_words(tokenizer: Any) -> dict[int, str]:
    """Return the words that are a single token of at least three letters, by token id."""
    words = {}
    for token, token_id in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        word = tokenizer.convert_tokens_to_string([token]).strip()
        if (
            word.isalpha()
            and len(word) > 2
            and token_id not in tokenizer.all_special_ids
            and not token.startswith("##")
        ):
            words[token_id] = word
    return words
