"""Write a text again from the vector of what is left of it (Wang et al. 2021, "TSDAE")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.candidate import Batch, Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.calibration import unlabeled
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.texts.noise import hide
from autoopt.strategies.training.loop import Schedule, train

if TYPE_CHECKING:
    import torch


class TSDAE(Strategy):
    """The state of the first token learns to hold the whole text; the decoder that reads it is thrown away.

    Worth it where a text is answered as a whole and there are thousands of unlabeled ones.

    ``hidden``: the share of the tokens that the trunk does not see. ``learning_rate``: as for masked language modeling.
    ``decoder_learning_rate``: far higher, since the decoder begins with nothing; at the trunk's own it stays so wrong
    that the trunk forgets what it knows (BBC News: 72 % instead of 95). ``epochs``: over at most ``texts`` texts.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"encoder", "unlabeled"})
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

        whole = SentenceDecoder(model.base_model)
        trunk = list(whole.trunk.parameters())
        inside = {id(parameter) for parameter in trunk}
        decoder = [parameter for parameter in whole.parameters() if id(parameter) not in inside]
        groups: list[dict[str, Any]] = [{"params": trunk}, {"params": decoder, "lr": self.decoder_learning_rate}]
        losses = train(
            whole,
            features,
            Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size),
            pad_token_id=candidate.tokenizer.pad_token_id,
            effort=effort,
            seed=seed,
            loss=loss,
            parameters=groups,
        )
        return candidate.evolve(f"TSDAE, {len(losses)} steps on {len(features)} texts", model=model)
