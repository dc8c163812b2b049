"""The folders are the registry: a file that is put there is offered, and one that cannot be is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autoopt import strategies
from autoopt.strategies.catalog import catalog, find
from autoopt.strategies.errors import UnknownStrategy
from autoopt.strategies.strategy import Family

TREE = Path(strategies.__path__[0])
STRATEGY = '''"""Does nothing (Nobody 2026, "Nothing")."""

from __future__ import annotations

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.strategy import Strategy


class Nothing(Strategy):
    """Gives back what it is given."""

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        return candidate.evolve("nothing")
'''
LIST = """
from autoopt.strategies.catalog import catalog
for name, strategy in catalog().items():
    print(strategy.family, name)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the package that a test may change."""
    copied = tmp_path / "autoopt" / "strategies"
    shutil.copytree(TREE, copied, ignore=shutil.ignore_patterns("__pycache__"))
    return copied


def listing(tree: Path) -> subprocess.CompletedProcess[str]:
    """What a fresh process finds in the catalog of ``tree``, a line for each."""
    path = os.pathsep.join([str(tree.parent.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", LIST],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_name_that_is_nearly_right_brings_the_right_one() -> None:
    with pytest.raises(UnknownStrategy, match=r"^'lroa' is no strategy; did you mean 'lora'\?"):
        find("lroa")


def test_a_name_like_no_other_brings_the_way_to_all_names() -> None:
    with pytest.raises(UnknownStrategy, match=f"'zzz' is no strategy. 'autoopt strategies' lists all {len(catalog())}"):
        find("zzz")


def test_what_is_found_has_the_name_that_was_asked_for() -> None:
    assert {name: find(name).name for name in catalog()} == {name: name for name in catalog()}


def test_every_file_of_a_family_is_in_the_catalog_under_its_name() -> None:
    files = [
        (family.value, path.stem)
        for family in Family
        for path in sorted((TREE / family).glob("*.py"))
        if path.stem != "__init__"
    ]
    assert [(strategy.family.value, name) for name, strategy in catalog().items()] == files


def test_the_catalog_cannot_be_changed() -> None:
    with pytest.raises(TypeError, match="does not support item assignment"):
        catalog()["mine"] = find("lora")  # type: ignore[index]


def test_a_file_dropped_into_a_family_is_a_strategy(tree: Path) -> None:
    (tree / "compression" / "nothing.py").write_text(STRATEGY)
    listed = listing(tree)
    assert (listed.returncode, listed.stderr) == (0, "")
    ours = [f"{strategy.family} {name}" for name, strategy in catalog().items()]
    assert set(listed.stdout.splitlines()) - set(ours) == {"compression nothing"}
    assert len(listed.stdout.splitlines()) == len(ours) + 1


def test_two_strategies_in_a_file_are_refused(tree: Path) -> None:
    (tree / "compression" / "nothing.py").write_text(STRATEGY + "\n\nclass Other(Nothing):\n    pass\n")
    assert "TypeError: autoopt.strategies.compression.nothing defines 2 strategies" in listing(tree).stderr


def test_a_file_without_a_strategy_is_refused(tree: Path) -> None:
    (tree / "compression" / "nothing.py").write_text('"""Forgotten."""\n')
    assert "TypeError: autoopt.strategies.compression.nothing defines 0 strategies" in listing(tree).stderr


def test_a_name_that_two_families_use_is_refused(tree: Path) -> None:
    (tree / "acceleration" / "lora.py").write_text(STRATEGY)
    assert "ValueError: two files are named lora.py" in listing(tree).stderr
