"""A candidate so small that everything about it takes milliseconds, with a task that it can learn."""

from __future__ import annotations

import hashlib
import random
from typing import Any

from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.stand_ins.contract import TextModel, text_logits
from autoopt.strategies.training import batches

LABELS = ("business", "sport")
TOPIC_WORDS = (
    ("shares", "profit", "bank", "market", "prices", "growth", "sales", "fell"),
    ("chelsea", "cup", "goal", "match", "coach", "season", "striker", "won"),
)
COMMON_WORDS = ("the", "a", "today", "sharply", "after", "said", "##s", "new")
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *TOPIC_WORDS[0], *TOPIC_WORDS[1], *COMMON_WORDS)


def examples(count: int = 24, seed: int = 0) -> tuple[Example, ...]:
    """Short texts of different lengths, the two classes in turn, each class with words of its own."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        label = number % len(LABELS)
        words = chance.choices([*TOPIC_WORDS[label], *COMMON_WORDS[:6]], k=chance.randint(4, 12))
        made.append(Example(" ".join([chance.choice(TOPIC_WORDS[label]), *words]), label))
    return tuple(made)


def class_of(example: Example) -> int:
    """The class of one of these examples."""
    if not isinstance(example.label, int):
        raise TypeError(f"{example} has no single class")
    return example.label


def model(kind: str = "bert", *, layers: int = 4, seed: int = 0, **settings: Any) -> Any:
    """A random classifier of an architecture of ``tests.zoo``; hidden 32, feed-forward 64."""
    import torch
    from transformers import AutoConfig

    from autoopt.objectives.models.decoders import new_network

    sizes = (
        {"dim": 32, "n_layers": layers, "n_heads": 4, "hidden_dim": 64}
        if kind == "distilbert"
        else {"hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 4, "intermediate_size": 64}
    )
    if kind != "xlnet":  # It has no limit.
        sizes["max_position_embeddings"] = 40
    labels = dict(enumerate(LABELS))
    config = AutoConfig.for_model(
        kind,
        **sizes,
        vocab_size=len(VOCABULARY),
        pad_token_id=0,
        initializer_range=0.2,
        id2label=labels,
        label2id={name: number for number, name in labels.items()},
        **settings,
    )
    torch.manual_seed(seed)
    return new_network(config, "AutoModelForSequenceClassification").eval()


def candidate(kind: str = "bert", *, layers: int = 4, seed: int = 0, **settings: Any) -> Candidate:
    """The tiny model with its tokenizer, its task, 24 training examples and 24 unlabeled texts."""
    from transformers import BertTokenizer

    network = model(kind, layers=layers, seed=seed, **settings)
    return Candidate(
        model=network,
        tokenizer=BertTokenizer({word: number for number, word in enumerate(VOCABULARY)}),
        task=TextClassification(labels=LABELS, max_length=16),
        train=examples(seed=1),
        unlabeled=tuple(example.text for example in examples(seed=2)),
    )


def digest(model: Any) -> str:
    """A fingerprint of all weights and of the configuration."""
    import torch

    digest = hashlib.sha256(model.config.to_json_string(use_diff=False).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def logits(candidate: Candidate, model: Any = None) -> Any:
    """(examples, classes), for examples that were not trained on; of another ``model`` where one is given."""
    import torch

    student: Any = model or candidate.model
    if isinstance(student, TextModel):
        return torch.from_numpy(text_logits(student, examples(12, seed=3)))
    features = candidate.task.encode(examples(12, seed=3), candidate.tokenizer)
    answers = torch.empty(len(features), len(LABELS))
    for positions, _, output in batches.forward(model or candidate.model, features, pad_token_id=0):
        answers[positions] = output.logits.float()
    return answers


def accuracy(candidate: Candidate) -> float:
    """Share of examples that were not trained on and are answered rightly."""
    import torch

    labels = torch.tensor([example.label for example in examples(12, seed=3)])
    return float((logits(candidate).argmax(-1) == labels).float().mean())
