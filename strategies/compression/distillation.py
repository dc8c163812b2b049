"""Train the cut model to answer as the trained trunk does (Hinton et al. 2015, "Distilling the knowledge")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from autoopt.strategies import soft_answers
from autoopt.strategies.candidate import Batch, Candidate
from autoopt.strategies.errors import UsageError
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training import Schedule, train

if TYPE_CHECKING:
    import torch


class Distillation(Strategy):
    """The loss is ``weight`` of the divergence from the teacher's softened answers, the rest is that of the labels.

    The teacher's logits are computed once. ``temperature``: higher shows the student more of what the teacher holds
    for possible; 2 is a safe start. ``weight``: lower where the labels are clean and many. ``epochs``: distillation
    overfits later than plain training, so it can use more. ``learning_rate``: as for recovery fine-tuning.

    ``match``: what more than the answers is to be alike. ``hidden``: the states after each layer, by projections that
    are learned with them, as TinyBERT; ``relations``: those within the last layer's attention, as MiniLM. Both run the
    teacher at every step, which doubles the time of a student of half its size, and help where texts are many.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"teacher", "cut"})
    excludes: ClassVar[frozenset[str]] = frozenset({"recovery_finetuning"})
    recovers = True
    trains = True
    standard = True

    temperature: Annotated[float, Choice(1.0, 2.0, 4.0)] = 2.0
    weight: Annotated[float, Choice(0.5, 0.7, 0.9)] = 0.7
    learning_rate: Annotated[float, Choice(5e-5, 1e-4, 2e-4, 4e-4)] = 2e-4
    epochs: Annotated[int, Choice(3, 5, 8)] = 5
    match: Literal["answers", "hidden", "relations"] = "answers"
    batch_size: int = 16

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if candidate.teacher is None:
            raise UsageError("distillation has no teacher; put a strategy of the adaptation family before it")
        if effort == 0:
            return candidate.evolve("distillation, 0 steps")
        model = candidate.copy_model()
        features = candidate.features()
        pad_token_id = candidate.tokenizer.pad_token_id
        answers = soft_answers.record(candidate.teacher, features, pad_token_id=pad_token_id)
        inner = self._inner(model, candidate.teacher)

        def loss(student: Any, batch: Batch) -> torch.Tensor:
            teacher = [answers[row] for row in batch.pop("row").tolist()]
            output, apart = (student(**batch), 0.0) if inner is None else inner.run(student, batch)
            problem = student.config.problem_type
            divergence = soft_answers.divergence(output, teacher, batch, problem=problem, temperature=self.temperature)
            return self.weight * divergence + (1 - self.weight) * candidate.criterion(output, batch) + apart

        losses = train(
            model,
            [{**item, "row": row} for row, item in enumerate(features)],
            Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size),
            pad_token_id=pad_token_id,
            effort=effort,
            seed=seed,
            loss=loss,
            parameters=[*model.parameters(), *(inner.parameters() if inner is not None else ())],
            beside=[inner] if inner is not None else [],
        )
        return candidate.evolve(f"distillation, {len(losses)} steps", model=model)

    def _inner(self, student: Any, teacher: Any) -> Any:
        """What compares more than the answers; None where nothing does."""
        from autoopt.strategies.inner_states import HiddenStates, Relations

        match self.match:
            case "hidden":
                return HiddenStates(student, teacher.eval())
            case "relations":
                return Relations(teacher.eval())
            case _:
                return None
