"""A step for which memory runs out is made again from its seed: in halves, with checkpointing, or the trial fails."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from autoopt.strategies.adaptation.lora import LoRA
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.errors import OutOfMemory
from autoopt.strategies.system.devices import training_on
from autoopt.strategies.training import precision
from autoopt.strategies.training.batches import forward
from autoopt.strategies.training.loop import TASK_LOSS, Schedule, train
from tests import tiny
from tests.strategies.recording_device import RecordingDevice

SCHEDULE = Schedule(learning_rate=2e-3, epochs=1, batch_size=8)
"""With 24 examples 3 steps."""


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Candidate:
    monkeypatch.setattr(precision, "training_precision", lambda _: torch.float32)
    return tiny.candidate(layers=2)


def run(given: Candidate, device: RecordingDevice, **changes: Any) -> list[float]:
    settings: dict[str, Any] = {"pad_token_id": 0, "effort": 1, "seed": 0, **changes}
    with training_on(device):
        return train(given.model, given.features(), SCHEDULE, **settings)


def without_dropout(given: Candidate) -> Candidate:
    for module in given.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "dropout_prob"):
            module.dropout_prob = 0.0  # type: ignore[assignment]
    return given


def test_the_batch_is_halved_once_and_stays_so(given: Candidate) -> None:
    device = RecordingDevice(fits=4)
    run(given, device)
    assert device.sent() == [8, *[4, 4] * 3]
    assert device.calls.count("release") == 1


def test_the_halved_batch_gives_the_same_losses_but_for_rounding(given: Candidate) -> None:
    whole, halved = (
        run(without_dropout(candidate), RecordingDevice(fits=fits))
        for candidate, fits in ((given, 8), (tiny.candidate(layers=2), 4))
    )
    assert halved == pytest.approx(whole, rel=1e-4)


def test_the_step_is_repeated_from_its_seed(given: Candidate) -> None:
    draws: list[float] = []

    def draw(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        draws.append(float(torch.rand(())))
        if len(draws) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return TASK_LOSS(model, batch)

    run(given, RecordingDevice(), loss=draw)
    assert draws[1] == draws[0] != draws[2]


def test_then_activations_are_recomputed_and_the_model_is_left_as_it_was(given: Candidate) -> None:
    def needs_checkpointing(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        if not model.is_activation_checkpointing:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return TASK_LOSS(model, batch)

    device = RecordingDevice()
    losses = run(given, device, loss=needs_checkpointing)
    assert len(losses) == 3
    assert device.sent() == [8, 4, *[4, 4] * 3]
    assert not given.model.is_activation_checkpointing


def test_recomputed_activations_give_the_same_losses(given: Candidate) -> None:
    def run_with(given: Candidate) -> list[float]:
        return train(given.model, given.features(), SCHEDULE, pad_token_id=0, effort=1, seed=0)

    plain, other = run_with(given), tiny.candidate(layers=2)
    other.model.activation_checkpointing_enable({"use_reentrant": False})
    assert run_with(other) == pytest.approx(plain, rel=1e-5)


def test_at_last_the_error_says_what_it_needed(given: Candidate) -> None:
    message = (
        "out of memory at training step 0 with 4 of 8 examples at a time and gradient checkpointing; "
        "it needed 3.00 GiB in use and 2.50 GiB more, of 80.00 GiB"
    )
    with pytest.raises(OutOfMemory, match=f"^{message}$"):
        run(given, RecordingDevice(fits=3))


def test_adapters_on_a_frozen_model_can_be_recomputed_too(given: Candidate) -> None:
    class Full(RecordingDevice):
        """Its memory holds no training step, until activations were recomputed after two attempts."""

        def send(self, batch: Any) -> Any:
            sent = super().send(batch)
            if torch.is_grad_enabled() and self.calls.count("release") < 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return sent

    device = Full()
    with training_on(device):
        trained = LoRA(head_first=False, batch_size=8).apply(given, effort=0.1, seed=0)
    assert "LoRA" in trained.history[-1]
    assert device.calls.count("release") == 2
    assert device.sent()[:4] == [8, 4, 4, 4]
    assert not given.model.is_activation_checkpointing


def test_a_pass_without_gradients_is_computed_in_halves(given: Candidate) -> None:
    def answers(fits: int) -> torch.Tensor:
        found = torch.empty(24, 2)
        with training_on(RecordingDevice(fits=fits)):
            for positions, _, output in forward(given.model, given.features(), pad_token_id=0):
                found[positions] = output.logits
        return found

    assert torch.allclose(answers(5), answers(100), atol=1e-5)


def test_a_single_example_that_does_not_fit_is_an_error(given: Candidate) -> None:
    with (
        training_on(RecordingDevice(fits=0)),
        pytest.raises(OutOfMemory, match=r"with a single example; it needed 3.00 GiB in use and 2.50 GiB more"),
    ):
        list(forward(given.model, given.features(), pad_token_id=0))
