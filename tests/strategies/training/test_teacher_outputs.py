"""The divergence of a student's outputs from its teacher's, against the formula."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from autoopt.strategies.training.batches import IGNORED_LABEL
from autoopt.strategies.training.teacher_outputs import output_divergence

SINGLE = "single_label_classification"


def random_logits(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator), torch.randn(*shape, generator=generator)


def test_tags_are_compared_at_labelled_words_alone() -> None:
    student, teacher = random_logits(2, 3, 5)
    labels = torch.tensor([[1, IGNORED_LABEL, 2], [0, IGNORED_LABEL, IGNORED_LABEL]])
    batch = {"labels": labels, "attention_mask": torch.ones(2, 3, dtype=torch.long)}
    at = labels != IGNORED_LABEL
    expected = F.kl_div(student[at].log_softmax(-1), teacher[at].softmax(-1), reduction="sum") / 3
    value = output_divergence({"logits": student}, {"logits": teacher}, batch, problem=SINGLE)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    del batch["labels"]
    batch["attention_mask"][1, 2] = 0
    at = batch["attention_mask"].bool()
    expected = F.kl_div(student[at].log_softmax(-1), teacher[at].softmax(-1), reduction="sum") / 5
    value = output_divergence({"logits": student}, {"logits": teacher}, batch, problem=SINGLE)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_positions_of_an_answer_are_compared_over_the_text_without_its_padding() -> None:
    student, teacher = random_logits(1, 4)
    batch = {"attention_mask": torch.tensor([[1, 1, 1, 0]])}
    expected = F.kl_div(student[:, :3].log_softmax(-1), teacher[:, :3].softmax(-1), reduction="batchmean")
    outputs = ({"start_logits": student, "end_logits": student}, {"start_logits": teacher, "end_logits": teacher})
    value = output_divergence(*outputs, batch, problem=SINGLE)
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)


def test_temperature_softens_both_and_keeps_the_scale_of_the_gradient() -> None:
    student, teacher = random_logits(3, 4)
    expected = 4 * F.kl_div((student / 2).log_softmax(-1), (teacher / 2).softmax(-1), reduction="batchmean")
    value = output_divergence({"logits": student}, {"logits": teacher}, {}, problem=SINGLE, temperature=2.0)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_numbers_are_compared_by_their_squared_error() -> None:
    student, teacher = random_logits(3, 1)
    value = output_divergence({"logits": student}, {"logits": teacher}, {}, problem="regression")
    assert value.item() == pytest.approx(((student - teacher) ** 2).mean().item(), rel=1e-6)
