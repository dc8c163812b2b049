"""Digest of the code that a result depends on: a module and everything of this package that it imports.

Imports inside functions and under ``TYPE_CHECKING`` count; modules that are loaded by a computed name do not. Comments,
docstrings and line numbers are left out, so that only a change of the code changes the digest.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TypeAlias

PACKAGE = "autoopt"

Source: TypeAlias = Callable[[str], str | None]
"""Returns the source of a module of this package by its full name; None if there is no such module."""


@cache
def code_digest(*modules: str) -> str:
    """Return the digest of the installed code of ``modules`` and of their import closure."""
    return closure_digest(modules, installed_source)


def closure_digest(modules: tuple[str, ...], source: Source) -> str:
    """Return the sha256 over the syntax trees of the import closure of ``modules``."""
    total = hashlib.sha256(" ".join(modules).encode())
    for name in sorted(import_closure(modules, source)):
        total.update(f"{name} {_tree_digest(source(name) or '')} ".encode())
    return total.hexdigest()


def import_closure(modules: tuple[str, ...], source: Source) -> set[str]:
    """Return the names of ``modules``, of all that they import directly or not, and of the packages that hold them."""
    closure: set[str] = set()
    pending = list(modules)
    while pending:
        name = pending.pop()
        text = None if name in closure else source(name)
        if text is not None:
            closure.add(name)
            pending += [name.rpartition(".")[0], *_imported_names(text)]
    return closure


@cache
def installed_source(module: str) -> str | None:
    """Read the source of an installed module of this package; None if there is no such module."""
    package, _, layer_path = module.partition(".")
    layer, _, rest = layer_path.partition(".")
    folder = _layer_folder(layer) if package == PACKAGE and layer else None
    if folder is None:
        return None
    path = folder.joinpath(*rest.split(".")) if rest else folder
    for file in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
        if file.is_file():
            return file.read_text(encoding="utf-8")
    return None


@cache
def _layer_folder(layer: str) -> Path | None:
    spec = importlib.util.find_spec(f"{PACKAGE}.{layer}")
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


@cache
def _imported_names(source: str) -> tuple[str, ...]:
    """Return the names that may be modules of this package: for ``from a import b`` both ``a`` and ``a.b``."""
    return tuple(name for name in _imports(ast.parse(source)) if name.startswith(f"{PACKAGE}."))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def _tree_digest(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [item for item in body if not _is_docstring(item)]  # type: ignore[attr-defined]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_docstring(node: ast.AST) -> bool:
    """Whether the statement is a string alone: a docstring, or what is written under an attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
