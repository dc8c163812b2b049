"""The digest of code moves with each line of the import closure, and with nothing else."""

from __future__ import annotations

import time

import pytest

from autoopt.strategies.catalog import catalog
from autoopt.strategies.system import code_digest as module
from autoopt.strategies.system.code_digest import (
    Source,
    closure_digest,
    code_digest,
    import_closure,
    installed_source,
)

FILES = {
    "autoopt.rooms": "",
    "autoopt.rooms.start": "from autoopt.rooms.top import run\nfrom autoopt.rooms import sibling\n",
    "autoopt.rooms.top": "import os\ndef run():\n    from autoopt.rooms.inner import deep\n    return deep()\n",
    "autoopt.rooms.sibling": "import autoopt.rooms.deepest as d\nif TYPE_CHECKING:\n    import autoopt.rooms.typed\n",
    "autoopt.rooms.inner": "def deep():\n    return 1\n",
    "autoopt.rooms.deepest": "VALUE = 1\n",
    "autoopt.rooms.typed": "class Typed:\n    width: int = 1\n",
    "autoopt.rooms.outside": "from autoopt.rooms.start import run\nVALUE = 1\n",
}
CLOSURE = set(FILES) - {"autoopt.rooms.outside"}
START = ("autoopt.rooms.start",)
TASK = "autoopt.objectives.tasks.text_classification.task"
FINETUNING = "autoopt.strategies.adaptation.full_finetuning"


def edited(source: Source, name: str, line: str = "CHANGED = 1") -> Source:
    """The same source with a line more at the end of one module."""

    def read(wanted: str) -> str | None:
        text = source(wanted)
        return f"{text}\n{line}\n" if text is not None and wanted == name else text

    return read


def test_the_closure_is_all_that_is_imported_wherever_the_import_stands() -> None:
    assert import_closure(START, FILES.get) == CLOSURE


@pytest.mark.parametrize("name", FILES)
def test_the_digest_moves_with_each_file_of_the_closure_and_no_other(name: str) -> None:
    moved = closure_digest(START, edited(FILES.get, name)) != closure_digest(START, FILES.get)
    assert moved == (name in CLOSURE)


@pytest.mark.parametrize("start", [FINETUNING, "autoopt.strategies.compression.distillation", TASK])
def test_the_digest_moves_with_each_installed_file_of_the_closure(start: str) -> None:
    closure, before = import_closure((start,), installed_source), closure_digest((start,), installed_source)
    assert len(closure) > 10
    assert all(closure_digest((start,), edited(installed_source, name)) != before for name in closure)
    outside = ("autoopt.strategies.compression.wanda", "autoopt.search.paths", "autoopt.objectives.costs.energy")
    assert closure.isdisjoint(outside)
    assert all(closure_digest((start,), edited(installed_source, name)) == before for name in outside)


def test_a_strategy_depends_on_the_loop_and_a_task_on_what_it_shares_with_others() -> None:
    assert "autoopt.strategies.training.loop" in import_closure((FINETUNING,), installed_source)
    assert "autoopt.objectives.tasks.sequence_classification" in import_closure((TASK,), installed_source)


PLAIN = "X = 1\ndef f(a):\n    return a\nclass C:\n    width: int = 1\n"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (f"# A comment.\n\n\n{PLAIN}", True),
        (f'"""A docstring."""\n{PLAIN}', True),
        (PLAIN.replace("    return", '    """Return it."""\n    return'), True),
        (PLAIN.replace("int = 1", 'int = 1\n    """How wide."""'), True),
        (PLAIN.replace("return a", "return  (a)  # The argument."), True),
        (PLAIN.replace("return a", "return b"), False),
        (PLAIN.replace("X = 1", "X = 2"), False),
        (PLAIN.replace("int = 1", "float = 1"), False),
        (f'{PLAIN}Y = "text"\n', False),
    ],
)
def test_what_does_not_run_does_not_count(text: str, same: bool) -> None:
    before = closure_digest(("autoopt.a",), {"autoopt.a": PLAIN}.get)
    assert (closure_digest(("autoopt.a",), {"autoopt.a": text}.get) == before) is same


def test_what_is_no_module_of_the_package_has_no_source() -> None:
    for name in ("autoopt", "autoopt.nowhere", "autoopt.strategies.nowhere", "torch.nn", "tests.tiny"):
        assert installed_source(name) is None
    assert (installed_source("autoopt.strategies") or "").startswith('"""')
    assert "def code_digest" in (installed_source("autoopt.strategies.system.code_digest") or "")


def test_modules_outside_the_package_are_told_apart_by_their_names() -> None:
    assert code_digest("tests.tiny") != code_digest("tests.places")


def test_all_strategies_together_take_less_than_a_second_or_two() -> None:
    for cached in (module.code_digest, module.installed_source, module._imported_names, module._tree_digest):
        cached.cache_clear()
    started = time.perf_counter()
    digests = {code_digest(strategy.__module__) for strategy in catalog().values()}
    assert time.perf_counter() - started < 2  # 0.2 s on a quiet machine.
    assert len(digests) == len(catalog())
