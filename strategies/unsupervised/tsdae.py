"""Reconstruct a text from the embedding of a part of it (Wang et al. 2021, "TSDAE")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.candidate import Batch, Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.calibration import unlabeled
from autoopt.strategies.networks.pooling import pooling_of
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.texts.noise import hide
from autoopt.strategies.training.loop import Schedule, train

if TYPE_CHECKING:
    import torch


class TSDAE(Strategy):
    """Denoising autoencoder: the vector that the head reads learns to hold the whole text; the decoder is discarded.

    Worth it if each text has one answer and there are thousands of unlabeled texts.

    - ``hidden``: share of the tokens that the trunk does not see.
    - ``learning_rate``: as for masked language modeling.
    - ``decoder_learning_rate``: much higher, since the decoder starts from random weights. At the trunk's rate its
      errors make the trunk forget what it knows (BBC News: 72 % instead of 95).
    - ``epochs``: passes over at most ``texts`` texts.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"head", "bidirectional", "unlabeled"})
    trains = True

    hidden: Annotated[float, Choice(0.4, 0.6)] = 0.6
    learning_rate: Annotated[float, Choice(3e-5, 1e-4)] = 3e-5
    decoder_learning_rate: float = 1e-3
    epochs: Annotated[int, Choice(1, 2)] = 1
    texts: int = 2000
    batch_size: int = 16

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("TSDAE, 0 steps")
        import torch

        from autoopt.strategies.networks.sentence_decoder import SentenceDecoder

        features = unlabeled(candidate, self.texts, seed)
        model: Any = candidate.copy_model()
        torch.manual_seed(seed)

        def loss(decoder: Any, batch: Batch) -> torch.Tensor:
            mask = batch["attention_mask"]
            return decoder(batch["input_ids"], mask, hide(mask, self.hidden))  # type: ignore[no-any-return]

        autoencoder = SentenceDecoder(model.base_model, pooling=pooling_of(model) or "first")
        trunk = list(autoencoder.trunk.parameters())
        trunk_ids = {id(parameter) for parameter in trunk}
        decoder = [parameter for parameter in autoencoder.parameters() if id(parameter) not in trunk_ids]
        groups: list[dict[str, Any]] = [{"params": trunk}, {"params": decoder, "lr": self.decoder_learning_rate}]
        losses = train(
            autoencoder,
            features,
            Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size),
            pad_token_id=candidate.tokenizer.pad_token_id,
            effort=effort,
            seed=seed,
            loss=loss,
            parameters=groups,
        )
        return candidate.evolve(f"TSDAE, {len(losses)} steps on {len(features)} texts", model=model)
