"""Mutation testing: break one line at a time, drawn by seed, and see whether the tests of its room notice.

``pip install cosmic-ray`` once, then ``python tests/mutation.py --mutants 200 --seed 0 --workers 2``. Cosmic Ray's
operators make the mutants; each runs the tests of its own room in a copy of the tree and counts as killed if one fails.
Annotations, docstrings and constants that only name things are not mutated. ``--only N`` repeats one mutant.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

ROOT = Path(__file__).parents[1]
ROOMS = {
    "search/choosing": ("tests/search/choosing",),
    "search/trial": ("tests/search/trial",),
    "search/study": ("tests/search/study", "tests/search/cli/test_inspect.py"),
    "objectives/judging": ("tests/objectives/judging", "tests/objectives/tasks"),
    "objectives/scoring": ("tests/objectives/scoring", "tests/objectives/tasks"),
    "objectives/timing": ("tests/objectives/timing", "tests/objectives/costs"),
    "strategies/training": ("tests/strategies/training", "tests/strategies/adaptation"),
}
"""Where mutants are drawn, and the tests that should notice them; the file's own test runs first."""
TIMEOUT_S = 600.0
SKIPPED_OPERATORS = ("core/VariableReplacer", "core/VariableInserter", "core/RemoveDecorator")


@dataclass(frozen=True)
class Mutant:
    """One change to one file."""

    number: int
    file: str
    line: int
    operator: str
    occurrence: int


def drawn(count: int, seed: int) -> list[Mutant]:
    """Draw mutants, the same number from each room; places are drawn first, then an operator for each place."""
    generator = random.Random(seed)
    mutants: list[Mutant] = []
    for position, room in enumerate(ROOMS):
        places: dict[tuple[str, int, int], list[tuple[str, int]]] = {}
        for path in sorted((ROOT / room).rglob("*.py")):
            for place, change in _changes(path):
                places.setdefault((str(path.relative_to(ROOT)), *place), []).append(change)
        size = count // len(ROOMS) + (position < count % len(ROOMS))
        for file, line, column in generator.sample(sorted(places), min(size, len(places))):
            operator, occurrence = generator.choice(places[file, line, column])
            mutants.append(Mutant(len(mutants), file, line, operator, occurrence))
    return mutants


def _changes(path: Path) -> Iterator[tuple[tuple[int, int], tuple[str, int]]]:
    """Yield each place (line, column) with an operator and its number of occurrence there."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    source = path.read_text(encoding="utf-8")
    excluded, nodes = _annotations(source), list(ast_nodes(get_ast(source)))
    for name in sorted(operator_names()):
        if name.startswith(SKIPPED_OPERATORS):
            continue
        operator: Any = get_operator(name)()
        occurrence = 0
        for node in nodes:
            for start, _ in operator.mutation_positions(node):
                if not any(first <= start < last for first, last in excluded):
                    yield start, (name, occurrence)
                occurrence += 1


def _annotations(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return where no mutant can matter: annotations, type aliases, blocks for type checkers and for ``__main__``."""
    spans: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for node in ast.walk(ast.parse(source)):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.arg):
            parts = [node.annotation]
        elif isinstance(node, ast.FunctionDef):
            parts = [node.returns]
        elif isinstance(node, ast.AnnAssign):
            alias = ast.unparse(node.annotation) == "TypeAlias"
            parts = [node if alias else node.annotation]
        elif (
            isinstance(node, ast.If)
            and ("TYPE_CHECKING" in ast.unparse(node.test) or "__main__" in ast.unparse(node.test))
        ) or (isinstance(node, ast.Call) and ast.unparse(node.func) in ("dataclass", "TypeVar", "zip")):
            parts = [node]
        for part in parts:
            if part is not None and hasattr(part, "lineno"):
                place: Any = part
                spans.append(((place.lineno, place.col_offset), (place.end_lineno, place.end_col_offset)))
    return spans


def run(mutant: Mutant, tree: Path) -> dict[str, Any]:
    """Apply the mutant in ``tree``, run the tests that should notice, and put the file back."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    path = tree / mutant.file
    source = path.read_text(encoding="utf-8")
    changed = mutate_code(source, get_operator(mutant.operator)(), mutant.occurrence)
    lines = zip(source.splitlines(), (changed or source).splitlines(), strict=False)
    before, after = next(((a.strip(), b.strip()) for a, b in lines if a != b), ("", ""))
    if changed is None or changed == source:
        return {**asdict(mutant), "outcome": "unchanged", "before": before, "after": after}
    try:
        path.write_text(changed, encoding="utf-8")
        outcome = _outcome(mutant, tree)
    finally:
        path.write_text(source, encoding="utf-8")
    return {**asdict(mutant), "outcome": outcome, "before": before, "after": after}


def _outcome(mutant: Mutant, tree: Path) -> str:
    room = str(Path(mutant.file).parent)
    own = Path("tests") / room / f"test_{Path(mutant.file).name}"
    tests = [*([str(own)] if (tree / own).is_file() else []), *ROOMS[room]]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
    # The copy's package comes before the installed one.
    environment = {**os.environ, "PYTHONPATH": str(tree / ".types"), "OMP_NUM_THREADS": "1"}
    try:
        ended = subprocess.run(command, cwd=tree, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return "killed"
    return "survived" if ended.returncode == 0 else "killed"


def _copy(folder: Path) -> Path:
    """Copy what git knows, and lay out the package so that it is imported from the copy."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    (folder / ".types" / "autoopt").mkdir(parents=True)
    for layer in ("search", "objectives", "strategies"):
        (folder / ".types" / "autoopt" / layer).symlink_to(folder / layer)
    return folder


def main(arguments: Sequence[str]) -> None:
    """Draw, run and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of the mutants to run")
    parser.add_argument("--rooms", nargs="*", help="rooms to run, all if not given")
    parser.add_argument("--output", type=Path, help="a file for one line of JSON per mutant")
    options = parser.parse_args(arguments)
    mutants = drawn(options.mutants, options.seed)
    if options.only is not None:
        mutants = [mutant for mutant in mutants if mutant.number in options.only]
    if options.rooms:
        mutants = [mutant for mutant in mutants if str(Path(mutant.file).parent) in options.rooms]
    trees: SimpleQueue[Path] = SimpleQueue()
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(options.workers) as pool:
        for worker in range(options.workers):
            trees.put(_copy(Path(work) / str(worker)))

        def in_a_tree(mutant: Mutant) -> dict[str, Any]:
            tree = trees.get()
            try:
                return run(mutant, tree)
            finally:
                trees.put(tree)

        results = []
        for result in pool.map(in_a_tree, mutants):
            results.append(result)
            if result["outcome"] == "survived":
                place = f"{result['file']}:{result['line']}"
                print(f"{result['number']} survived: {place} {result['before']}  ->  {result['after']}", flush=True)
            if options.output:
                with options.output.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(result) + "\n")
    print_table(results)


def print_table(results: Sequence[dict[str, Any]]) -> None:
    """Print for each room how many mutants were run and killed."""
    print(f"{'room':24}{'mutants':>9}{'killed':>8}{'share':>8}")
    counts: dict[str, Counter[str]] = {}
    for result in results:
        counts.setdefault(str(Path(result["file"]).parent), Counter())[result["outcome"]] += 1
    for room, outcomes in [*counts.items(), ("all", sum(counts.values(), Counter[str]()))]:
        total = outcomes["killed"] + outcomes["survived"]
        print(f"{room:24}{total:>9}{outcomes['killed']:>8}{outcomes['killed'] / max(1, total):>8.0%}")


if __name__ == "__main__":
    main(sys.argv[1:])
