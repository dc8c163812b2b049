"""The layout of the house: where the walls are, and that the build packs every room."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("search", "objectives", "strategies")
"""Imports go down this list only."""
DOORS = {"ray": "ray_", "optuna": "optuna_", "mlflow": "mlflow_", "click": "click_"}
"""What a file's name begins with that may import the vendor."""


def modules() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from (
                [f"autoopt.{alias.name}" for alias in node.names] if node.module == "autoopt" else [node.module]
            )


def wrong_directions(folder: str, source: str) -> list[str]:
    above = FOLDERS[: FOLDERS.index(folder)]
    found = imports(ast.parse(source))
    return [name for name in found if any(f"{name}.".startswith(f"autoopt.{higher}.") for higher in above)]


def wrong_doors(name: str, folder: str, source: str) -> list[str]:
    vendors = {module.split(".")[0] for module in imports(ast.parse(source))} & set(DOORS)
    return sorted(v for v in vendors if folder != "search" or not name.startswith(DOORS[v]))


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only_and_vendors_stay_behind_their_doors(path: Path) -> None:
    folder, source = path.relative_to(ROOT).parts[0], path.read_text(encoding="utf-8")
    assert wrong_directions(folder, source) == []
    assert wrong_doors(path.name, folder, source) == []


@pytest.mark.parametrize(
    ("folder", "name", "source"),
    [
        ("strategies", "lora.py", "import ray"),
        ("strategies", "lora.py", "def f():\n    from ray import tune"),
        ("objectives", "size.py", "from optuna.trial import Trial"),
        ("search", "trial.py", "import mlflow.tracking"),
        ("strategies", "lora.py", "from autoopt.objectives.size import measure_size"),
        ("objectives", "size.py", "from autoopt import search"),
    ],
)
def test_a_forbidden_import_is_noticed_wherever_it_stands(folder: str, name: str, source: str) -> None:
    assert wrong_directions(folder, source) + wrong_doors(name, folder, source)


def test_the_build_packs_every_folder_that_holds_python() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT) for path in modules()}
    assert sorted(settings["packages"]) == sorted("autoopt." + ".".join(folder.parts) for folder in folders)
    assert set(settings["package-dir"]) == {f"autoopt.{folder}" for folder in FOLDERS}


def test_the_top_level_holds_what_was_agreed_and_nothing_else() -> None:
    agreed = {"pyproject.toml", "README.md", "LICENSE", "search", "strategies", "objectives", "tests", "docker"}
    made_by_tools = {"build", "dist"}
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".") and path.suffix != ".egg-info"}
    assert found - made_by_tools - {"autoopt-studies"} == agreed


def test_every_folder_of_the_package_is_typed() -> None:
    assert all((ROOT / folder / "py.typed").is_file() for folder in FOLDERS)
