from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.target import Target
from autoopt.objectives.timing.memory_process import measure_memory
from autoopt.strategies import saving
from autoopt.strategies.errors import EnvironmentProblem
from tests import tiny

TARGET = Target(sequence_length=16)
MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, which is nothing beside its libraries."""
    folder = tmp_path_factory.mktemp("memory") / "tiny"
    saving.save(tiny.candidate(), folder)
    return folder


@pytest.fixture(scope="module")
def measured(folder: Path) -> Measurement:
    """The memory of the tiny model."""
    return measure_memory(folder, TARGET, runs=2)


def grown(folder: Path, mebibytes: int) -> Path:
    """The same with a vocabulary that makes it so much larger."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    candidate = tiny.candidate()
    rows = mebibytes * MEBIBYTE // (4 * 32)
    config = BertConfig.from_dict({**candidate.model.config.to_dict(), "vocab_size": rows})
    torch.manual_seed(0)
    model = BertForSequenceClassification(config).eval()  # type: ignore[no-untyped-call]
    saving.save(candidate.evolve("grown", model=model), folder)
    return folder


@pytest.mark.slow
def test_the_libraries_are_no_part_of_a_models_memory(measured: Measurement) -> None:
    assert (measured.name, measured.unit, measured.direction) == ("memory", "bytes", Direction.MINIMIZE)
    assert (measured.samples, measured.low <= measured.value <= measured.high) == (2, True)
    assert 0 < measured.value < 60 * MEBIBYTE, "torch and transformers alone take more than two hundred"


@pytest.mark.slow
def test_a_model_that_is_100_mebibytes_larger_takes_so_much_more_and_at_most_twice_while_it_is_loaded(
    measured: Measurement, tmp_path: Path
) -> None:
    more = measure_memory(grown(tmp_path / "grown", 100), TARGET).value - measured.value
    assert 95 * MEBIBYTE < more < 230 * MEBIBYTE


def test_a_folder_that_holds_no_model_ends_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["BertForSequenceClassification"]}', encoding="utf-8")
    with pytest.raises(EnvironmentProblem, match=r"the memory of .* exited with 1: .*holds no saved candidate"):
        measure_memory(tmp_path, TARGET)


def test_importing_what_starts_the_process_imports_nothing_heavy() -> None:
    program = (
        "import sys; import autoopt.objectives.timing.memory_process;"
        "print(sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[]"
