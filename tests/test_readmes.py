"""The READMEs: short, complete, without stale names; their commands and examples are what the program understands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from autoopt.search.cli.main import autoopt
from autoopt.search.experiment.experiment import validate
from autoopt.search.experiment.yaml_file import parse_yaml
from tests.places import ROOT
from tests.test_house import import_graph, room

LAYERS = ("search", "objectives", "strategies")
REGISTRIES = {
    *(f"strategies/{family}" for family in ("unsupervised", "augmentation", "adaptation", "compression")),
    "strategies/acceleration",
    "objectives/costs",
    "objectives/tasks",
    "objectives/file_formats",
}
"""Folders to which a file is added without another edit: their README says what a file there defines."""
LONG = {"strategies/CATALOG.md", "search/DECISIONS.md"}
MOST_LINES = 250


def pages() -> list[str]:
    folders = [ROOT / name for name in (*LAYERS, "docker", "tests")]
    inner = [path for folder in folders for path in sorted(folder.rglob("*.md"))]
    return ["README.md", *(str(path.relative_to(ROOT)) for path in inner)]


def rooms() -> list[str]:
    folders = {path.parent for layer in LAYERS for path in (ROOT / layer).rglob("*.py")}
    return sorted(str(folder.relative_to(ROOT)) for folder in folders)


def commands(page: str) -> list[list[str]]:
    """Return every ``autoopt`` command in the shell blocks of a page, as arguments."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line.split("  #")[0] for block in blocks for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in re.split(r"&&|;", line)]
    return [shlex.split(part)[1:] for part in parts if re.match(r"autoopt ", part)]


@pytest.mark.parametrize("page", [page for page in pages() if page not in LONG])
def test_a_page_is_read_in_one_sitting(page: str) -> None:
    assert len((ROOT / page).read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("room", rooms())
def test_a_rooms_readme_names_each_of_its_files_and_no_other(room: str) -> None:
    text = (ROOT / room / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"[`\[]([a-z0-9_-]+\.(?:py|yaml))[`\]]", text))
    files = {path.name for suffix in ("*.py", "*.yaml") for path in (ROOT / room).glob(suffix)} - {"__init__.py"}
    assert named <= files, "names that are no file"
    if room not in REGISTRIES:
        assert files <= named, "files that are not named"


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layers_readme_lists_its_rooms_and_files(layer: str) -> None:
    text = (ROOT / layer / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[(\w+)(?:/|\.py)\]", text, flags=re.MULTILINE)
    folders = {path.parent.name for path in (ROOT / layer).glob("*/*.py")}
    files = {path.stem for path in (ROOT / layer).glob("*.py")} - {"__init__"}
    assert sorted(listed) == sorted(folders | files)


def test_imports_run_down_the_table_of_the_search() -> None:
    text = (ROOT / "search/README.md").read_text(encoding="utf-8")
    assert "Imports run down this table only." in text
    listed = re.findall(r"^\| \[(\w+)(?:/|\.py)\]", text, flags=re.MULTILINE)
    order = {f"search.{name}": number for number, name in enumerate(listed)}
    upwards = {
        (room(module), room(target))
        for module, targets in import_graph().items()
        for target in targets
        if room(module) in order and room(target) in order and order[room(target)] < order[room(module)]
    }
    assert upwards == set()


@pytest.mark.parametrize("page", pages())
def test_every_link_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)", text) if "://" not in target]
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []


@pytest.mark.parametrize(("page", "command"), [(page, command) for page in pages() for command in commands(page)])
def test_every_command_is_one(page: str, command: list[str]) -> None:
    """The command and its options exist; what the commands do is tested where they are."""
    subcommand: Any = autoopt
    arguments = list(command)
    while isinstance(subcommand, click.Group):
        name = arguments.pop(0)
        found = subcommand.get_command(click.Context(subcommand), name)
        assert found is not None, f"{page}: no command '{name}'"
        subcommand = found
    # Below the group as in a shell: click keeps the help option of the first context that it makes.
    group = click.Context(autoopt, **autoopt.context_settings)
    subcommand.make_context(subcommand.name, arguments, parent=group)


@pytest.mark.parametrize("page", ["README.md", "docker/README.md"])
def test_every_experiment_is_valid(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOOPT_DATABASE_PASSWORD", "secret")
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    whole = {"study": "s", "model": "m", "data": {"source": "d"}}
    for block in blocks:
        document = parse_yaml(block, source=page)
        experiment = validate(type(document)(page, {**whole, **document.data}, document.positions))
        assert experiment.study in ("s", "complaints")


def test_the_pages_hold_commands() -> None:
    assert len(commands("README.md")) >= 10


def test_the_python_example_names_what_there_is() -> None:
    from autoopt import search

    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert block
    imported = re.search(r"from autoopt.search import (.+)", block[1])
    assert imported
    assert all(callable(getattr(search, name.strip())) for name in imported[1].split(","))
    attributes = {*re.findall(r"result\.(\w+)", block[1]), *re.findall(r"\)\.(front)\b", block[1])}
    assert attributes <= set(dir(search.SearchResult))


def test_no_page_holds_a_path_of_one_machine() -> None:
    assert [page for page in pages() if re.search(r"/(?:root|home|work)/", (ROOT / page).read_text("utf-8"))] == []


def test_rooms_and_readmes_go_together() -> None:
    readmes = {str(path.parent.relative_to(ROOT)) for layer in LAYERS for path in Path(ROOT / layer).rglob("README.md")}
    assert readmes == set(rooms())
