"""Train on unlabeled texts with the labels that a teacher is confident of (Du et al. 2021, "Self-training")."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.solved_head import copy_for_training
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training import teacher_outputs
from autoopt.strategies.training.learning_rates import AUTO, LearningRate, resolve
from autoopt.strategies.training.loop import Schedule, fit

FINAL_RATE_DIVISOR = 4
"""Divisor of the learning rate in the final training on the labelled examples."""


class SelfTraining(Strategy):
    """A fine-tuned teacher labels unlabeled texts; a new student learns from its confident labels and the true ones.

    The student is then trained on the true labels alone at a quarter of the learning rate. No adaptation is needed
    afterwards: at the full rate it would undo what the additional labels contributed. Worth it if there are many more
    unlabeled than labelled texts and the teacher is mostly right.

    - ``confidence``: minimum probability of an accepted label; higher if the teacher is weak.
    - ``learning_rate``, ``epochs``: as for full fine-tuning, for teacher and student.
    - ``texts``: maximum number of texts to label.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"classes", "single", "unlabeled"})
    trains = True
    learns = True

    confidence: Annotated[float, Choice(0.7, 0.8, 0.9, 0.95)] = 0.9
    learning_rate: Annotated[LearningRate, Choice(AUTO, 5e-5, 1e-4, 2e-4)] = AUTO
    epochs: Annotated[int, Choice(2, 3)] = 3
    texts: int = 2000
    batch_size: int = 16
    head_first: bool = True

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("self-training, 0 steps")
        rate = resolve(self.learning_rate, candidate.model)
        schedule = Schedule(learning_rate=rate, epochs=self.epochs, batch_size=self.batch_size)
        teacher = copy_for_training(candidate, head_first=self.head_first)
        steps = len(fit(candidate, teacher, schedule, effort=effort, seed=seed))
        labelled = self._label(replace(candidate, model=teacher), seed)
        extended = replace(candidate, train=(*candidate.train, *labelled))
        student = copy_for_training(extended, head_first=self.head_first)
        steps += len(fit(extended, student, replace(schedule, epochs=1), effort=effort, seed=seed))
        final_schedule = replace(schedule, learning_rate=rate / FINAL_RATE_DIVISOR)
        steps += len(fit(candidate, student, final_schedule, effort=effort, seed=seed))
        return candidate.evolve(f"self-training, {steps} steps, {len(labelled)} texts labelled", model=student)

    def _label(self, teacher: Candidate, seed: int) -> list[Example]:
        """Return the unlabeled texts that the teacher classifies with enough confidence, with these labels."""
        labelled_texts = {example.text for example in teacher.train}
        unlabeled_texts = [text for text in dict.fromkeys(teacher.unlabeled) if text not in labelled_texts]
        texts = random.Random(seed).sample(unlabeled_texts, min(self.texts, len(unlabeled_texts)))
        features = teacher.encode(list(map(Example, texts)))
        answers = teacher_outputs.record_outputs(teacher.model, features, pad_token_id=teacher.tokenizer.pad_token_id)
        examples = []
        for text, answer in zip(texts, answers, strict=True):
            probability, label = answer["logits"].softmax(-1).max(-1)
            if probability >= self.confidence:
                examples.append(Example(text, int(label)))
        return examples
