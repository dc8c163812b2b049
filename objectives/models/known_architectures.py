"""Architectures for which the installed transformers has a class with a given head."""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_CAUSAL, _MASKED, _TEXT_TO_TEXT = "AutoModelForCausalLM", "AutoModelForMaskedLM", "AutoModelForSeq2SeqLM"
_NOT_CAUSAL = frozenset({"xlnet"})
"""Listed as causal, but each token sees the whole text."""


def architectures(auto_class: str) -> frozenset[str]:
    """Return the values of ``config.model_type`` that ``auto_class``, such as ``AutoModelForMaskedLM``, opens."""
    return _names().get(auto_class, frozenset())


def decoders() -> frozenset[str]:
    """Return the architectures in which a token sees those before it only, and that have no encoder beside it."""
    return architectures(_CAUSAL) - architectures(_MASKED) - architectures(_TEXT_TO_TEXT) - _NOT_CAUSAL


def text_to_text() -> frozenset[str]:
    """Return the architectures of an encoder with a decoder."""
    return architectures(_TEXT_TO_TEXT)


def lone_encoders() -> frozenset[str]:
    """Return the architectures of an encoder with a decoder whose encoder has a class of its own, with a head too."""
    return text_to_text() & architectures("AutoModelForTextEncoding") & architectures("AutoModelForTokenClassification")


@cache
def _names() -> dict[str, frozenset[str]]:
    """Return the architectures by auto class, read from the text of transformers: its import takes seconds."""
    spec = find_spec("transformers")
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        return {}
    source = Path(folders[0]) / "models" / "auto" / "modeling_auto.py"
    tables: dict[str, frozenset[str]] = {}
    classes: dict[str, frozenset[str]] = {}
    mappings: dict[str, str] = {}
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, node.value
            if isinstance(value, ast.Call) and name.endswith("_MAPPING_NAMES") and value.args:
                tables[name] = _keys(value.args[0])
            elif isinstance(value, ast.Call) and name.endswith("_MAPPING"):
                mappings[name] = name + "_NAMES"
            elif isinstance(value, ast.Call) and isinstance(value.args[0] if value.args else None, ast.Name):
                classes[name] = classes.get(value.args[0].id, frozenset())  # type: ignore[attr-defined]
        elif isinstance(node, ast.ClassDef):
            for part in node.body:
                if isinstance(part, ast.Assign) and isinstance(part.value, ast.Name):
                    classes[node.name] = tables.get(mappings.get(part.value.id, ""), frozenset())
    return classes


def _keys(table: ast.expr) -> frozenset[str]:
    """Return the first of each pair of a list of pairs."""
    pairs = table.elts if isinstance(table, ast.List | ast.Tuple) else []
    return frozenset(
        str(pair.elts[0].value)
        for pair in pairs
        if isinstance(pair, ast.Tuple) and isinstance(pair.elts[0], ast.Constant)
    )
