"""What others train: transformers' Trainer at its usual settings, and SetFit's recipe."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.training.batches import collate
from autoopt.strategies.training.loop import linear_schedule
from tests.benchmarks.methods import classical
from tests.benchmarks.methods.data_sets import Splits

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

EXAMPLE_SCRIPTS = {
    "text_classification": {"learning_rate": 2e-5, "num_train_epochs": 3, "per_device_train_batch_size": 32},
    "sentence_pair": {"learning_rate": 2e-5, "num_train_epochs": 3, "per_device_train_batch_size": 32},
    "token_classification": {},
    "question_answering": {"learning_rate": 3e-5, "num_train_epochs": 2, "per_device_train_batch_size": 12},
}
"""What the READMEs of transformers' example scripts give ``run_glue.py``, ``run_ner.py`` and ``run_qa.py``."""
ITERATIONS = 20
"""SetFit: for each text so many pairs with one of its class, and as many with one of another (Tunstall et al. 2022)."""
MOST_STEPS = 1000
"""SetFit: steps of 16 pairs, at most. CLINC150 would have 7,500, half an hour of one processor."""


def trainer(*, by_default: bool) -> Callable[[Splits], list[Any]]:
    """Return fine-tuning by transformers' Trainer: as its example scripts do, or with the defaults of its arguments.

    The defaults are 5e-5, three epochs, batches of 8.
    """

    def method(splits: Splits) -> list[Any]:
        return splits.task.answer(fine_tuned(splits, by_default=by_default), splits.data.test)

    return method


def fine_tuned(splits: Splits, *, by_default: bool) -> Candidate:
    """Return the base model as ``trainer`` trains it."""
    from transformers import Trainer, TrainingArguments

    candidate = classical.plainly_opened(splits)
    settings: dict[str, Any] = {} if by_default else EXAMPLE_SCRIPTS[splits.task.name]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            **settings,
            seed=splits.seed,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            use_cpu=True,
        )
        pad = candidate.tokenizer.pad_token_id
        Trainer(
            candidate.model,
            arguments,
            train_dataset=candidate.features(),
            data_collator=lambda features: collate(features, pad_token_id=pad),
        ).train()
    candidate.model.train(mode=False)
    return candidate


def setfit(splits: Splits) -> list[Any]:
    """Return the answers of SetFit: contrastive pairs train the encoder, then logistic regression on its vectors."""
    encoder, tokenizer = contrasted(splits)
    parts = (splits.data.train, splits.data.validation, splits.data.test)
    features = [classical.pool(classical.states_of(splits, part, encoder, tokenizer))["mean"] for part in parts]
    return classical.fitted(splits, features[0], features[1]).predict(features[2]).tolist()  # type: ignore[no-any-return]


def contrasted(splits: Splits) -> tuple[Any, Any]:
    """Return the encoder of SetFit and its tokenizer."""
    import torch

    encoder, tokenizer = classical.new_base()
    train = splits.task.encode([replace(e, label=None) for e in splits.data.train], tokenizer)
    labels = [example.label for example in splits.data.train]
    steps = min(MOST_STEPS, 2 * ITERATIONS * len(train) // 16)
    torch.manual_seed(splits.seed)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=2e-5, weight_decay=0.01, fused=True)
    scheduler = linear_schedule(optimizer, steps, warmup=0.1)
    encoder.train()
    for pairs in islice(_batches(labels, seed=splits.seed), steps):
        sides = [_vectors(encoder, [train[pair[side]] for pair in pairs], tokenizer.pad_token_id) for side in (0, 1)]
        same = torch.tensor([float(labels[first] == labels[second]) for first, second in pairs])
        loss = ((sides[0] * sides[1]).sum(dim=1) - same).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
    encoder.eval()
    return encoder, tokenizer


def _vectors(encoder: Any, features: Sequence[Any], pad_token_id: int) -> torch.Tensor:
    """Return the mean of each text's states, scaled to length 1."""
    import torch

    batch = collate(features, pad_token_id=pad_token_id)
    states, mask = encoder(**batch).last_hidden_state, batch["attention_mask"].unsqueeze(-1)
    mean: torch.Tensor = (states * mask).sum(dim=1) / mask.sum(dim=1)
    return torch.nn.functional.normalize(mean, dim=1)


def _batches(labels: Sequence[Any], *, seed: int) -> Iterator[list[tuple[int, int]]]:
    """Yield batches of 16 pairs, half of them of one class, in rounds over all texts in random order."""
    chance = random.Random(seed)
    members = {label: [row for row, other in enumerate(labels) if other == label] for label in set(labels)}
    rows, pairs = list(range(len(labels))), []
    while True:
        chance.shuffle(rows)
        for row in rows:
            other = chance.choice(rows)
            while labels[other] == labels[row]:
                other = chance.choice(rows)
            pairs += [(row, chance.choice(members[labels[row]])), (row, other)]
            if len(pairs) == 16:
                yield pairs
                pairs = []
