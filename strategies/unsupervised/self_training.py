"""Learn from unlabeled texts with the labels that a first model is sure of (Du et al. 2021, "Self-training")."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training import teacher_outputs
from autoopt.strategies.training.loop import Schedule, fit

GENTLER = 4
"""By so much the learning rate is divided in the end."""


class SelfTraining(Strategy):
    """A copy is fine-tuned, labels the unlabeled texts, and a fresh copy learns from its sure labels and the true ones.

    In the end it learns from the true ones alone at a quarter of the rate, and needs no adaptation after it: at the
    whole rate that would undo what the many labels added. Worth it where unlabeled texts outnumber labelled ones by far
    and the first model is mostly right.

    ``confidence``: the probability from which a label is taken; higher where the first model is weak. ``epochs`` and
    ``learning_rate``: of both trainings, as for full fine-tuning; at most ``texts`` texts are labelled.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"encoder", "classes", "single", "unlabeled"})
    trains = True
    learns = True

    confidence: Annotated[float, Choice(0.7, 0.8, 0.9, 0.95)] = 0.9
    learning_rate: Annotated[float, Choice(5e-5, 1e-4, 2e-4)] = 2e-4
    epochs: Annotated[int, Choice(2, 3)] = 3
    texts: int = 2000
    batch_size: int = 16

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("self-training, 0 steps")
        schedule = Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size)
        teacher = candidate.copy_model()
        steps = len(fit(candidate, teacher, schedule, effort=effort, seed=seed))
        labelled = self._label(replace(candidate, model=teacher), seed)
        student = candidate.copy_model()
        learning = replace(candidate, train=(*candidate.train, *labelled))
        steps += len(fit(learning, student, replace(schedule, epochs=1), effort=effort, seed=seed))
        gently = replace(schedule, learning_rate=self.learning_rate / GENTLER)
        steps += len(fit(candidate, student, gently, effort=effort, seed=seed))
        return candidate.evolve(f"self-training, {steps} steps, {len(labelled)} texts labelled", model=student)

    def _label(self, teacher: Candidate, seed: int) -> list[Example]:
        """The unlabeled texts of whose class the teacher is sure, with that class."""
        known = {example.text for example in teacher.train}
        unknown = [text for text in dict.fromkeys(teacher.unlabeled) if text not in known]
        texts = random.Random(seed).sample(unknown, min(self.texts, len(unknown)))
        features = teacher.encode(list(map(Example, texts)))
        answers = teacher_outputs.record_outputs(teacher.model, features, pad_token_id=teacher.tokenizer.pad_token_id)
        found = []
        for text, answer in zip(texts, answers, strict=True):
            chance, label = answer["logits"].softmax(-1).max(-1)
            if chance >= self.confidence:
                found.append(Example(text, int(label)))
        return found
