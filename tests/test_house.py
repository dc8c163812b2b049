"""The layout of the house: layers, rooms and vendors' doors hold, imports run one way, every room is packed."""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.places import ROOT

LAYERS = ("search", "objectives", "strategies")
"""Imports go down this list only."""
DOORS = {
    "ray": ("search/backends/ray_",),
    "optuna": ("search/backends/optuna_",),
    "optuna_dashboard": ("search/backends/optuna_",),
    "mlflow": ("search/backends/mlflow_",),
    "click": ("search/cli/",),
    "fcntl": ("strategies/system/locks.py",),
    "filelock": ("strategies/system/locks.py",),
}
"""What the path of a file begins with that may import the vendor."""
MOST_FILES = 16


def modules() -> list[Path]:
    return [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("autoopt", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def imports(source: str) -> Iterator[str]:
    """Yield everything imported anywhere in the file, each name of a ``from`` import on its own."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def import_graph() -> dict[str, set[str]]:
    """Return for each module the modules of the package that it imports, at the top or inside a function."""
    paths = {module_name(path): path for path in modules()}
    graph: dict[str, set[str]] = {}
    for name, path in paths.items():
        given = imports(path.read_text(encoding="utf-8"))
        targets = {full if full in paths else full.rpartition(".")[0] for full in given}
        graph[name] = {target for target in targets if target in paths and target != name}
    return graph


def room(module: str) -> str:
    """Return the folder of a module, or the module itself where it stands beside the rooms."""
    _, layer, *rest = module.split(".")
    if rest[:1] == ["tasks"]:
        return ".".join((layer, *rest[:2]))
    if rest and (ROOT / layer / rest[0]).is_dir():
        return f"{layer}.{rest[0]}"
    return ".".join((layer, *rest))


def circle(graph: Mapping[str, Set[str]]) -> list[str]:
    """Return the nodes of one circle, empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def wrong_directions(path: str, source: str) -> list[str]:
    layer = path.split("/", maxsplit=1)[0]
    above = LAYERS[: LAYERS.index(layer)]
    return [name for name in imports(source) if any(f"{name}.".startswith(f"autoopt.{upper}.") for upper in above)]


def wrong_doors(path: str, source: str) -> list[str]:
    vendors = {name.split(".")[0] for name in imports(source)} & set(DOORS)
    return sorted(vendor for vendor in vendors if not path.startswith(DOORS[vendor]))


@pytest.mark.parametrize("path", [str(path.relative_to(ROOT)) for path in modules()])
def test_imports_go_down_only_and_vendors_stay_behind_their_doors(path: str) -> None:
    source = (ROOT / path).read_text(encoding="utf-8")
    assert wrong_directions(path, source) == []
    assert wrong_doors(path, source) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("strategies/adaptation/lora.py", "import ray"),
        ("strategies/adaptation/lora.py", "def f():\n    from ray import tune"),
        ("objectives/costs/size.py", "from optuna.trial import Trial"),
        ("search/trial/run.py", "import mlflow.tracking"),
        ("search/backends/ray_tune/runner.py", "import optuna"),
        ("search/report/live.py", "import click"),
        ("search/identity/lock.py", "import fcntl"),
        ("strategies/adaptation/lora.py", "from autoopt.objectives.costs.size import Size"),
        ("objectives/costs/size.py", "from autoopt import search"),
    ],
)
def test_a_forbidden_import_is_noticed_wherever_it_stands(path: str, source: str) -> None:
    assert wrong_directions(path, source) + wrong_doors(path, source)


def test_no_two_files_import_each_other() -> None:
    assert circle(import_graph()) == []


def test_no_two_rooms_import_each_other() -> None:
    rooms: dict[str, set[str]] = defaultdict(set)
    for module, targets in import_graph().items():
        rooms[room(module)] |= {room(target) for target in targets} - {room(module)}
    assert circle(rooms) == []


def test_a_circle_is_noticed() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})


def test_no_room_holds_more_files_than_one_sees_at_a_glance() -> None:
    counts = {folder: len(list(folder.glob("*.py"))) for folder in {path.parent for path in modules()}}
    assert {str(folder): count for folder, count in counts.items() if count > MOST_FILES} == {}


def test_the_build_packs_every_folder_that_holds_python() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT) for path in modules()}
    assert sorted(settings["packages"]) == sorted("autoopt." + ".".join(folder.parts) for folder in folders)
    assert set(settings["package-dir"]) == {f"autoopt.{layer}" for layer in LAYERS}


def test_the_top_level_holds_what_was_agreed_and_nothing_else() -> None:
    agreed = {"pyproject.toml", "README.md", "LICENSE", "search", "strategies", "objectives", "tests", "docker"}
    made_by_tools = {"build", "dist"}
    present = {path.name for path in ROOT.iterdir() if not path.name.startswith(".") and path.suffix != ".egg-info"}
    assert present - made_by_tools - {"autoopt-studies"} == agreed


def test_every_layer_of_the_package_is_typed() -> None:
    assert all((ROOT / layer / "py.typed").is_file() for layer in LAYERS)
