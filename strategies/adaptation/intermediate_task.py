"""Fine-tune on another labelled data set first, then on the task's own (Phang et al. 2018, "STILTs").

The head of the first training is discarded.
"""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.errors import UsageError
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.calibration import without_labels
from autoopt.strategies.networks.pooling import new_like
from autoopt.strategies.networks.solved_head import solve_head
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.learning_rates import AUTO, LearningRate, resolve
from autoopt.strategies.training.loop import Schedule, fit, train

if TYPE_CHECKING:
    from collections.abc import Sequence


class IntermediateTask(Strategy):
    """Two trainings of all weights: on a larger data set of a similar kind, then on the task's own.

    Worth it if the task has few examples and a similar one has many, such as other reviews or other questions.

    - ``data``: the other data set, in any form that a study's data may have. Same kind of task; its classes may differ.
    - ``learning_rate``, ``epochs``: as for full fine-tuning.
    - ``first_epochs``, ``examples``: epochs of the first training and its maximum number of examples.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"text"})
    requires: ClassVar[frozenset[str]] = frozenset({"data"})
    reads: ClassVar[frozenset[str]] = frozenset({"data"})
    trains = True

    data: str = ""
    learning_rate: Annotated[LearningRate, Choice(AUTO, 5e-5, 1e-4, 2e-4)] = AUTO
    epochs: Annotated[int, Choice(3, 5)] = 3
    first_epochs: int = 1
    examples: int = 10_000
    batch_size: int = 16
    head_first: bool = True

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("intermediate task, 0 steps")
        if not self.data or candidate.other_data is None:
            raise UsageError("intermediate_task needs another labelled data set; name it by 'data'")
        examples, labels = candidate.other_data(self.data)
        first_examples = random.Random(seed).sample(examples, min(self.examples, len(examples)))
        first_model = _replace_head(candidate.model, first_examples, labels, seed)
        rate = resolve(self.learning_rate, candidate.model)
        schedule = Schedule(learning_rate=rate, epochs=self.first_epochs, batch_size=self.batch_size)
        texts = [replace(example, label=None) for example in first_examples]
        features = without_labels(candidate.task.encode(texts, candidate.tokenizer))
        first_losses = train(
            first_model,
            [{**item, "labels": example.label} for item, example in zip(features, first_examples, strict=True)],
            schedule,
            pad_token_id=candidate.tokenizer.pad_token_id,
            effort=effort,
            seed=seed,
        )
        model = candidate.copy_model()
        model.base_model.load_state_dict(first_model.base_model.state_dict())
        if self.head_first:
            solve_head(candidate, model)
        second_losses = fit(candidate, model, replace(schedule, epochs=self.epochs), effort=effort, seed=seed)
        steps = f"{len(first_losses)} steps on {len(first_examples)} other examples, then {len(second_losses)} steps"
        return candidate.evolve(f"intermediate task, {steps}", model=model)


def _replace_head(model: Any, examples: Sequence[Example], labels: tuple[str, ...], seed: int) -> Any:
    """Return the same trunk with a new head for these labels, or for regression if there are none."""
    import torch

    config = copy.deepcopy(model.config)
    config.id2label = dict(enumerate(labels or ("number",)))
    config.label2id = {name: number for number, name in config.id2label.items()}
    if any(isinstance(example.label, tuple) for example in examples):
        raise UsageError("intermediate_task takes data with one class or one number for each text, not with several")
    config.problem_type = "single_label_classification" if labels else "regression"
    torch.manual_seed(seed)
    new_model = new_like(model, config, seed=seed).to(model.device)
    new_model.base_model.load_state_dict(model.base_model.state_dict())
    return new_model
