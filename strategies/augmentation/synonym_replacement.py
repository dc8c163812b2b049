"""Copies with words exchanged for their neighbours among the embeddings (Wang and Yang 2015, "That's so annoying")."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy

if TYPE_CHECKING:
    import torch

NEIGHBOURS = 5
"""Of a word, from which one is drawn."""


class SynonymReplacement(Strategy):
    """Neighbours of the model's own embedding table stand in for synonyms, so nothing has to be installed.

    They are near in use, not always in sense: *good* is a neighbour of *bad*. ``share``: of the words that are
    exchanged; 0.1 for sentiment and the like, 0.2 for topics. ``closeness``: the least cosine of a neighbour.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"encoder", "text"})

    share: Annotated[float, Choice(0.05, 0.1, 0.2)] = 0.1
    closeness: Annotated[float, Choice(0.5, 0.6, 0.7)] = 0.6
    copies: int = 1

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("synonym replacement, none made")
        chance = random.Random(seed)
        texts = [text for example in candidate.train for text in (example.text, example.text_pair) if text is not None]
        near = neighbours(candidate, sorted({word for text in texts for word in text.split()}), self.closeness)

        def exchange(text: str) -> str:
            words = text.split()
            known = [place for place, word in enumerate(words) if word in near]
            for place in chance.sample(known, min(len(known), max(1, round(self.share * len(words))))):
                words[place] = chance.choice(near[words[place]])
            return " ".join(words)

        made = [example.edited(exchange) for _ in range(self.copies) for example in candidate.train]
        return candidate.evolve(f"synonym replacement, {len(made)} examples added", train=(*candidate.train, *made))


def neighbours(candidate: Candidate, words: list[str], closeness: float) -> dict[str, list[str]]:
    """By word its nearest whole words in the embedding table, with at least this cosine; words of one token alone."""
    import torch

    tokenizer: Any = candidate.tokenizer
    model: Any = candidate.model
    table: torch.Tensor = model.get_input_embeddings().weight.detach()
    whole = _whole_words(tokenizer)
    places = torch.tensor(list(whole), device=table.device)
    unit = torch.nn.functional.normalize(table[places], dim=-1)
    row = {number: place for place, number in enumerate(whole)}
    asked = {word: row[ids[0]] for word in words if len(ids := _tokens(tokenizer, word)) == 1 and ids[0] in row}
    names = list(whole.values())
    found: dict[str, list[str]] = {}
    pairs = list(asked.items())
    for start in range(0, len(pairs), 256):
        part = pairs[start : start + 256]
        likeness: torch.Tensor = unit[[place for _, place in part]] @ unit.T
        values, nearest = likeness.topk(min(NEIGHBOURS + 1, len(names)), dim=-1)
        for (word, place), cosines, others in zip(part, values.tolist(), nearest.tolist(), strict=True):
            near = [names[o] for o, cosine in zip(others, cosines, strict=True) if o != place and cosine >= closeness]
            if near:
                found[word] = near[:NEIGHBOURS]
    return found


def _tokens(tokenizer: Any, word: str) -> list[int]:
    ids: list[int] = tokenizer(word, add_special_tokens=False)["input_ids"]
    return ids


def _whole_words(tokenizer: Any) -> dict[int, str]:
    """By token number the words that are a token each, letters alone."""
    found = {}
    for token, number in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        word = tokenizer.convert_tokens_to_string([token]).strip()
        if word.isalpha() and len(word) > 2 and number not in tokenizer.all_special_ids and not token.startswith("##"):
            found[number] = word
    return found
