"""Continue pretraining on the unlabeled texts (Gururangan et al. 2020, "Don't stop pretraining")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.candidate import Candidate, Features
from autoopt.strategies.errors import ModelError
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.calibration import unlabeled
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.loop import Schedule, train

if TYPE_CHECKING:
    import torch

MASKED_SHARE = 0.15
"""Share of words to predict. 80 % of them are masked, 10 % replaced, 10 % left unchanged (Devlin et al. 2019)."""


class MaskedLanguageModeling(Strategy):
    """Prediction of masked words in the unlabeled texts; the task head is left unchanged.

    Worth it if the texts differ from the pretraining corpus and labels are few. A task model has no head that predicts
    words, so a new one is first trained on the frozen trunk: a random head would destroy the trunk's weights.

    - ``learning_rate``: 5e-5 preserves what the model knows; 2e-4 adapts faster.
    - ``epochs``: passes over at most ``texts`` texts.
    - ``whole_words``: mask all pieces of a word together, since a single piece is too easy to guess (Cui et al. 2021).
      Only for tokenizers that mark continuations with ``##``.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"bidirectional", "unlabeled"})
    needs_mask = True
    trains = True

    learning_rate: Annotated[float, Choice(5e-5, 1e-4, 2e-4)] = 5e-5
    epochs: Annotated[int, Choice(1, 2, 4)] = 1
    texts: int = 400
    batch_size: int = 16
    head_learning_rate: float = 2e-3
    whole_words: bool = True

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("masked language modeling, 0 steps")
        import torch
        from torch.nn import functional as F

        from autoopt.strategies.networks.word_head import WordHead

        tokenizer: Any = candidate.tokenizer
        features = _encode_maskable(candidate, self.texts, seed)
        if self.whole_words:
            features = [{**item, "word": _word_numbers(item["input_ids"], tokenizer)} for item in features]
        model = candidate.copy_model()
        torch.manual_seed(seed)
        word_head = WordHead(model.base_model)

        def loss(word_head: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            selected, masked = mask(batch["input_ids"], tokenizer, words=batch.pop("word", None))
            logits = word_head({**batch, "input_ids": masked}, selected)
            return F.cross_entropy(logits, batch["input_ids"][selected])

        steps = 0
        for learning_rate, epochs, trunk_learns in (
            (self.head_learning_rate, 1, False),
            (self.learning_rate, self.epochs, True),
        ):
            word_head.trunk_learns = trunk_learns
            steps += len(
                train(
                    word_head,
                    features,
                    Schedule(learning_rate=learning_rate, epochs=epochs, batch_size=self.batch_size),
                    pad_token_id=tokenizer.pad_token_id,
                    effort=effort,
                    seed=seed,
                    loss=loss,
                    parameters=None if trunk_learns else word_head.head_parameters(),
                )
            )
        return candidate.evolve(f"masked language modeling, {steps} steps on {len(features)} texts", model=model)


def mask(ids: torch.Tensor, tokenizer: Any, *, words: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Select tokens to predict, at least one and never a special one; return (selection, masked ids).

    ``words`` numbers the word of each token, in the shape of ``ids``; all tokens of a word are selected together.
    """
    import torch

    special = torch.isin(ids.cpu(), torch.tensor(tokenizer.all_special_ids))
    scores = torch.rand(ids.shape)
    if words is not None:
        scores = scores.gather(1, words.cpu())  # All tokens of a word share one score.
    scores = scores.masked_fill(special, 2.0)
    selected = scores <= max(MASKED_SHARE, scores.min().item())
    action = torch.rand(ids.shape)
    random_ids = torch.randint(len(tokenizer), ids.shape)
    hidden = torch.where(action < 0.8, tokenizer.mask_token_id, torch.where(action < 0.9, random_ids, ids.cpu()))
    return selected.to(ids.device), torch.where(selected, hidden, ids.cpu()).to(ids.device)


def _encode_maskable(candidate: Candidate, count: int, seed: int) -> list[Features]:
    """Tokenize at most ``count`` unlabeled texts, without those that hold special tokens only.

    Raises ``ModelError`` if the tokenizer has no mask token.
    """
    if candidate.tokenizer.mask_token_id is None:
        raise ModelError("masked language modeling needs a tokenizer with a mask token, and this one has none")
    special = set(candidate.tokenizer.all_special_ids)
    return [item for item in unlabeled(candidate, count, seed) if set(item["input_ids"]) - special]


def _word_numbers(ids: list[int], tokenizer: Any) -> list[int]:
    """Number the words of a text; a continuation such as ``##ing`` has the number of the token before it."""
    numbers: list[int] = []
    for token in tokenizer.convert_ids_to_tokens(ids):
        numbers.append(numbers[-1] if numbers and token.startswith("##") else len(numbers))
    return numbers
