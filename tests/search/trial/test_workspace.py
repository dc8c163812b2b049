from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from autoopt.objectives.data.text_data import fingerprint_of
from autoopt.objectives.data.token_cache import TokenCache
from autoopt.objectives.monitor import ValidationMonitor
from autoopt.search.experiment.experiment import load_experiment
from autoopt.search.paths import Root
from autoopt.search.trial.workspace import Workspace
from tests.search.samples import write_experiment


def test_trials_share_their_tokens_under_the_root_and_stages_are_addressed_without_them(tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    experiment = load_experiment(write_experiment(tmp_path / "given"))
    workspace = Workspace.of(experiment, root, scratch=tmp_path / "scratch")
    assert workspace.base.tokens == TokenCache(root.tokens)
    kept = replace(workspace.base, tokens=TokenCache(root.tokens, min_characters=0))
    assert kept.features() == replace(kept, tokens=None).features()
    assert [path.suffix for path in root.tokens.iterdir()] == [".arrow"]
    without = replace(workspace, base=replace(workspace.base, tokens=None))
    assert without.origin == workspace.origin


def test_trainings_are_scored_on_the_validation_data_and_the_address_covers_them(tmp_path: Path) -> None:
    def opened(experiment: Path) -> Workspace:
        root = Root(tmp_path / "root")
        return Workspace.of(load_experiment(experiment), root, scratch=tmp_path / "scratch")

    first = opened(write_experiment(tmp_path / "given"))
    assert first.base.monitor == ValidationMonitor.of(first.data.validation)
    validation = tuple(replace(example, text=f"{example.text} too") for example in first.data.validation)
    other = fingerprint_of(replace(first.data, validation=validation))
    assert first.data.fingerprint == fingerprint_of(first.data) != other
    changed = replace(first, data=replace(first.data, validation=validation, fingerprint=other))
    assert changed.origin != first.origin
