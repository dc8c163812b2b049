from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from autoopt.objectives.data.token_cache import TokenCache
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
