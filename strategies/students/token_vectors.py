"""A vector for each token out of an encoder, reduced and weighted (after Tulkens and van Dongen 2024, "Model2Vec")."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from autoopt.strategies.networks.pooling import pool
from autoopt.strategies.system.recordings import Recordings
from autoopt.strategies.training import batches
from autoopt.strategies.training.precision import mixed_precision

if TYPE_CHECKING:
    import torch

BATCH = 512
FREQUENT = 4000
"""Number of the vocabulary's first tokens on which the encoder runs, whether the texts have them or not."""
RIDGE = 1e-3
"""Weight of the squared norm of the regression, relative to the mean of the squares."""
SMOOTHING = 1e-4
"""Share of all tokens at which a token's vector is halved (Arora et al. 2017, smooth inverse frequency)."""

_recordings: Recordings[torch.Tensor] = Recordings(max_numbers=50_000_000)


def token_vectors(model: Any, tokenizer: Any, *, dimension: int, seen: Collection[int]) -> torch.Tensor:
    """Return a vector for each token of the vocabulary, (tokens, dimension) in float32.

    Each is the mean of the encoder's last states for the token alone between the special tokens, projected on the
    principal components, and scaled down if the token is frequent. Frequencies follow Zipf's law: tokenizers number
    their tokens from the most frequent one. The encoder runs on the tokens ``seen`` in texts and the first
    ``FREQUENT``; the states of the others follow from their word embeddings by linear regression.
    """
    import torch

    outputs = _all_outputs(model, tokenizer, seen)
    centred = outputs - outputs.mean(0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    components = vectors.flip(1)[:, :dimension]
    reduced = centred @ components
    if reduced.shape[1] < dimension:
        reduced = torch.nn.functional.pad(reduced, (0, dimension - reduced.shape[1]))
    inverse_ranks = 1 / torch.arange(2, len(reduced) + 2, dtype=torch.float32)
    shares = inverse_ranks / inverse_ranks.sum()
    weighted = reduced * (SMOOTHING / (SMOOTHING + shares))[:, None]
    return weighted / weighted.norm(dim=1).mean().clamp_min(1e-6)  # type: ignore[no-any-return]


def _all_outputs(model: Any, tokenizer: Any, seen: Collection[int]) -> torch.Tensor:
    """Return the encoder's output for each token alone, (tokens, width), computed or estimated."""
    import torch

    count = 1 + max(tokenizer.get_vocab().values())
    chosen = sorted({*seen, *range(min(count, FREQUENT))})
    features = [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in _alone(tokenizer, chosen)]
    computed = _recordings.get(
        model, features, lambda: _outputs(model, features, tokenizer.pad_token_id), size=lambda made: made.numel()
    )
    if len(chosen) == count:
        return computed
    words = model.get_input_embeddings()(torch.arange(count, device=model.device)).detach().float().cpu()
    words = torch.cat([words, torch.ones(count, 1)], dim=1)
    known = words[chosen]
    penalty = RIDGE * known.square().sum() / known.shape[1]
    estimated: torch.Tensor = words @ torch.linalg.solve(
        known.T @ known + penalty * torch.eye(known.shape[1]), known.T @ computed
    )
    estimated[chosen] = computed
    return estimated


def _outputs(model: Any, features: list[dict[str, Any]], pad_token_id: int) -> torch.Tensor:
    import torch

    made = torch.empty(len(features), model.config.hidden_size)
    with mixed_precision(model.device):
        for positions, batch, output in batches.forward(
            model, features, pad_token_id=pad_token_id, batch_size=BATCH, hidden_states=True
        ):
            mask = batch["attention_mask"].to(model.device)
            made[positions] = pool(output.hidden_states[-1].float(), mask, "mean").cpu()
    return made


def _alone(tokenizer: Any, tokens: Sequence[int]) -> list[list[int]]:
    """Return the input of each of the tokens alone, between the tokens that the tokenizer puts around a text."""
    encoding = tokenizer.backend_tokenizer.encode("a")
    inner = [place for place, special in enumerate(encoding.special_tokens_mask) if not special]
    before, after = (encoding.ids[: inner[0]], encoding.ids[inner[-1] + 1 :]) if inner else ([], [])
    return [[*before, token, *after] for token in tokens]
