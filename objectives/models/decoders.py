"""Decoders in tasks with a head of their own: their padding token, their class, and the head that reads their end."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from autoopt.objectives.models import known_architectures
from autoopt.strategies.errors import ModelError
from autoopt.strategies.networks.decoders.generic_heads import ENCODER_ALONE, class_name, model_class
from autoopt.strategies.networks.pooling import with_pooling

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

POOLING = "last"
"""Only the last token has seen the whole text."""
_PADDING = ("[PAD]", "<pad>", "<|pad|>", "<PAD>")
"""Usual tokens for padding, which a vocabulary may have although its tokenizer names none."""
_SUBSTITUTES = ("eos_token", "unk_token", "bos_token", "sep_token")
"""What pads for want of a padding token; which one does not matter, since padding is masked."""


def decodes(config: Any) -> bool:
    """Return whether each token sees those before it only."""
    return config.model_type in known_architectures.decoders()


def prepare(config: Any, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Choose a padding token if there is none, write it into the configuration, and switch the cache off.

    The cache is of use to models that write, token after token; one that answers in one pass would only fill it.
    Raises ``ModelError`` for a tokenizer without any special token.
    """
    choose_padding(tokenizer, name)
    if tokenizer.pad_token_id < config.vocab_size:
        config.pad_token_id = tokenizer.pad_token_id
    config.use_cache = False


def prepare_to_write(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Check the tokenizer of a language model, and pad with the end token for want of another: the loss skips both."""
    if tokenizer.eos_token_id is None:
        raise ModelError(f"the tokenizer of {name} has no token that ends a text; set eos_token in its configuration")
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer {type(tokenizer).__name__} of {name} does not say where its tokens stand in the text; give "
            "the model with a tokenizer.json"
        )
    choose_padding(tokenizer, name)


def choose_padding(tokenizer: Any, name: str) -> str | None:
    """Give a tokenizer without a padding token another token for it; return it, None if it has one already.

    Raises ``ModelError`` if it has none that could be taken.
    """
    if tokenizer.pad_token_id is not None:
        return None
    vocabulary = tokenizer.get_vocab()
    candidates = (*_PADDING, *(getattr(tokenizer, kind) for kind in _SUBSTITUTES))
    token = next((str(token) for token in candidates if token is not None and str(token) in vocabulary), None)
    if token is None:
        raise ModelError(
            f"the tokenizer of {name} has no padding token, and no other special token to pad with; set pad_token in "
            "its configuration"
        )
    tokenizer.pad_token = token
    return token


def padding_note(tokenizer: Any) -> list[str]:
    """Return a line that says what texts are padded with, if that is no token of its own."""
    others = [getattr(tokenizer, kind) for kind in _SUBSTITUTES]
    return [f"texts are padded with {tokenizer.pad_token}, which is masked"] if tokenizer.pad_token in others else []


def network_class(config: Any, auto_class: str) -> Any:
    """Return the class of transformers, such as ``AutoModelForTokenClassification``, or one made for the architecture.

    Raises ``ModelError`` if there is neither.
    """
    import transformers

    ending = auto_class.removeprefix("AutoModel")
    if config.model_type in known_architectures.text_to_text() and ENCODER_ALONE.endswith(ending):
        ending = ENCODER_ALONE
    elif config.model_type in known_architectures.architectures(auto_class):
        return getattr(transformers, auto_class)
    name = class_name(config.model_type, ending)
    made = model_class(config.model_type, name)
    if made is None:
        raise ModelError(
            f"transformers has neither {auto_class} for the architecture '{config.model_type}' nor the parts of one; "
            "give another model"
        )
    return made


def renamed_weights(config: Any, auto_class: str) -> dict[str, str]:
    """Return a pattern of the names that a language model's file gives its body, with the name in the class.

    Empty if the names are the same. Llama and its kin have another name in their class for questions.
    """
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        network, writer = new_network(copy.deepcopy(config), auto_class), AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    before, after = writer.base_model_prefix, network.base_model_prefix
    return {} if before == after else {rf"^{before}\.": f"{after}."}


def new_network(config: Any, auto_class: str) -> Any:
    """Return a random model in fp32 with this head."""
    import torch

    made = network_class(config, auto_class)
    build: Any = getattr(made, "from_config", None) or made._from_config
    network = build(config, dtype=torch.float32)
    network.config.architectures = [type(network).__name__]
    return network


def with_pooled_head(network: Any) -> Any:
    """Return a classifier with transformers' own head, changed in place, as one that pools; it computes the same.

    Its own head finds the last token by the id of the padding, which is missing where a batch consists of embeddings.
    One whose head is more than a linear layer stays as it is.
    """
    import torch
    from torch import nn

    head = [part for name, part in network.named_children() if name != network.base_model_prefix]
    if len(head) != 1 or not isinstance(head[0], nn.Linear):
        return network
    with_pooling(network, POOLING)
    network.dropout.p = 0.0
    with torch.no_grad():
        network.classifier.weight.copy_(head[0].weight)
        if head[0].bias is not None:
            network.classifier.bias.copy_(head[0].bias)
    return network
