"""Continue pretraining on the task's own text (Gururangan et al. 2020, "Don't stop pretraining")."""

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
"""Of the words, after BERT: of those 80 % become the mask, 10 % another word, 10 % stay (Devlin et al. 2019)."""


class MaskedLanguageModeling(Strategy):
    """The trunk learns to restore masked words of the unlabeled texts; the task head stays as it is.

    Most worth it where the texts are unlike those of the pretraining and labels are few. A task model brings no head
    for words, so a fresh one is trained first, alone: a random one would wreck the trunk.

    ``learning_rate``: 5e-5 keeps what the model knows, 2e-4 moves it fast. ``epochs``: over at most ``texts`` texts.
    ``whole_words`` hides all pieces of a word together, of tokenizers that mark pieces by ``##``: a piece beside the
    rest of its word is too easy to guess (Cui et al. 2021).
    """

    needs: ClassVar[frozenset[str]] = frozenset({"encoder", "unlabeled"})
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
        features = _maskable(candidate, self.texts, seed)
        if self.whole_words:
            features = [{**item, "word": _word_numbers(item["input_ids"], tokenizer)} for item in features]
        model = candidate.copy_model()
        torch.manual_seed(seed)
        words = WordHead(model.base_model)

        def loss(words: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            selected, masked = mask(batch["input_ids"], tokenizer, words=batch.pop("word", None))
            logits = words({**batch, "input_ids": masked}, selected)
            return F.cross_entropy(logits, batch["input_ids"][selected])

        steps = 0
        for learning_rate, epochs, trunk_learns in (
            (self.head_learning_rate, 1, False),
            (self.learning_rate, self.epochs, True),
        ):
            words.trunk_learns = trunk_learns
            steps += len(
                train(
                    words,
                    features,
                    Schedule(learning_rate=learning_rate, epochs=epochs, batch_size=self.batch_size),
                    pad_token_id=tokenizer.pad_token_id,
                    effort=effort,
                    seed=seed,
                    loss=loss,
                    parameters=None if trunk_learns else words.head_parameters(),
                )
            )
        return candidate.evolve(f"masked language modeling, {steps} steps on {len(features)} texts", model=model)


def mask(ids: torch.Tensor, tokenizer: Any, *, words: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose tokens to guess, at least one and never a special one; return (chosen, ids with the chosen hidden).

    ``words`` numbers the words of each text, of the shape of ``ids``: all tokens of a word are then chosen together.
    """
    import torch

    special = torch.isin(ids.cpu(), torch.tensor(tokenizer.all_special_ids))
    draw = torch.rand(ids.shape)
    if words is not None:
        draw = draw.gather(1, words.cpu())  # What was drawn for the place of the word's number goes for all of it.
    draw = draw.masked_fill(special, 2.0)
    selected = draw <= max(MASKED_SHARE, draw.min().item())
    how = torch.rand(ids.shape)
    others = torch.randint(len(tokenizer), ids.shape)
    hidden = torch.where(how < 0.8, tokenizer.mask_token_id, torch.where(how < 0.9, others, ids.cpu()))
    return selected.to(ids.device), torch.where(selected, hidden, ids.cpu()).to(ids.device)


def _maskable(candidate: Candidate, count: int, seed: int) -> list[Features]:
    """At most ``count`` of the unlabeled texts, tokenized, those left out that have nothing but special tokens."""
    if candidate.tokenizer.mask_token_id is None:
        raise ModelError("masked language modeling needs a tokenizer with a mask token, and this one has none")
    special = set(candidate.tokenizer.all_special_ids)
    return [item for item in unlabeled(candidate, count, seed) if set(item["input_ids"]) - special]


def _word_numbers(ids: list[int], tokenizer: Any) -> list[int]:
    """For each token the number of its word: a piece that goes on (``##ing``) has that of the token before it."""
    numbers: list[int] = []
    for token in tokenizer.convert_ids_to_tokens(ids):
        numbers.append(numbers[-1] if numbers and token.startswith("##") else len(numbers))
    return numbers
