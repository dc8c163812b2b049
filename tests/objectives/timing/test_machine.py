import json
import platform
import subprocess
import sys

import pytest

from autoopt.objectives.target import Target
from autoopt.objectives.timing.machine import fingerprint, fingerprint_id
from autoopt.strategies.system.nvml import Gpu


def test_the_fingerprint_is_the_same_in_another_process() -> None:
    code = "from autoopt.objectives.timing.machine import *; print(fingerprint_id(Target()))"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == fingerprint_id(Target())


def test_the_fingerprint_names_what_a_timing_depends_on_and_not_the_host() -> None:
    machine_facts = fingerprint(Target())
    assert set(machine_facts) >= {"cpu", "cores", "instruction_sets", "device", "torch", "transformers"}
    assert machine_facts["cpu"]
    assert machine_facts["device"] == "cpu"
    assert platform.node() not in json.dumps(machine_facts)


def test_the_shape_of_the_input_is_no_part_of_the_machine() -> None:
    assert fingerprint_id(Target(batch_size=8)) == fingerprint_id(Target())
    assert Target(batch_size=8).slug != Target().slug
    assert Target(**Target(device="cuda:1", threads=2).to_json()) == Target(device="cuda:1", threads=2)


def test_a_gpu_that_is_held_to_other_clocks_is_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    class Held(Gpu):
        def limits(self) -> dict[str, int]:
            return {"sm_mhz": 1200}

    before = fingerprint_id(Target())
    monkeypatch.setattr(Gpu, "of", lambda _: Held(None, None))
    assert fingerprint(Target())["gpu_limits"] == {"sm_mhz": 1200}
    assert fingerprint_id(Target()) != before
