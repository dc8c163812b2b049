"""Tiny random models of many architectures, and the table of what works on them: ``python -m tests.zoo [KIND...]``."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autoopt.objectives.loading import load_labelled
from autoopt.objectives.tasks import find_task, open_task
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.search.space.space import RECIPE_NEEDS
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.catalog import catalog
from autoopt.strategies.model_needs import MODEL_NEEDS
from autoopt.strategies.networks.pooling import pooling_edits, with_pooling
from autoopt.strategies.probe import failure
from tests import tiny, tiny_decoder
from tests.benchmarks import architecture_page
from tests.tiny_given import made

_FEW_IDS: Mapping[str, Any] = MappingProxyType({"bos_token_id": 2, "eos_token_id": 3})

LISTED = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert")
"""Encoders on which each test of encoders runs."""
ENCODERS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {kind: {} for kind in LISTED}
    | {
        "mpnet": {},
        "modernbert": {**_FEW_IDS, "cls_token_id": 2, "sep_token_id": 3, "local_attention": 4},
        "deberta-v2": {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "type_vocab_size": 0,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_buckets": 8,
        },
        "albert": {"embedding_size": 16, **_FEW_IDS},
        "nomic_bert": {},
        "eurobert": {**_FEW_IDS, "mask_token_id": 4},
        "ernie": {},
        "rembert": {"input_embedding_size": 16, "output_embedding_size": 16, **_FEW_IDS},
        "mobilebert": {"embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16},
        "roformer": {},
        "data2vec-text": {},
        "big_bird": {"attention_type": "original_full", "sep_token_id": 3, **_FEW_IDS},
        "longformer": {"attention_window": 4, "sep_token_id": 3, **_FEW_IDS},
        "xlm-roberta-xl": {},
        "roberta-prelayernorm": {},
        "megatron-bert": {},
        "gte": {},
        "t5": {"d_kv": 8, "d_ff": 64, "decoder_start_token_id": 0, "initializer_factor": 5.0, "eos_token_id": 3},
        "xlnet": {"d_inner": 64, "d_head": 8, **_FEW_IDS},
    }
)

_LLAMA: Mapping[str, Any] = MappingProxyType({"intermediate_size": 48, "num_key_value_heads": 2})
DECODERS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "gpt2": {},
        "llama": {},
        "mistral": {**_LLAMA, "sliding_window": 4},
        "qwen2": _LLAMA,
        "qwen3": {**_LLAMA, "head_dim": 8},
        "gemma": {**_LLAMA, "head_dim": 8},
        "gemma2": {**_LLAMA, "head_dim": 8, "sliding_window": 4},
        "gemma3_text": {**_LLAMA, "head_dim": 8, "sliding_window": 4},
        "phi": {"intermediate_size": 48},
        "phi3": {**_LLAMA, "pad_token_id": 0},
        "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
        "gpt_neox": {"intermediate_size": 48},
        "smollm3": {**_LLAMA, "pad_token_id": 0},
        "falcon": {},
        "bloom": {},
        "olmo2": _LLAMA,
        "granite": _LLAMA,
        "stablelm": _LLAMA,
        "starcoder2": _LLAMA,
        "mixtral": {**_LLAMA, "num_local_experts": 4},
        "qwen3_moe": {**_LLAMA, "head_dim": 8, "num_experts": 4, "moe_intermediate_size": 16, "num_experts_per_tok": 2},
    }
)


def decoder(kind: str) -> Candidate:
    """Return a decoder of the architecture with texts to learn."""
    texts = tuple(tiny_decoder.examples(tiny_decoder.CORPUS))
    given = replace(tiny_decoder.candidate(), model=tiny_decoder.model(kind, **DECODERS[kind]))
    return replace(given, train=texts, unlabeled=tiny_decoder.CORPUS)


def classifier(kind: str, folder: Path, **settings: Any) -> Candidate:
    """Return a classifier on a decoder of the architecture, opened from a folder, with whatever a strategy may need."""
    task = TextClassification(labels=tiny.LABELS, max_length=48)
    given, teacher = (
        task.open_model(
            str(tiny_decoder.save(folder / str(seed), kind, seed=seed, **DECODERS[kind], **settings)), seed=seed
        )
        for seed in (0, 7)
    )
    texts = tuple(example.text for example in tiny.examples(seed=2))
    other_data = partial(load_labelled, task_type=TextClassification)
    return replace(given, train=tiny.examples(seed=1), unlabeled=texts, teacher=teacher.model, other_data=other_data)


def candidate(kind: str, *, layers: int = 3) -> Candidate:
    """Return a classifier of the architecture with whatever a strategy may need."""
    other_data = partial(load_labelled, task_type=TextClassification)
    given = tiny.candidate(kind, layers=layers, **ENCODERS[kind])
    teacher = tiny.model(kind, layers=layers, seed=7, **ENCODERS[kind])
    if kind not in LISTED:  # As most models open: nothing was trained above the layers.
        with_pooling(given.model, "mean", seed=0), with_pooling(teacher, "mean", seed=7)
    return replace(given, teacher=teacher, other_data=other_data, edits=pooling_edits(given.model))


def save_pretrained(kind: str, folder: Path) -> Path:
    """Write the model with its tokenizer as a person would give them."""
    given = candidate(kind)
    tiny.model(kind, layers=3, **ENCODERS[kind]).save_pretrained(folder)
    given.tokenizer.save_pretrained(folder)
    return folder


def opened(kind: str, folder: Path) -> Candidate:
    """Return the model as the task opens it, for other classes, so that its head is new."""
    task = TextClassification(labels=("a", "b"), max_length=16)
    given = task.open_model(str(save_pretrained(kind, folder)), seed=1)
    return replace(given, train=tiny.examples(seed=1), unlabeled=candidate(kind).unlabeled)


def reasons(given: Candidate, names: Sequence[str] = ()) -> dict[str, str | None]:
    """Return for each strategy why it cannot be used on the candidate's model, None if it can."""
    task = find_task(given.task.name)
    known = task.facts(given.train) | task.head.facts | {"cpu", "unlabeled"} | RECIPE_NEEDS | MODEL_NEEDS.keys()
    strategies = {name: cls for name, cls in catalog().items() if cls.needs <= known and not cls.packages}
    return {
        name: failure(made(cls), given, open_task=open_task)
        for name, cls in strategies.items()
        if not names or name in names
    }


def counts(given: Candidate) -> tuple[int, dict[str, str]]:
    """Return how many strategies work on the candidate's model, and why the others do not."""
    found = reasons(given)
    withheld = {name: why for name, why in found.items() if why is not None}
    return len(found) - len(withheld), withheld


def main(arguments: Sequence[str]) -> None:
    """Print what works on the architectures, by default on all; with ``--record`` also write it to the page."""
    kinds = [argument for argument in arguments if argument != "--record"]
    record = architecture_page.measured()
    for kind in kinds or (*ENCODERS, *DECODERS):
        with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
            candidates = [decoder(kind), classifier(kind, Path(folder))] if kind in DECODERS else [candidate(kind)]
        record[kind] = {}
        for given in candidates:
            works, withheld = counts(given)
            record[kind][given.task.name] = {"works": works, "withheld": withheld}
            print(f"{kind}, {given.task.name}: {works} of {works + len(withheld)} strategies work", flush=True)
            for name, why in withheld.items():
                print(f"  without {name}: {why}", flush=True)
        if "--record" in arguments:
            architecture_page.write(record)


if __name__ == "__main__":
    main(sys.argv[1:])
