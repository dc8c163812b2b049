"""Tiny random models of many architectures, and the table of what works on them: ``python -m tests.zoo``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autoopt.objectives.loading import load_labelled
from autoopt.objectives.tasks import open_task
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.catalog import catalog
from autoopt.strategies.networks.pooling import pooling_edits, with_pooling
from autoopt.strategies.probe import failure
from tests import tiny
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
        "deberta": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0},
        "gte": {},
    }
)

_HEADS = frozenset({"head_pruning", "joint_pruning"})
WITHHELD: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "mpnet": _HEADS,
        "modernbert": _HEADS | {"ia3"},
        "albert": _HEADS | {"tsdae", "ffn_pruning", "layer_drop", "low_rank", "wanda", "weight_sharing"},
    }
)
"""Strategies that cannot be used, by architecture."""


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
    strategies = {name: cls for name, cls in catalog().items() if "decoder" not in cls.needs and not cls.packages}
    return {
        name: failure(made(cls), given, open_task=open_task)
        for name, cls in strategies.items()
        if not names or name in names
    }


def main(kinds: Sequence[str]) -> None:
    for kind in kinds or ENCODERS:
        found = reasons(candidate(kind))
        works = [name for name, why in found.items() if why is None]
        print(f"{kind}: {len(works)} of {len(found)} strategies work", flush=True)
        for name, why in found.items():
            if why is not None:
                print(f"  without {name}: {why}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
