"""Opening of tokenizers: what one lacks is chosen, and what the model does not read is left out."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from autoopt.objectives.models import decoders, gguf_file, tokenizer_files
from autoopt.objectives.models.json_file import read_json
from autoopt.objectives.models.model_folder import ModelFolder
from autoopt.objectives.models.sentence_pieces import check_pieces
from autoopt.strategies.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_DECLARATIONS = ("tokenizer_config.json", "special_tokens_map.json")
_TIKTOKEN_CACHE = "TIKTOKEN_CACHE_DIR"


def open_tokenizer(folder: ModelFolder) -> PreTrainedTokenizerBase:
    """Return the tokenizer as its files say. Raises ``ModelError`` if it cannot be read, or has no vocabulary."""
    from transformers import AutoTokenizer

    if folder.path.suffix == gguf_file.SUFFIX:
        return gguf_file.read_tokenizer(folder.path)
    try:
        with _tiktoken_uncached():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                folder.path, local_files_only=True, trust_remote_code=False
            )
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        line = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(f"the tokenizer of {folder.name} cannot be read: {line}; download the model again") from None
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise ModelError(
            f"the tokenizer of {folder.name} has no words: {type(tokenizer).__name__} does not read the files that are "
            "there; give the model with a tokenizer.json"
        )
    if path := tokenizer_files.sentencepiece_file(folder.path):
        check_pieces(tokenizer, path)
    return tokenizer


def drop_unread_inputs(network: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Let the tokenizer give no types of segments to a model that has none, or one only; GPT-2 reads them as words."""
    read = inspect.signature(type(network.base_model).forward).parameters
    has_types = getattr(network.config, "type_vocab_size", 2 - decoders.decodes(network.config)) != 1
    if "token_type_ids" in tokenizer.model_input_names and not ("token_type_ids" in read and has_types):
        names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
        tokenizer.model_input_names = names
        tokenizer.init_kwargs["model_input_names"] = names  # This is what is saved.


def grow_vocabulary(folder: ModelFolder, network: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Add a row to the embeddings for each added token that has none, the mean of the others.

    Raises ``ModelError`` if tokens that were not added have none either: another model's tokenizer.
    """
    import torch

    count = network.get_input_embeddings().num_embeddings
    new = len(tokenizer) - count
    if new <= 0:
        return
    if tokenizer.vocab_size > count:
        raise ModelError(
            f"the tokenizer of {folder.name} has {tokenizer.vocab_size:,} tokens and its model {count:,}; they do not "
            "belong together: download the model again"
        )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        for table in filter(None, (network.get_input_embeddings(), network.get_output_embeddings())):
            table.weight[count:] = table.weight[:count].mean(0)


def has_mask_token(folder: ModelFolder) -> bool:
    """Return whether the tokenizer has a mask token; it is opened only if its configuration does not name one."""
    if not (folder.path / "config.json").is_file():
        return True  # In a file of GGUF, or not to be opened at all.
    return "mask_token" in _declared(folder) or open_tokenizer(folder).mask_token_id is not None


def tokenizer_warnings(folder: ModelFolder) -> Iterator[str]:
    """Yield what will be chosen for the tokenizer; it is opened only if its files leave that open.

    Raises as ``decoders.choose_padding``. Files of GGUF are not read.
    """
    if not (folder.path / "config.json").is_file():
        return
    if "pad_token" not in _declared(folder) and (
        padding := decoders.choose_padding(open_tokenizer(folder), folder.name)
    ):
        yield f"the tokenizer of {folder.name} has no padding token: {padding} is used for it"
    count = folder.config.get("vocab_size")
    new = 1 + max(_added_ids(folder), default=-1) - count if isinstance(count, int) else 0
    if new > 0:
        yield (
            f"the tokenizer of {folder.name} has {new:,} added tokens without an embedding: each gets the mean of the "
            "others, and learns its own if the embeddings are trained"
        )


def _declared(folder: ModelFolder) -> Mapping[str, Any]:
    """Return the special tokens, and other settings, that the configuration of the tokenizer names."""
    paths = [folder.path / name for name in _DECLARATIONS]
    settings: dict[str, Any] = {}
    for path in paths:
        if path.is_file():
            settings |= {key: value for key, value in read_json(path).items() if value is not None}
    return settings


def _added_ids(folder: ModelFolder) -> Iterator[int]:
    """Yield the ids of the tokens that were added to the vocabulary."""
    for name in ("added_tokens.json", "tokenizer.json"):
        if (folder.path / name).is_file():
            content = read_json(folder.path / name)
            tokens = content.get("added_tokens", []) if name == "tokenizer.json" else content.values()
            ids = (token.get("id") if isinstance(token, dict) else token for token in tokens)
            yield from (number for number in ids if isinstance(number, int))
    yield from (int(number) for number in _declared(folder).get("added_tokens_decoder", {}) if number.isdecimal())


@contextmanager
def _tiktoken_uncached() -> Iterator[None]:
    """Let tiktoken read files themselves, not what it kept of a file that was once at the same place."""
    before = os.environ.get(_TIKTOKEN_CACHE)
    os.environ[_TIKTOKEN_CACHE] = ""
    try:
        yield
    finally:
        if before is None:
            del os.environ[_TIKTOKEN_CACHE]
        else:
            os.environ[_TIKTOKEN_CACHE] = before
