"""Vocabulary pruning: a tokenizer with fewer tokens, which splits removed tokens into the kept ones."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from autoopt.strategies.errors import ModelError


def pruned_tokenizer(
    tokenizer: Any, texts: Sequence[str], *, common: int, required: Iterable[int | None] = ()
) -> tuple[Any, list[int]]:
    """Return the tokenizer with the tokens of the texts, its first ``common`` ones and those that are ``required``.

    Also returns the old ids of the kept tokens, in the order of their new ids. Raises ``ModelError`` unless the
    tokenizer is WordPiece, BPE or Unigram.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(f"the tokenizer {type(tokenizer).__name__} has no 'tokenizers' backend; its vocabulary stays")
    state = json.loads(backend.to_str())
    used = set(_used(json.dumps({**state, "truncation": None, "padding": None}), tuple(texts)))
    numbers = _numbers(state)
    special = {token["id"] for token in state["added_tokens"]}
    characters = {number for token, number in numbers.items() if _is_character(token)}
    wanted = {*range(common), *required} & set(numbers.values())
    kept = _closed(state, used | special | characters | wanted, numbers)
    order = sorted(kept)
    renumbered = {old: new for new, old in enumerate(order)}
    _renumber(state, renumbered)
    pruned = copy.deepcopy(tokenizer)
    pruned._tokenizer = type(backend).from_str(json.dumps(state))
    return pruned, order


@lru_cache(maxsize=4)
def _used(rules: str, texts: tuple[str, ...]) -> frozenset[int]:
    """Return the ids of the texts' tokens; cached, since all recipes of a study have the same texts."""
    from tokenizers import Tokenizer

    encodings = Tokenizer.from_str(rules).encode_batch_fast(list(dict.fromkeys(texts)))
    return frozenset(number for encoding in encodings for number in encoding.ids)


def _numbers(state: dict[str, Any]) -> dict[str, int]:
    """Return the id of each token, added tokens included."""
    model = state["model"]
    match model.get("type"):
        case "WordPiece" | "BPE":
            ids_by_token = dict(model["vocab"])
        case "Unigram":
            ids_by_token = {token: number for number, (token, _) in enumerate(model["vocab"])}
        case other:
            raise ModelError(f"the vocabulary of a tokenizer of the kind {other} cannot be pruned")
    return ids_by_token | {token["content"]: token["id"] for token in state["added_tokens"]}


def _is_character(token: str) -> bool:
    """Return whether the token is a single character, so that any text can be split into such tokens."""
    return len(token.removeprefix("##").removeprefix("▁").removeprefix("Ġ")) <= 1 or (
        token.startswith("<0x") and token.endswith(">")
    )


def _closed(state: dict[str, Any], kept: set[int], numbers: dict[str, int]) -> set[int]:
    """Add the parts of each kept token, which BPE needs to form it."""
    model = state["model"]
    if model["type"] != "BPE":
        return kept
    parts: dict[str, tuple[str, str]] = {}
    for first, second in _merges(model):
        parts.setdefault(first + second, (first, second))
    names = {number: token for token, number in numbers.items()}
    pending = list(kept)
    closed = set(kept)
    while pending:
        for part in parts.get(names.get(pending.pop(), ""), ()):
            if part in numbers and numbers[part] not in closed:
                closed.add(numbers[part])
                pending.append(numbers[part])
    return closed


def _merges(model: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for merge in model["merges"]:
        first, second = merge.split(" ") if isinstance(merge, str) else merge
        yield first, second


def _renumber(state: dict[str, Any], renumbered: dict[int, int]) -> None:
    model = state["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [entry for number, entry in enumerate(model["vocab"]) if number in renumbered]
        if model.get("unk_id") is not None:
            model["unk_id"] = renumbered[model["unk_id"]]
    else:
        vocabulary = {token: renumbered[number] for token, number in model["vocab"].items() if number in renumbered}
        if model["type"] == "BPE":
            model["merges"] = [
                merge
                for merge, (first, second) in zip(model["merges"], _merges(model), strict=True)
                if {first, second, first + second} <= vocabulary.keys()
            ]
        model["vocab"] = vocabulary
    for token in state["added_tokens"]:
        token["id"] = renumbered[token["id"]]
    _renumber_template(state.get("post_processor"), renumbered)


def _renumber_template(part: Any, renumbered: dict[int, int]) -> None:
    """Renumber the special tokens put around a text: lists of ids, or pairs of token and id."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "ids":
                part[key] = [renumbered[number] for number in value]
            elif key in ("sep", "cls"):
                part[key] = [value[0], renumbered[value[1]]]
            else:
                _renumber_template(value, renumbered)
    elif isinstance(part, list):
        for item in part:
            _renumber_template(item, renumbered)
