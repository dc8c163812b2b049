"""Train static embeddings with a head on the labels and on the answers of a teacher."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from autoopt.strategies.candidate import Batch, Candidate, Example, Features
from autoopt.strategies.students.static_reader import bigrams, compared, open_tokenizer
from autoopt.strategies.students.token_vectors import token_vectors
from autoopt.strategies.training.loop import Schedule, train
from autoopt.strategies.training.teacher_outputs import output_divergence, recorded_outputs

if TYPE_CHECKING:
    from autoopt.strategies.students.arrays import Arrays

PADDING = 0
"""Row of the compact tables that is no token."""
SECOND = "second_"
"""Begins the names of the features of a pair's second text."""
ANSWERED_TOKENS = 200_000
"""Number of tokens in the texts that the teacher answers, half a minute of one processor with MiniLM."""
MOST_COPIES = 15
HEAD_RATE = 10.0
"""Learning rate of the head over that of the vectors."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the student consists of."""

    dimension: int
    bigram_rows: int
    """Rows of the table of hashed pairs of tokens; 0 for none."""
    weighted: bool
    """Whether the weight of each token in the mean is learned."""
    hidden: int
    """Width of the head's hidden layer; 0 for a linear head."""
    pairs: bool
    outputs: int

    @property
    def widths(self) -> list[int]:
        """Return the widths of the head, from its inputs to its outputs."""
        inputs = self.dimension * (4 if self.pairs else 1)
        return [inputs, *([self.hidden] if self.hidden else []), self.outputs]


