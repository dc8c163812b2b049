"""Which strategies fail on a model's architecture: each is tried on a small random model of it, and the result kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.objectives.models import decoders, gguf_file
from autoopt.objectives.models.model_folder import ModelFolder
from autoopt.objectives.models.pretrained import configuration_of, tokenizer_of
from autoopt.objectives.models.tokenizers import grow_vocabulary
from autoopt.objectives.tasks import open_task
from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.errors import ModelError
from autoopt.strategies.model_needs import MODEL_NEEDS
from autoopt.strategies.networks.pooling import pooling_edits, with_pooling
from autoopt.strategies.probe import failure
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.system.code_digest import code_digest
from autoopt.strategies.system.files import write_whole

if TYPE_CHECKING:
    from autoopt.objectives.task import Task

TESTED = frozenset({"bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert"})
"""Architectures on which the tests try every strategy."""
_LACKED = "causal"
"""All that these architectures lack."""
EXAMPLES = 8
CHARACTERS = 200
"""Length of a text of which every part is an example: a language model reads all of it, and answers each token with
scores of its whole vocabulary."""
LAYERS = 2
HEAD_WIDTH, WIDTH = 8, 64
"""Width of each head and of the feed-forward blocks, if the architecture can be built so small."""
_NO_ARCHITECTURE = frozenset(
    {"_name_or_path", "transformers_version", "vocab_size", "id2label", "label2id", "architectures", "dtype"}
)
"""Keys of a configuration that say nothing about the architecture."""


def failures(
    folder: ModelFolder, task: Task, examples: Sequence[Example], texts: Sequence[str], strategies: Sequence[Strategy]
) -> dict[str, str]:
    """Return why each strategy that fails on the model's architecture does; a tested architecture is not tried.

    The first time it takes some seconds; the result is kept in the user's cache folder, for the same configuration,
    task, code and version of transformers.
    """
    if folder.config.get("model_type") in TESTED:
        return {
            strategy.name: f"it needs {MODEL_NEEDS[_LACKED]}" for strategy in strategies if _LACKED in strategy.needs
        }
    if not (folder.path / "config.json").is_file() and folder.path.suffix != gguf_file.SUFFIX:
        return {}
    path = _cache_folder() / f"{_signature(folder, task, strategies)}.json"
    with contextlib.suppress(OSError, ValueError):
        cached: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        return cached
    candidate = _small_candidate(folder, task, examples, texts)
    results = {strategy.name: failure(strategy, candidate, open_task=open_task) for strategy in strategies}
    reasons = {name: reason for name, reason in results.items() if reason is not None}
    with contextlib.suppress(OSError):  # A home that cannot be written costs these seconds again.
        write_whole(path, json.dumps(reasons, indent=1))
    return reasons


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autoopt" / "architectures"


def _signature(folder: ModelFolder, task: Task, strategies: Sequence[Strategy]) -> str:
    described = folder.config
    if folder.path.suffix == gguf_file.SUFFIX:
        described = gguf_file.read_configuration(folder.path).to_dict()
    config = {key: value for key, value in described.items() if key not in _NO_ARCHITECTURE}
    steps = {strategy.name: strategy.model_dump(mode="json") for strategy in strategies}
    code = code_digest(__name__, "autoopt.strategies.probe", *sorted(type(step).__module__ for step in strategies))
    about = [config, task.name, steps, code, version("transformers"), version("torch")]
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _small_candidate(folder: ModelFolder, task: Task, examples: Sequence[Example], texts: Sequence[str]) -> Candidate:
    """Return a random model of two layers with the model's own tokenizer and some of the data."""
    import torch

    def model(seed: int) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _small_model(folder, task)

    network, teacher = model(0), model(1)
    tokenizer = tokenizer_of(folder, network, task.head)
    grow_vocabulary(folder, teacher, tokenizer)
    return Candidate(
        model=network,
        tokenizer=tokenizer,
        task=task.for_model(folder),
        train=tuple(map(_shortened, examples[:EXAMPLES])),
        unlabeled=tuple(text[:CHARACTERS] for text in texts[:EXAMPLES]),
        edits=pooling_edits(network),
        teacher=teacher,
    )


def _shortened(example: Example) -> Example:
    """Return an example of running text with a part of its text, any other unchanged."""
    is_running_text = example.label is None and example.text_pair is None
    return replace(example, text=example.text[:CHARACTERS]) if is_running_text else example


def _small_model(folder: ModelFolder, task: Task) -> Any:
    """Return a narrow model of two layers; one as wide as the model itself if a narrow one cannot be built."""
    import torch

    for narrow in (True, False):
        config = configuration_of(folder, head=task.head, labels=task.labels, problem_type=task.problem_type)
        _shrink(config, narrow=narrow)
        try:
            made = decoders.new_network(config, task.head.auto_class).eval()
            with torch.inference_mode():
                made(input_ids=torch.ones(1, 4, dtype=torch.long))
        except (ValueError, RuntimeError, TypeError, AttributeError, AssertionError, ImportError) as error:
            if not narrow:
                problem = " ".join(str(error).split())[:200]
                raise ModelError(
                    f"{folder.name}: a small model of its architecture does not run: {problem}; give another model"
                ) from error
        else:
            break
    return with_pooling(made, decoders.POOLING if folder.decodes else "mean", seed=0) if task.head.pools else made


def _shrink(config: Any, *, narrow: bool) -> None:
    """Leave two layers of the configuration, of different kinds if it has several; and narrow ones."""
    count = getattr(config, "num_hidden_layers", LAYERS)
    lists = {key: value for key, value in vars(config).items() if key.startswith("layer_") and isinstance(value, list)}
    kinds = next((value for value in lists.values() if len(value) == count and len(set(map(str, value))) > 1), [])
    other = next((place for place, kind in enumerate(kinds) if kind != kinds[0]), 1)
    for key, value in lists.items():
        if len(value) == count:
            setattr(config, key, [value[0], value[other]])
    config.num_hidden_layers = min(LAYERS, count)
    heads = getattr(config, "num_attention_heads", None)
    if narrow and isinstance(heads, int):
        config.hidden_size = heads * HEAD_WIDTH
        if getattr(config, "head_dim", None) is not None:
            config.head_dim = HEAD_WIDTH
        if getattr(config, "intermediate_size", None) is not None:
            config.intermediate_size = WIDTH
