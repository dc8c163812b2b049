"""Opening of pretrained models with a head for a task."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoopt.objectives.models import decoders, gguf_file
from autoopt.objectives.models.model_folder import Body, ModelFolder
from autoopt.objectives.models.sentence_modules import read_modules
from autoopt.objectives.models.tokenizers import drop_unread_inputs, grow_vocabulary, open_tokenizer
from autoopt.strategies.errors import ModelError
from autoopt.strategies.networks.architectures import first_position
from autoopt.strategies.networks.pooling import normalizes, pooling_of, with_pooling
from autoopt.strategies.saving import load_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_UNNAMED_CLASS = "SequenceClassification"
"""Head of a model whose configuration does not name its class."""
_BUILD_ERRORS = (OSError, ValueError, TypeError, KeyError, RuntimeError, ImportError, AssertionError)
"""What transformers raises for a configuration that makes no model."""
_CLASSIFIER_POOLINGS = {"cls": "first", "mean": "mean"}
"""Our names of poolings by the values of ``config.classifier_pooling``."""


@dataclass(frozen=True)
class Head:
    """The head of a task's models."""

    auto_class: str
    """Name of the class in transformers that builds the model: ``AutoModelForSequenceClassification``."""
    body: Body = Body.ANY
    """What the head stands on."""
    outputs: int = 1
    """Number of outputs if the task has no classes."""
    is_pretrained: bool = False
    """Whether it belongs to the pretrained model, as the head of a language model does; it is then always kept."""
    pools: bool = False
    """Whether it reads one vector of the last hidden states; a new head then pools as the model was trained to."""

    @property
    def facts(self) -> frozenset[str]:
        """What holds of all models with this head, in the words of ``Strategy.needs``."""
        return frozenset({"writes"} if self.is_pretrained else {"head", "one pass", "untied embeddings"})

    def matches(self, model_class: str) -> bool:
        """Return whether a model of this class, such as ``BertForSequenceClassification``, has this kind of head."""
        return (model_class or _UNNAMED_CLASS).endswith(self.auto_class.removeprefix("AutoModelFor"))


def open_pretrained(
    folder: ModelFolder, *, head: Head, labels: Sequence[str], problem_type: str | None, max_length: int, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the model, in fp32 and evaluation mode, with its tokenizer.

    A head of the same kind for exactly these classes in this order is kept; any other is initialized from ``seed``,
    without effect on torch's global random state, with the model's own pooling. ``problem_type`` is for the
    configuration. Raises ``ModelError`` if weights, configuration and tokenizer do not fit together.
    """
    with _transformers_silenced():
        if folder.path.suffix == gguf_file.SUFFIX:
            network, tokenizer = gguf_file.open_gguf(folder.path)
            if not head.is_pretrained:
                config = copy.deepcopy(network.config)
                decoders.prepare(config, tokenizer, folder.name)
                _set_classes(config, head, labels, problem_type)
                network = _with_new_head(network, config, head, seed)
                if head.pools:
                    with_pooling(network, decoders.POOLING, seed=seed)
        else:
            config = _read_config(folder)
            tokenizer = open_tokenizer(folder)
            if folder.decodes and not head.is_pretrained:
                decoders.prepare(config, tokenizer, folder.name)
            keeps_head = head.is_pretrained or _set_classes(config, head, labels, problem_type)
            read = _read_saved if folder.is_pooled else _read_network
            network = read(folder, config, head, keeps_head=keeps_head, seed=seed)
        _fit(folder, network, tokenizer, head)
    _check_positions(folder, network, max_length)
    return network, tokenizer


def configuration_of(folder: ModelFolder, *, head: Head, labels: Sequence[str], problem_type: str | None) -> Any:
    """Return the model's configuration with the classes of the head."""
    with _transformers_silenced():
        config = _read_config(folder)
    if not head.is_pretrained:
        _set_classes(config, head, labels, problem_type)
        if folder.decodes:
            config.use_cache = False
    return config


def tokenizer_of(folder: ModelFolder, network: Any, head: Head) -> PreTrainedTokenizerBase:
    """Return the model's tokenizer, prepared as ``open_pretrained`` does."""
    with _transformers_silenced():
        tokenizer = open_tokenizer(folder)
        _fit(folder, network, tokenizer, head)
    return tokenizer


def _fit(folder: ModelFolder, network: Any, tokenizer: PreTrainedTokenizerBase, head: Head) -> None:
    """Let the tokenizer give what the model reads, and the model have a row for each token."""
    if head.body is Body.DECODER:
        decoders.prepare_to_write(tokenizer, folder.name)
    decoders.choose_padding(tokenizer, folder.name)
    drop_unread_inputs(network, tokenizer)
    grow_vocabulary(folder, network, tokenizer)
    if folder.decodes and not head.is_pretrained:
        decoders.prepare(network.config, tokenizer, folder.name)


def _set_classes(config: Any, head: Head, labels: Sequence[str], problem_type: str | None) -> bool:
    """Write the classes of the head into the configuration; return whether the model already has this head."""
    names = dict(enumerate(labels)) or {number: f"LABEL_{number}" for number in range(head.outputs)}
    has_head = config.id2label == names and head.matches((config.architectures or [""])[0])
    if problem_type is not None:
        config.problem_type = problem_type
    config.id2label, config.label2id = names, {name: number for number, name in names.items()}
    return has_head


def _read_config(folder: ModelFolder) -> Any:
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    try:
        if folder.path.suffix == gguf_file.SUFFIX:
            return gguf_file.read_configuration(folder.path)
        return AutoConfig.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError, StrictDataclassError) as error:
        raise _config_error(folder, error) from None


