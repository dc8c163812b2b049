"""Opens a pretrained model with a head for the task on top."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from autoopt.objectives.models import gguf_file
from autoopt.objectives.models.model_folder import Body, ModelFolder
from autoopt.strategies.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Head(StrEnum):
    """What stands on top of the model: the end of the class's name in transformers."""

    TEXT = "SequenceClassification"
    WORDS = "TokenClassification"
    SPAN = "QuestionAnswering"
    NEXT_WORD = "CausalLM"

    @property
    def body(self) -> Body:
        """What it stands on."""
        return Body.DECODER if self is Head.NEXT_WORD else Body.ENCODER


def open_pretrained(
    folder: ModelFolder, *, head: Head, labels: Sequence[str], problem: str | None, max_length: int, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the model, in fp32 and for inference, with its tokenizer.

    A head of this kind for exactly these classes in this order is kept; any other is drawn from ``seed``, which leaves
    torch's own random state as it was. ``problem`` is for ``config.problem_type``. Raises ``ModelError`` where weights,
    configuration and tokenizer do not fit together.
    """
    with _silent_transformers():
        if folder.path.suffix == gguf_file.SUFFIX:
            network, tokenizer = gguf_file.open_gguf(folder.path)
        else:
            config = _config(folder)
            tokenizer = _tokenizer(folder)
            keep_head = _prepare(config, head, labels, problem)
            network = _network(folder, config, head, keep_head=keep_head, seed=seed)
    if head is Head.NEXT_WORD:
        _check_end(folder, tokenizer)
    _check_fit(folder, network, tokenizer, max_length)
    return network, tokenizer


def _prepare(config: Any, head: Head, labels: Sequence[str], problem: str | None) -> bool:
    """Write into the configuration what the head is for; return whether the head that the model brings is that one."""
    brought = (config.architectures or [""])[0]
    if head is Head.NEXT_WORD:
        return True  # Its head is the word embeddings, or as good as these.
    names = dict(enumerate(labels)) or {number: f"LABEL_{number}" for number in range(2 if head is Head.SPAN else 1)}
    # A model that was saved without its class's name counts as a classifier of texts.
    same = config.id2label == names and (brought.endswith(head.value) or (not brought and head is Head.TEXT))
    if problem is not None:
        config.problem_type = problem
    config.id2label, config.label2id = names, {name: number for number, name in names.items()}
    return same


def _config(folder: ModelFolder) -> Any:
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError, StrictDataclassError) as error:
        raise _broken(folder, error) from None


def _tokenizer(folder: ModelFolder) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        raise ModelError(
            f"the tokenizer of {folder.name} cannot be read: {_line(error)}; download the model again"
        ) from None


def _network(folder: ModelFolder, config: Any, head: Head, *, keep_head: bool, seed: int) -> PreTrainedModel:
    import torch
    import transformers
    from safetensors import SafetensorError

    network_class = getattr(transformers, f"AutoModelFor{head}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            network, report = network_class.from_pretrained(
                folder.path,
                config=config,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
            raise _broken(folder, error) from None
        _check_weights(folder, network, report, head)
        if not keep_head:
            _draw_head(network)
    return network.eval()  # type: ignore[no-any-return]


def _check_weights(folder: ModelFolder, network: Any, report: Mapping[str, Any], head: Head) -> None:
    """The body must be complete. A head, and the pooler below it, may be new, unless it is what was pretrained."""
    body = network.base_model_prefix + "."
    mismatched = {entry[0] for entry in report["mismatched_keys"]}
    missing = {key for key in report["missing_keys"] if ".pooler." not in key}
    gaps = sorted(key for key in missing | mismatched if key.startswith(body) or head is Head.NEXT_WORD)
    surplus = sorted(key for key in report["unexpected_keys"] if ".layer." in key or ".layers." in key)
    if gaps or surplus:
        what = f"lack {gaps[0]} of the right shape" if gaps else f"have {surplus[0]} too much"
        raise ModelError(
            f"the weights of {folder.name} do not fit its config.json: they {what} ({len(gaps or surplus)} like it); "
            "download the model again"
        )


def _draw_head(network: Any) -> None:
    """Give every module beside the body fresh weights, by the model's own rule."""
    for name, child in network.named_children():
        if name != network.base_model_prefix:
            for module in child.modules():
                for parameter in module.parameters(recurse=False):
                    parameter._is_hf_initialized = False  # transformers does not touch what it has loaded.
                network._init_weights(module)


def _check_fit(folder: ModelFolder, network: Any, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
    config = network.config
    positions = getattr(config, "max_position_embeddings", None)
    # RoBERTa and its like count positions from behind the padding index.
    offset = (config.pad_token_id or 0) + 1 if config.model_type in {"roberta", "xlm-roberta", "camembert"} else 0
    if positions is not None and max_length > positions - offset:
        raise ModelError(
            f"{folder.name} reads at most {positions - offset} tokens, and data.max_length is {max_length}; lower it"
        )
    if len(tokenizer) > config.vocab_size:
        raise ModelError(
            f"the tokenizer of {folder.name} has {len(tokenizer):,} tokens and its model {config.vocab_size:,}; they "
            "do not belong together: download the model again"
        )
    if tokenizer.pad_token_id is None:
        raise ModelError(f"the tokenizer of {folder.name} has no padding token; set pad_token in its configuration")


def _check_end(folder: ModelFolder, tokenizer: PreTrainedTokenizerBase) -> None:
    """A decoder needs a token that ends a text, and pads with it where it has none for that: its loss skips both."""
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"the tokenizer of {folder.name} has no token that ends a text; set eos_token in its configuration"
        )
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer {type(tokenizer).__name__} of {folder.name} does not say where its tokens stand in the "
            "text; give the model with a tokenizer.json"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token


def _broken(folder: ModelFolder, error: Exception) -> ModelError:
    return ModelError(f"{folder.name} cannot be built from its config.json: {_line(error)}; download the model again")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextmanager
def _silent_transformers() -> Iterator[None]:
    """No progress bar and no report of the weights that are new: they are checked here."""
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
