"""Token vectors out of the trunk and a small head instead of a network (Tulkens, van Dongen 2024, "Model2Vec")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.errors import ModelError, UsageError
from autoopt.strategies.knobs import Choice
from autoopt.strategies.situation import Situation
from autoopt.strategies.students.student import Student

if TYPE_CHECKING:
    from autoopt.strategies.students.arrays import Arrays
    from autoopt.strategies.students.static_training import Shape


class StaticEmbeddings(Student):
    """A text's vector is the mean of its tokens' vectors, and no layer runs: a hundred times as fast as the trunk.

    A token's vector is at first the trunk's output for the token alone, reduced to its principal components; vectors
    and head are then trained on the labels and on the trunk's answers. It is served by NumPy and tokenizers, without
    torch. Costs two or three points where words decide; word order is lost but for neighbours.

    - ``dimension``: width of the vectors; size is proportional to it, time hardly depends on it.
    - ``bigrams``: rows of a table of hashed pairs of neighbouring tokens; worth it if word order matters and texts are
      many.
    - ``token_weights``: learn how much each token counts in the mean.
    - ``hidden``: width of a hidden layer of the head, 0 for a linear head.
    - ``texts``: maximum number of unlabelled texts that the trunk answers.
    - ``copies``: variants of each text, with words left out or halves exchanged, that the trunk answers; ``auto`` makes
      more the fewer and the shorter the texts are.
    - ``epochs``: a step takes milliseconds.
    - ``learning_rate``: of the vectors; ten times as much for the head. Small steps keep them near those of tokens that
      training lacks.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"whole", "cpu", "teacher"})
    standard = True

    dimension: Annotated[int, Choice(64, 128, 256)] = 256
    bigrams: Annotated[int, Choice(0, 16384)] = 0
    token_weights: Annotated[bool, Choice(False, True)] = True
    hidden: Annotated[int, Choice(0, 256)] = 256
    texts: Annotated[int, Choice(0, 2000, 8000)] = 2000
    copies: Annotated[int | Literal["auto"], Choice("auto", 1, 3)] = "auto"
    epochs: Annotated[int, Choice(5, 10, 20, 40)] = 10
    learning_rate: Annotated[float, Choice(5e-4, 2e-3)] = 5e-4
    weight: float = 0.8
    temperature: float = 2.0
    dropout: float = 0.1
    batch_size: int = 64

    def effect(self, situation: Situation) -> StaticEmbeddings:
        return self.model_copy(update={"texts": situation.texts(self.texts)})

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        from autoopt.strategies.students.arrays import packed
        from autoopt.strategies.students.static_reader import tokenizer_content
        from autoopt.strategies.students.static_training import Shape
        from autoopt.strategies.students.text_model import with_student

        if candidate.teacher is None:
            raise UsageError("static_embeddings has no trunk to learn from; put a strategy that learns before it")
        backend = getattr(candidate.tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ModelError("static_embeddings needs a tokenizer of the library tokenizers, and the model has another")
        shape = Shape(
            dimension=self.dimension,
            bigram_rows=self.bigrams,
            weighted=self.token_weights,
            hidden=self.hidden,
            pairs=any(example.text_pair is not None for example in candidate.train[:1]),
            outputs=int(candidate.model.config.num_labels or 0),
        )
        tokens = 1 + max(candidate.tokenizer.get_vocab().values())
        arrays = self._trained(candidate, shape, effort, seed) if effort > 0 else _untrained(shape, tokens)
        settings = {
            "max_length": candidate.task.to_json()["max_length"],
            "pairs": shape.pairs,
            "unknown": candidate.tokenizer.unk_token_id,
        }
        return with_student(
            candidate,
            f"static embeddings of {tokens:,} tokens in {self.dimension} dimensions instead of the network",
            kind=self.name,
            arrays={"tokenizer": packed(tokenizer_content(backend)), **arrays},
            settings=settings,
        )

    def _trained(self, candidate: Candidate, shape: Shape, effort: float, seed: int) -> Arrays:
        from autoopt.strategies.students.static_training import Training, fit_static

        training = Training(
            learning_rate=self.learning_rate,
            epochs=self.epochs,
            texts=self.texts,
            copies=self.copies,
            weight=self.weight,
            temperature=self.temperature,
            dropout=self.dropout,
            batch_size=self.batch_size,
        )
        return fit_static(candidate, shape, training, effort=effort, seed=seed)


def _untrained(shape: Shape, tokens: int) -> Arrays:
    """Return zeros of the shapes that training gives."""
    import numpy as np

    arrays: dict[str, Any] = {"vectors": np.zeros((tokens, shape.dimension), np.float16)}
    if shape.bigram_rows:
        arrays["bigrams"] = np.zeros((shape.bigram_rows, shape.dimension), np.float16)
    for layer, (inputs, outputs) in enumerate(zip(shape.widths, shape.widths[1:], strict=False)):
        arrays[f"weight{layer}"] = np.zeros((inputs, outputs), np.float32)
        arrays[f"bias{layer}"] = np.zeros(outputs, np.float32)
    return arrays
