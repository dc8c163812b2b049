"""Train the compressed model to predict as the trained trunk does (Hinton et al. 2015, "Distilling the knowledge")."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from autoopt.strategies.candidate import Batch, Candidate, Example, Features
from autoopt.strategies.errors import ModelError, UsageError
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.heads import answers_whole_texts
from autoopt.strategies.networks.pooling import plain_class
from autoopt.strategies.situation import Situation
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.batches import collate
from autoopt.strategies.training.loop import Schedule, train
from autoopt.strategies.training.teacher_outputs import RecordedOutput, distillation_loss, recorded_outputs

if TYPE_CHECKING:
    import torch


class Distillation(Strategy):
    """The loss is a weighted sum of the divergence from the teacher's softened predictions and the labels' loss.

    The teacher's logits are computed once.

    - ``temperature``: higher shows the student more of the teacher's uncertainty; 2 is a safe start.
    - ``weight``: weight of the divergence; lower if labels are clean and many.
    - ``learning_rate``: as for recovery fine-tuning.
    - ``epochs``: more than for plain training, since distillation overfits later.
    - ``texts``: maximum number of unlabeled texts, which are trained on with the teacher's predictions, as many in each
      step as labelled ones. Worth it if labelled examples are few.
    - ``match``: what to match besides predictions. ``hidden``: the states after each layer, through learned projections
      (TinyBERT); ``relations``: those within the last layer's attention (MiniLM). Both run the teacher at every step,
      which doubles the time of a student of half its size; worth it if texts are many.
    - ``teacher``: folder of another model to learn from, larger or better than the trunk: one from ``autoopt pull``, or
      any that transformers opens, for the same classes in the same order.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"head", "teacher", "cut"})
    excludes: ClassVar[frozenset[str]] = frozenset({"recovery_finetuning"})
    reads: ClassVar[frozenset[str]] = frozenset({"teacher"})
    recovers = True
    trains = True
    standard = True

    temperature: Annotated[float, Choice(1.0, 2.0, 4.0)] = 2.0
    weight: Annotated[float, Choice(0.5, 0.7, 0.9)] = 0.7
    learning_rate: Annotated[float, Choice(5e-5, 1e-4, 2e-4, 4e-4)] = 2e-4
    epochs: Annotated[int, Choice(3, 5, 8)] = 5
    texts: Annotated[int, Choice(0, 2000)] = 0
    match: Literal["answers", "hidden", "relations"] = "answers"
    teacher: str = ""
    batch_size: int = 16

    def effect(self, situation: Situation) -> Distillation:
        return self.model_copy(update={"texts": situation.texts(self.texts)})

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if candidate.teacher is None:
            raise UsageError("distillation has no teacher; put a strategy that learns the task before it")
        if effort == 0:
            return candidate.evolve("distillation, 0 steps")
        model: Any = candidate.copy_model()
        pad_token_id = candidate.tokenizer.pad_token_id
        teacher: Any = candidate.teacher
        tokenizer: Any = candidate.teacher_tokenizer or candidate.tokenizer
        if self.teacher:
            teacher, tokenizer = named_teacher(self.teacher, candidate, alike=self.match != "answers")
            teacher.to(model.device)

        def answered(examples: Sequence[Example]) -> tuple[list[Features], list[RecordedOutput]]:
            own = candidate.encode(examples)
            read = own if tokenizer is candidate.tokenizer else candidate.task.encode(examples, tokenizer)
            return own, recorded_outputs(teacher, read, pad_token_id=tokenizer.pad_token_id)

        features, answers = answered(candidate.train)
        texts = random.Random(seed).sample(candidate.unlabeled, min(self.texts, len(candidate.unlabeled)))
        others: list[tuple[Features, RecordedOutput]] = []
        if texts:
            others += zip(*answered(list(map(Example, texts))), strict=True)
            others.sort(key=lambda pair: len(pair[0]["input_ids"]))  # Of neighbours little is padding then.
        inner = self._inner(model, teacher)

        def divergence(output: Any, wanted: Sequence[RecordedOutput], batch: Batch) -> torch.Tensor:
            problem = model.config.problem_type
            return distillation_loss(output, wanted, batch, problem=problem, temperature=self.temperature)

        def of_others(student: Any) -> torch.Tensor:
            import torch

            first = int(torch.randint(max(1, len(others) - self.batch_size), ()))
            chosen, wanted = zip(*others[first : first + self.batch_size], strict=True)
            batch = collate(chosen, pad_token_id=pad_token_id)
            batch = {name: value.to(student.device) for name, value in batch.items()}
            return divergence(student(**batch), wanted, batch)

        def loss(student: Any, batch: Batch) -> torch.Tensor:
            wanted = [answers[row] for row in batch.pop("row").tolist()]
            output, more = (student(**batch), 0.0) if inner is None else inner.run(student, batch)
            away = divergence(output, wanted, batch)
            if others:
                away = (away + of_others(student)) / 2
            return self.weight * away + (1 - self.weight) * candidate.criterion(output, batch) + more

        losses = train(
            model,
            [{**item, "row": row} for row, item in enumerate(features)],
            Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size),
            pad_token_id=pad_token_id,
            effort=effort,
            seed=seed,
            loss=loss,
            parameters=[*model.parameters(), *(inner.parameters() if inner is not None else ())],
            extra_modules=[inner] if inner is not None else [],
        )
        return candidate.evolve(f"distillation, {len(losses)} steps", model=model)

    def _inner(self, student: Any, teacher: Any) -> Any:
        """What compares more than the answers; None where nothing does."""
        from autoopt.strategies.networks.teacher_states import HiddenStates, Relations

        match self.match:
            case "hidden":
                return HiddenStates(student, teacher.eval())
            case "relations":
                return Relations(teacher.eval())
            case _:
                return None


def named_teacher(name: str, candidate: Candidate, *, alike: bool) -> tuple[Any, Any]:
    """The model of this folder and its tokenizer.

    Raises ``ModelError`` where it cannot be opened, is for other classes, or has other tokens although each place of a
    text has an answer of its own, or ``alike`` is asked for.
    """
    from transformers import AutoTokenizer

    from autoopt.strategies.saving import DESCRIPTION, load_weights

    try:
        if (Path(name) / DESCRIPTION).is_file():
            teacher: Any = load_weights(Path(name))[0]
        else:
            opens: Any = plain_class(candidate.model)
            teacher = opens.from_pretrained(name, trust_remote_code=False, use_safetensors=True).eval()
        tokenizer: Any = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"distillation cannot open the teacher '{name}': {error}") from error
    classes, own = (list((model.config.id2label or {}).values()) for model in (teacher, candidate.model))
    if classes != own:
        raise ModelError(
            f"the teacher '{name}' is for the classes {', '.join(classes)}, and the data has {', '.join(own)}; "
            f"give one that was trained on the same, in this order"
        )
    same = tokenizer.get_vocab() == candidate.tokenizer.get_vocab()
    if not same and (alike or not answers_whole_texts(candidate.model)):
        raise ModelError(f"the teacher '{name}' has other tokens than the model, so their answers cannot be compared")
    return teacher, tokenizer
