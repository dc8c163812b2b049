"""The lock file of a study, and what it says of its holder."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.search.identity import lock as module
from autoopt.search.identity.lock import lock_holder, study_lock
from autoopt.search.identity.owner import Holder
from autoopt.strategies.errors import StudyLocked
from autoopt.strategies.system import locks


def about(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def test_a_holder_that_has_not_yet_written_who_it_is_is_waited_for(tmp_path: Path) -> None:
    path, holder = tmp_path / "lock", Holder.here()
    with locks.hold(path, wait=False):
        writing = threading.Timer(0.3, about(path).write_text, [json.dumps(holder.to_json())])
        writing.start()
        with pytest.raises(
            StudyLocked, match=rf"searched by process {holder.process} of .* since {holder.since}; wait"
        ):
            study_lock(path).__enter__()
        writing.join()


def test_the_holder_before_is_not_named_for_the_present_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NAMING_PATIENCE_S", 0.2)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    path = tmp_path / "lock"
    about(path).write_text(json.dumps(replace(Holder.here(), process=ended.pid).to_json()))
    with locks.hold(path, wait=False):
        assert lock_holder(path) == "another process"


def test_a_holder_on_another_machine_is_named(tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "lock", replace(Holder.here(), host="elsewhere", process=2**22 + 1)
    with locks.hold(path, wait=False):
        about(path).write_text(json.dumps(elsewhere.to_json()))
        assert (
            lock_holder(path) == f"process {elsewhere.process} of {elsewhere.user} on elsewhere since {elsewhere.since}"
        )
