"""How many examples a search with a timeout begins with, by the speed of its model's first training steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from autoopt.objectives.data.samples import SPLITS
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.task import Task
from autoopt.search.experiment.experiment import Experiment
from autoopt.search.experiment.time_plan import Deadline, FirstPass, Speed, minutes_up
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.errors import TrialError
from autoopt.strategies.system.devices import gpu_count
from autoopt.strategies.training.batches import forward
from autoopt.strategies.training.loop import Schedule, train

if TYPE_CHECKING:
    from autoopt.strategies.candidate import Candidate, Features

SAMPLE = 48
"""Number of examples whose training is timed."""
WARM_UP = 8
MAX_TIMED_S = 3.0
"""About how long the timed steps may take; fewer examples are trained on if they are slow."""


def as_many_as_fit(
    experiment: Experiment, data: TextData, task: Task, deadline: Deadline, stored: Experiment | None
) -> tuple[Experiment, str]:
    """Return the experiment with numbers for the samples that are ``auto``, and what to tell the user, if anything.

    ``stored`` is the study's own experiment if it is resumed: its samples stay. Without a timeout, and where trials
    train on GPUs, nothing is limited.
    """
    open_splits = [name for name in SPLITS if getattr(experiment.data, _key(name)) == "auto"]
    if stored is not None:
        return _with_samples(experiment, {name: getattr(stored.data, _key(name)) for name in open_splits}), ""
    trains_on_gpu = experiment.resources.gpu_share(gpu_count()) > 0
    if deadline.timeout_s is None or trains_on_gpu or not open_splits:
        return experiment, ""
    speed = measure_speed(experiment, data, task)
    if speed is None:
        return experiment, ""
    sizes = {name: len(getattr(data, name)) for name in SPLITS}
    fitting = FirstPass.fitting(
        sizes,
        speed,
        timeout_s=deadline.timeout_s,
        elapsed_s=deadline.elapsed_s,
        epochs=_epochs(experiment),
        workers=experiment.resources.workers,
    )
    samples = {name: size for name, size in fitting.samples.items() if name in open_splits}
    return _with_samples(experiment, samples), _describe(samples, sizes, fitting.timeout_for_all_s)


def measure_speed(experiment: Experiment, data: TextData, task: Task) -> Speed | None:
    """Time the first training steps and a forward pass of the first base model; None if it cannot be trained."""
    candidate = task.open_model(next(iter(experiment.base_models.values())))
    step = max(1, len(data.train) // SAMPLE)
    examples = data.train[::step][:SAMPLE]
    features = candidate.task.encode(examples, candidate.tokenizer)
    if not features:
        return None
    with _threads(experiment.resources.cpus_per_worker):
        try:
            _forward(candidate, features[:WARM_UP])
            forward_s = _timed(lambda: _forward(candidate, features)) / len(features)
            count = max(WARM_UP, min(len(features), int(MAX_TIMED_S / max(4 * forward_s, 1e-6))))
            _train(candidate, features[:WARM_UP])
            train_s = _timed(lambda: _train(candidate, features[:count])) / min(count, len(features))
        except TrialError:
            return None
    per_example = len(features) / len(examples)  # A text may be read in several windows.
    return Speed(train_s * per_example, forward_s * per_example)


def _forward(candidate: Candidate, features: list[Features]) -> None:
    for _ in forward(candidate.model, features, pad_token_id=candidate.tokenizer.pad_token_id, batch_size=16):
        pass


def _train(candidate: Candidate, features: list[Features]) -> None:
    schedule = Schedule(learning_rate=1e-5, epochs=1)
    train(candidate.model, features, schedule, pad_token_id=candidate.tokenizer.pad_token_id, effort=1.0, seed=0)


def _timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _epochs(experiment: Experiment) -> float:
    """Return the epochs of the baseline."""
    offer = experiment.choices().get(FullFinetuning.name)
    return float((offer.nearest() if offer else FullFinetuning()).epochs)  # type: ignore[attr-defined]


def _key(name: str) -> str:
    return f"max_{name}_samples"


def _with_samples(experiment: Experiment, samples: Mapping[str, Any]) -> Experiment:
    changes = {_key(name): size for name, size in samples.items()}
    return experiment.model_copy(update={"data": experiment.data.model_copy(update=changes)})


def _describe(samples: Mapping[str, int], sizes: Mapping[str, int], timeout_for_all_s: float) -> str:
    if not samples:
        return ""
    verbs = {"train": "trains on", "validation": "judges by", "test": "tests on"}
    parts = ", ".join(f"{verbs[name]} {size:,} of {sizes[name]:,}" for name, size in samples.items())
    return (
        f"to be done in time the search {parts} examples; all of them take a timeout of about "
        f"{minutes_up(timeout_for_all_s)} or more, or set data.max_train_samples=all"
    )