def _read_network(folder: ModelFolder, config: Any, head: Head, *, keeps_head: bool, seed: int) -> PreTrainedModel:
    import torch
    from safetensors import SafetensorError

    network_class = decoders.network_class(config, head.auto_class)
    other_names = folder.decodes and not head.is_pretrained and decoders.renamed_weights(config, head.auto_class)
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
                key_mapping=other_names or None,
            )
        except (*_BUILD_ERRORS, SafetensorError) as error:
            raise _config_error(folder, error) from None
        _check_weights(folder, network, report, head)
        body = network.base_model_prefix + "."
        if not (keeps_head and (head.is_pretrained or all(key.startswith(body) for key in report["missing_keys"]))):
            _initialize_head(network)
            if head.pools:
                _set_pooling(folder, network, report, seed)
        elif head.pools and folder.decodes:
            decoders.with_pooled_head(network)
    return network.eval()  # type: ignore[no-any-return]


def _read_saved(folder: ModelFolder, config: Any, head: Head, *, keeps_head: bool, seed: int) -> PreTrainedModel:
    """Return the network of a saved candidate; a new head has its pooling, if it pools at all."""
    network: Any = load_weights(folder.path)[0]
    if not head.pools:
        network = _with_new_head(network, config, head, seed)
    elif not keeps_head:
        network.config.id2label, network.config.label2id = config.id2label, config.label2id
        with_pooling(network, pooling_of(network) or "mean", normalizes=normalizes(network), seed=seed)
    network.config.problem_type = config.problem_type
    return network.eval()  # type: ignore[no-any-return]


def _with_new_head(network: Any, config: Any, head: Head, seed: int) -> PreTrainedModel:
    """Return a model with the body of ``network`` and a head drawn from ``seed``."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = decoders.new_network(config, head.auto_class).eval()
    made.base_model.load_state_dict(network.base_model.state_dict(), strict=False)
    return made  # type: ignore[no-any-return]


def _set_pooling(folder: ModelFolder, network: Any, report: Mapping[str, Any], seed: int) -> None:
    """Let the new head pool as the model was trained to; one with a trained pooler keeps the head of its class.

    It was trained as its sentence-transformers configuration says, or with its pooler, whose weights are in the file;
    else the mean is the safest, for a decoder its last token.
    """
    modules = read_modules(folder.path)
    how = modules.pooling if modules else _CLASSIFIER_POOLINGS.get(str(folder.config.get("classifier_pooling")))
    is_trained = getattr(network.base_model, "pooler", None) is not None and not any(
        ".pooler." in key for key in report["missing_keys"]
    )
    if how or not is_trained:
        default = decoders.POOLING if folder.decodes else "mean"
        with_pooling(network, how or default, normalizes=modules is not None and modules.normalizes, seed=seed)


def _check_weights(folder: ModelFolder, network: Any, report: Mapping[str, Any], head: Head) -> None:
    """Raise ``ModelError`` unless the weights of the body, and of a pretrained head, are complete.

    Another head, and the pooler below it, may be new.
    """
    body = network.base_model_prefix + "."
    mismatched = {entry[0] for entry in report["mismatched_keys"]}
    missing = {key for key in report["missing_keys"] if ".pooler." not in key}
    gaps = sorted(key for key in missing | mismatched if key.startswith(body) or head.is_pretrained)
    unread = (key for key in report["unexpected_keys"] if not key.startswith("decoder."))  # That of a model such as T5.
    surplus = sorted(key for key in unread if ".layer." in key or ".layers." in key)
    if gaps or surplus:
        problem = f"lack {gaps[0]} of the right shape" if gaps else f"have {surplus[0]} too much"
        raise ModelError(
            f"the weights of {folder.name} do not fit its config.json: they {problem} ({len(gaps or surplus)} like "
            "it); download the model again"
        )


def _initialize_head(network: Any) -> None:
    """Initialize the weights of every module outside the body, as the model itself does."""
    for name, child in network.named_children():
        if name != network.base_model_prefix:
            for module in child.modules():
                for parameter in module.parameters(recurse=False):
                    parameter._is_hf_initialized = False  # transformers does not touch what it has loaded.
                network._init_weights(module)


def _check_positions(folder: ModelFolder, network: Any, max_length: int) -> None:
    positions = getattr(network.config, "max_position_embeddings", None)
    offset = first_position(network)
    if positions is not None and positions > 0 and max_length > positions - offset:
        raise ModelError(
            f"{folder.name} reads at most {positions - offset} tokens, and data.max_length is {max_length}; lower it"
        )


def _config_error(folder: ModelFolder, error: Exception) -> ModelError:
    return ModelError(
        f"{folder.name} cannot be built from its config.json: {_one_line(error)}; download the model again"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextmanager
def _transformers_silenced() -> Iterator[None]:
    """Hide progress bars and the report on new weights, which are checked here."""
    from transformers.utils import logging

    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
