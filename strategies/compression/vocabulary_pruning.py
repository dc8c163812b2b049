"""Keep only the tokens that the texts use (Abdaoui et al. 2020, "Load what you need")."""

from __future__ import annotations

import copy
from typing import Annotated, Any, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.architectures import first_position, replace_word_embeddings
from autoopt.strategies.networks.vocabulary import pruned_tokenizer
from autoopt.strategies.strategy import Strategy


class VocabularyPruning(Strategy):
    """Shrinks the word embeddings, half of a small model, at the same latency. For limits on size and memory.

    Removed words are spelled by subword tokens, so every text can still be read.

    - ``common``: number of the tokenizer's first tokens, the most frequent ones, that stay whether used or not; more if
      the model will read other texts than it was trained on.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"untied embeddings"})
    # Training is over by then: neither a teacher nor a stored stage has another vocabulary than the model.
    after: ClassVar[frozenset[str]] = frozenset({"distillation", "larger_teacher", "recovery_finetuning"})

    common: Annotated[int, Choice(2000, 5000, 10000)] = 5000

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        import torch
        from torch import nn

        texts = [example.text for example in candidate.train] + [example.text_pair or "" for example in candidate.train]
        model: Any = candidate.copy_model()
        table = model.get_input_embeddings()
        tokenizer, kept = pruned_tokenizer(
            candidate.tokenizer,
            [*texts, *candidate.unlabeled],
            common=max(self.common, first_position(model)),
            required=[*_special_ids(model.config).values(), table.padding_idx],
        )
        renumbered = {old: new for new, old in enumerate(kept)}
        rows = table.weight.detach()[torch.tensor(kept, device=table.weight.device)].clone()
        smaller = copy.copy(table)  # Of the same class, which may scale what it looks up.
        smaller._parameters = {"weight": nn.Parameter(rows)}
        smaller.num_embeddings, smaller.padding_idx = len(kept), renumbered.get(table.padding_idx)
        replace_word_embeddings(model, smaller)
        for key, number in _special_ids(model.config).items():
            setattr(model.config, key, renumbered.get(number))  # None if the tokenizer never had such a token.
        model.config.vocab_size = len(kept)
        event = f"vocabulary of {len(kept)} of {table.num_embeddings} tokens"
        return candidate.evolve(event, model=model, tokenizer=tokenizer)


def _special_ids(config: Any) -> dict[str, int]:
    """Return the ids of tokens that a configuration names, by key."""
    return {key: value for key, value in vars(config).items() if key.endswith("_token_id") and isinstance(value, int)}
