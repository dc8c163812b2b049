"""Models of trials that were damaged on disk are made again, and a search does not stop at them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.search.experiment.experiment import load_experiment
from autoopt.search.experiment.opening import open_data, space_of
from autoopt.search.paths import Root, StudyFolder
from autoopt.search.study import lifecycle
from autoopt.search.study.driver import Driver
from autoopt.search.study.outcome import Outcome
from autoopt.search.trial.rebuild import damage_of
from tests.search.samples import RecordingAudience, run_here, write_experiment


@pytest.mark.nightly
def test_damaged_models_are_made_again_bit_for_bit_and_verified(tmp_path: Path) -> None:
    experiment = load_experiment(write_experiment(tmp_path / "given", search={"trials": 2}), ())
    root, folder = Root(tmp_path / "root"), Root(tmp_path / "root").study("news")
    space = space_of(experiment, open_data(experiment))

    def search(audience: RecordingAudience) -> Outcome:
        def run(driver: Driver, where: StudyFolder) -> None:
            run_here(driver, where, resources=experiment.resources, watcher=audience)

        return lifecycle.Search(experiment, root, space, run, lambda *_: {}, audience, audience).complete()

    first = search(RecordingAudience())
    numbers = sorted({0, *first.tried})
    weights = {number: folder.model(number) / "model.safetensors" for number in numbers}
    intact = {number: path.read_bytes() for number, path in weights.items()}
    for path in weights.values():
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    kept = folder.kept_model(first.models[0].record.number)
    (kept / "config.json").write_text("{}")
    shutil.rmtree(root.stages)
    folder.front.write_bytes(folder.front.read_bytes()[:-40])

    audience = RecordingAudience()
    second = search(audience)
    assert {number: path.read_bytes() for number, path in weights.items()} == intact
    assert not damage_of(kept)
    assert [model.record.number for model in second.models] == [model.record.number for model in first.models]
    assert [model.test for model in second.models] == [model.test for model in first.models]
    said = " ".join(audience.messages)
    assert all(f"the model of trial {number} is made again" in said for number in numbers)
    assert "front.json.broken" in said
    assert replace(second, models=()).stopped_because == first.stopped_because