class StaticNetwork(nn.Module):
    """The student while it is trained, with the tokens that occur in its texts alone. Row 0 is padding."""

    def __init__(self, shape: Shape, vectors: torch.Tensor, *, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.shape = shape
        self.vectors = nn.Parameter(torch.cat([torch.zeros(1, shape.dimension), vectors]))
        self.weights = nn.Parameter(torch.ones(len(vectors) + 1, 1)) if shape.weighted else None
        self.bigrams = nn.Parameter(torch.zeros(shape.bigram_rows + 1, shape.dimension)) if shape.bigram_rows else None
        self.head = nn.ModuleList()
        for inputs, outputs in zip(shape.widths, shape.widths[1:], strict=False):
            layer = nn.Linear(inputs, outputs)
            nn.init.normal_(layer.weight, 0, inputs**-0.5, generator=generator)
            nn.init.zeros_(layer.bias)
            self.head.append(layer)

    def forward(self, batch: Batch, dropout: float = 0.0) -> torch.Tensor:
        """Return logits, (texts, outputs); ``dropout`` is the probability that a token is left out."""
        states = self._text_vectors(batch, "", dropout)
        if self.shape.pairs:
            second = self._text_vectors(batch, SECOND, dropout)
            states = compared(states, second, torch.abs, torch.cat)
        for place, layer in enumerate(self.head):
            states = layer(states.relu() if place else states)
        return states

    def folded(self, tokens: int, used: Sequence[int], vectors: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the tables and the head as the reader takes them; ``vectors`` are those of all tokens."""
        with torch.no_grad():
            rows = self.vectors[1:] if self.weights is None else self.vectors[1:] * self.weights[1:]
            whole = vectors.clone()
            whole[torch.tensor(used, dtype=torch.long)] = rows
            arrays = {"vectors": whole[:tokens].half()}
            if self.bigrams is not None:
                arrays["bigrams"] = self.bigrams[1:].half()
            linears: list[Any] = list(self.head)
            for place, layer in enumerate(linears):
                arrays[f"weight{place}"] = layer.weight.detach().T.clone(memory_format=torch.contiguous_format)
                arrays[f"bias{place}"] = layer.bias.detach().clone()
        return arrays

    def _text_vectors(self, batch: Batch, prefix: str, dropout: float) -> torch.Tensor:
        ids = batch[f"{prefix}input_ids"]
        present = (ids != PADDING).float()
        if dropout:
            present = present * (torch.rand_like(present) >= dropout)
        weights = present[..., None] if self.weights is None else present[..., None] * self.weights[ids]
        total = (self.vectors[ids] * weights).sum(1)
        if self.bigrams is not None and f"{prefix}bigrams" in batch:
            rows = batch[f"{prefix}bigrams"]
            total = total + (self.bigrams[rows] * (rows != PADDING)[..., None]).sum(1)
        return total / present.sum(1, keepdim=True).clamp_min(1)


@dataclass(frozen=True, kw_only=True)
class Training:
    """How the student is trained."""

    learning_rate: float
    epochs: int
    texts: int
    """Maximum number of unlabelled texts that the teacher answers."""
    copies: int | Literal["auto"]
    """Number of variants of each of these and of the labelled texts that the teacher answers; see ``usual_copies``."""
    weight: float
    """Weight of the divergence from the teacher; that of the labels' loss is the rest."""
    temperature: float
    dropout: float
    batch_size: int


@dataclass(frozen=True)
class Lesson:
    """What is learned: the texts' tokens, the teacher's answers, and the labels of the first texts."""

    features: list[Features]
    answers: torch.Tensor
    """Logits, (texts, outputs)."""
    labels: torch.Tensor
    """Of the first texts."""


def fit_static(candidate: Candidate, shape: Shape, training: Training, *, effort: float, seed: int) -> Arrays:
    """Return the arrays of ``StaticReader``, the tokenizer aside."""
    lesson = _lesson(candidate, shape, training, seed)
    names = ("input_ids", f"{SECOND}input_ids")
    used = sorted({token for item in lesson.features for name in names for token in item.get(name, ())})
    vectors = token_vectors(candidate.model, candidate.tokenizer, dimension=shape.dimension, seen=used)
    rows = {token: row for row, token in enumerate(used, start=1)}
    for item in lesson.features:
        item |= {name: [rows[token] for token in item[name]] for name in names if name in item}
    network = StaticNetwork(shape, vectors[torch.tensor(used, dtype=torch.long)], seed=seed)
    tables = [parameter for name, parameter in network.named_parameters() if not name.startswith("head")]
    train(
        network,
        lesson.features,
        Schedule(learning_rate=training.learning_rate, epochs=training.epochs, batch_size=training.batch_size),
        pad_token_id=PADDING,
        effort=effort,
        seed=seed,
        loss=_loss(candidate, lesson, training),
        parameters=[
            {"params": tables, "lr": training.learning_rate},
            {"params": list(network.head.parameters()), "lr": HEAD_RATE * training.learning_rate},
        ],
    )
    return {name: tensor.numpy() for name, tensor in network.folded(len(vectors), used, vectors).items()}


def _lesson(candidate: Candidate, shape: Shape, training: Training, seed: int) -> Lesson:
    chance = random.Random(seed)
    known = {example.text for example in candidate.train}
    free = [] if shape.pairs else [text for text in candidate.unlabeled if text not in known]
    others = [Example(text) for text in chance.sample(free, min(training.texts, len(free)))]
    sources = [*candidate.train, *others]
    teacher: Any = candidate.teacher
    pad_token_id = candidate.tokenizer.pad_token_id
    labelled = candidate.encode(candidate.train)
    copies = usual_copies(labelled, len(sources)) if training.copies == "auto" else training.copies
    variants = [_variant(example, sources, chance) for _ in range(copies) for example in sources]
    recorded = recorded_outputs(teacher, labelled, pad_token_id=pad_token_id)
    more = candidate.task.encode([*others, *variants], candidate.tokenizer)
    if more:
        recorded = [*recorded, *recorded_outputs(teacher, more, pad_token_id=pad_token_id)]
    texts = [*candidate.train, *others, *variants]
    return Lesson(
        features=_features(candidate, texts, shape),
        answers=torch.stack([output["logits"] for output in recorded]),
        labels=torch.tensor([item["labels"] for item in labelled]),
    )


def usual_copies(labelled: Sequence[Features], texts: int) -> int:
    """Return the number of variants of each text with which all texts have about ``ANSWERED_TOKENS`` tokens."""
    length = sum(len(item["input_ids"]) for item in labelled) / max(1, len(labelled))
    return min(MOST_COPIES, max(0, int(ANSWERED_TOKENS / max(1.0, length * texts)) - 1))


def _variant(example: Example, sources: Sequence[Example], chance: random.Random) -> Example:
    """Return the example without some of its words, or its beginning before the end of another one; no label."""
    words = example.text.split()
    if example.text_pair is None and chance.random() < 0.5:
        other = chance.choice(sources).text.split()
        spliced = [*words[: (len(words) + 1) // 2], *other[len(other) // 2 :]]
        return Example(" ".join(spliced) or example.text)
    rate = chance.uniform(0.1, 0.4)

    def thinned(text: str) -> str:
        return " ".join(word for word in text.split() if chance.random() >= rate) or text

    second = None if example.text_pair is None else thinned(example.text_pair)
    return Example(thinned(example.text), text_pair=second)


def _features(candidate: Candidate, examples: Sequence[Example], shape: Shape) -> list[Features]:
    """Return the tokens as the reader takes them, with the numbers of the texts."""
    import numpy as np

    tokenizer = student_tokenizer(candidate)
    unknown = candidate.tokenizer.unk_token_id

    def encoded(texts: list[str], prefix: str) -> list[Features]:
        items: list[Features] = []
        for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
            ids = [token for token in encoding.ids if token != unknown]
            items.append({f"{prefix}input_ids": ids})
            if shape.bigram_rows:
                items[-1][f"{prefix}bigrams"] = (bigrams(np.array(ids, dtype=np.int64), shape.bigram_rows) + 1).tolist()
        return items

    features = [{**item, "row": row} for row, item in enumerate(encoded([one.text for one in examples], ""))]
    if shape.pairs:
        seconds = encoded([one.text_pair or "" for one in examples], SECOND)
        features = [{**item, **second} for item, second in zip(features, seconds, strict=True)]
    return features


def student_tokenizer(candidate: Candidate) -> Any:
    """Return the tokenizer of the candidate as the reader has it."""
    return open_tokenizer(candidate.tokenizer.backend_tokenizer.to_str(), candidate.task.to_json()["max_length"])


def _loss(candidate: Candidate, lesson: Lesson, training: Training) -> Any:
    from autoopt.strategies.networks.pooling import task_loss

    config: Any = candidate.model.config

    def loss(network: Any, batch: Batch) -> torch.Tensor:
        rows = batch.pop("row")
        logits = network(batch, dropout=training.dropout).float()
        away = output_divergence(
            {"logits": logits},
            {"logits": lesson.answers[rows]},
            batch,
            problem=config.problem_type,
            temperature=training.temperature,
        )
        labelled = rows < len(lesson.labels)
        if not labelled.any():
            return training.weight * away
        labels, chosen = lesson.labels[rows[labelled]], logits[labelled]
        output = SimpleNamespace(logits=chosen, loss=task_loss(chosen, labels, config))
        plain = candidate.criterion(output, {"labels": labels})
        return training.weight * away + (1 - training.weight) * plain

    return loss
