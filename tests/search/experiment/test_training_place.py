"""Where trials will train, and a warning for a GPU that stands idle or is not there."""

from __future__ import annotations

from typing import Any

import pytest

from autoopt.search.experiment.sections import ResourcesSection
from autoopt.search.experiment.training_place import training_line, training_warning

H200 = "NVIDIA H200"


@pytest.fixture(autouse=True)
def without_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def resources(workers: int = 2, **settings: Any) -> ResourcesSection:
    return ResourcesSection(workers=workers, **settings)


@pytest.mark.parametrize(
    ("settings", "gpus", "line"),
    [
        ({}, [], "on the CPU in bfloat16, 1 thread per worker"),
        ({"cpus_per_worker": 4}, [], "on the CPU in bfloat16, 4 threads per worker"),
        ({}, [H200], "on 1 GPU (NVIDIA H200) in bfloat16, 0.5 for each worker, 1 thread"),
        ({}, [H200] * 4, "on 4 GPUs (NVIDIA H200) in bfloat16, 1 for each worker, 1 thread"),
        ({"gpus_per_worker": 0.25}, [H200], "on 1 GPU (NVIDIA H200) in bfloat16, 0.25 for each worker, 1 thread"),
        ({"gpus_per_worker": 0}, [H200], "on the CPU in bfloat16, 1 thread per worker"),
    ],
)
def test_the_place_of_training_in_a_line(settings: dict[str, Any], gpus: list[str], line: str) -> None:
    assert training_line(resources(**settings), gpus, precision="bfloat16") == line


def test_a_cluster_is_asked_when_the_search_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    line = training_line(resources(), [H200], precision="bfloat16")
    assert line == "on the cluster head:6379, with the GPUs that it has then shared out among 2 workers"
    assert training_line(resources(gpus_per_worker=0), [], precision="") == "on the CPUs of the cluster head:6379"
    assert training_line(resources(gpus_per_worker=0.5), [], precision="").endswith("6379, 0.5 GPUs for each worker")
    assert training_warning(resources(gpus_per_worker=0), [H200]) == ""


@pytest.mark.parametrize(
    ("share", "gpus", "warning"),
    [
        ("auto", [], ""),
        ("auto", [H200], ""),
        (0, [], ""),
        (0, [H200], "1 GPU (NVIDIA H200) will not be used for training, since resources.gpus_per_worker is 0"),
        (1, [], "resources.gpus_per_worker is 1, but torch sees no GPU here; set it to auto"),
        ("auto", [H200] * 2, ""),
        ("auto", [H200] * 3, "1 GPU of 3 will not be used, since resources.workers is 2; set it to 3"),
        (2, [H200] * 2, "resources.gpus_per_worker is 2, but a trial trains on one GPU; set it to 1 or less"),
    ],
)
def test_a_gpu_that_stands_idle_or_is_not_there_is_warned_of(share: Any, gpus: list[str], warning: str) -> None:
    given = training_warning(resources(gpus_per_worker=share), gpus)
    assert given.startswith(warning)
    assert bool(given) == bool(warning)


def test_a_gpu_that_torch_does_not_see_is_warned_of_unless_none_is_wanted() -> None:
    warning = training_warning(resources(), [], hidden=1)
    assert warning.startswith(
        "this machine has 1 GPU, but torch sees none and trains on the CPU; install torch for CUDA"
    )
    assert training_warning(resources(gpus_per_worker=0), [], hidden=1) == ""


@pytest.mark.parametrize(("value", "share"), [("auto", 0.5), (0, 0), (0.25, 0.25), (1, 1), (2.0, 2)])
def test_numbers_are_taken_as_they_are(value: Any, share: float) -> None:
    assert resources(gpus_per_worker=value).gpu_share(1) == share


@pytest.mark.parametrize("value", [-1, "all", True])
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"expected a number of GPUs such as 0, 0.5 or 1, or auto, got"):
        resources(gpus_per_worker=value)
