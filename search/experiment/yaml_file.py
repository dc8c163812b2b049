"""Safe YAML: a bounded tree of plain values with the line and column of every key.

Scalars follow YAML 1.2: ``1e-4`` is a number, ``no``, ``010`` and ``12:30:45`` are text, and only ``true``, ``false``
and ``null`` have these meanings. Tags, duplicate keys and several documents are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from autoopt.strategies.errors import ExperimentError

MAX_BYTES = 256_000
"""PyYAML takes up to 8 seconds per megabyte, and no experiment file has a tenth of this."""
MAX_DEPTH = 32
MAX_NODES = 10_000
"""Counted with aliases expanded, so that a few lines cannot expand into millions of nodes."""

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and list indices that lead to a value."""

_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_REAL = re.compile(r"[-+]?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][-+]?[0-9]+)?")
_WORDS: Mapping[str, bool | None] = {"true": True, "false": False, "null": None, "": None}
_TEXT_TAG = "tag:yaml.org,2002:str"
_PLAIN_TAGS = frozenset({_TEXT_TAG, "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"})


@dataclass(frozen=True)
class Document:
    """Content of a file, with positions."""

    source: str
    data: Any
    positions: Mapping[KeyPath, tuple[int, int]]
    """Line and column, from 1, of each key, or of a list item."""

    def place(self, keys: KeyPath) -> str:
        """Return ``FILE:LINE`` of the value at ``keys``, or of the nearest section around it that is in the file."""
        while keys and keys not in self.positions:
            keys = keys[:-1]
        line, _ = self.positions.get(keys, (1, 1))
        return f"{self.source}:{line}"


def read_yaml(path: Path) -> Document:
    """Read a file. Raises ``ExperimentError`` with line and column."""
    try:
        raw = path.read_bytes()[: MAX_BYTES + 1] if path.stat().st_size <= MAX_BYTES else b"x" * (MAX_BYTES + 1)
    except OSError as error:
        raise ExperimentError(f"{path} cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise ExperimentError(f"{path} is larger than {MAX_BYTES:,} bytes, which no experiment file is; check the name")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ExperimentError(
            f"{path}:{line}: byte {error.start:,} (0x{raw[error.start]:02x}) is not UTF-8; save the file as UTF-8"
        ) from None
    return parse_yaml(text, source=str(path))


def parse_yaml(text: str, *, source: str) -> Document:
    """Parse YAML; the data of an empty text is None. Raises ``ExperimentError`` with line and column."""
    try:
        _check_bounds(text, source)
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        raise ExperimentError(f"{place}: {_problem_text(error)}") from None
    except yaml.YAMLError as error:
        position = getattr(error, "position", 0)
        line = text[:position].count("\n") + 1
        raise ExperimentError(f"{source}:{line}: {str(error).splitlines()[0]}; remove it") from None
    if node is None:
        return Document(source, None, {})
    converter = _Converter(source)
    return Document(source, converter.value(node, ()), converter.positions)


def parse_scalar(text: str) -> str | int | float | bool | None:
    """Return the value of an unquoted scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    if _REAL.fullmatch(text) and any(character.isdigit() for character in text.lower().partition("e")[0]):
        return float(text)
    return text


def dump_yaml(data: Any) -> str:
    """Return plain data as YAML, keys in order. Inverse of ``parse_yaml``."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    """Dumper that quotes text which ``parse_scalar`` would not take for text."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_unambiguous = isinstance(parse_scalar(text), str)
    return dumper.represent_scalar(_TEXT_TAG, text, style=None if is_unambiguous else '"')


_Dumper.add_representer(str, _represent_text)


@dataclass
class _Converter:
    """Converts nodes to plain data and records their positions."""

    source: str
    positions: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    nodes: int = 0

    def value(self, node: yaml.Node, keys: KeyPath) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self._error(
                node, f"more than {MAX_NODES:,} values once every alias is written out; use fewer aliases"
            )
        if len(keys) > MAX_DEPTH:
            raise self._error(node, f"nested deeper than {MAX_DEPTH} levels, or an alias that contains itself")
        if node.tag not in _PLAIN_TAGS:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            raise self._error(
                node, f"the tag '{tag}' is refused: an experiment file holds plain values only; remove it"
            )
        self.positions.setdefault(keys, (node.start_mark.line + 1, node.start_mark.column + 1))
        if isinstance(node, yaml.MappingNode):
            return dict(self._entries(node, keys))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*keys, index)) for index, item in enumerate(node.value)]
        return parse_scalar(node.value) if isinstance(node, yaml.ScalarNode) and node.style is None else node.value

    def _entries(self, node: yaml.MappingNode, keys: KeyPath) -> Iterator[tuple[str, Any]]:
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != _TEXT_TAG:
                raise self._error(key, "a key must be plain text")
            line = key.start_mark.line + 1
            if key.value in lines:
                raise self._error(key, f"the key '{key.value}' is already in line {lines[key.value]}; keep one of them")
            lines[key.value] = line
            self.positions[(*keys, key.value)] = (line, key.start_mark.column + 1)
            yield key.value, self.value(value, (*keys, key.value))

    def _error(self, node: yaml.Node, problem: str) -> ExperimentError:
        return ExperimentError(f"{self.source}:{node.start_mark.line + 1}:{node.start_mark.column + 1}: {problem}")


def _check_bounds(text: str, source: str) -> None:
    """Check depth and number of nodes on the event stream, which needs no recursion."""
    depth = nodes = 0
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        nodes += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            bound = f"more than {MAX_NODES:,} values" if nodes > MAX_NODES else f"nested deeper than {MAX_DEPTH} levels"
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise ExperimentError(f"{source}:{line}: {bound}; an experiment file is smaller than that")


def _problem_text(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "no YAML"
    if "\\t" in problem:
        return f"{problem}; indent with spaces, not with tabs"
    if "but found another document" in problem:
        return "a second document begins here ('---'); an experiment file holds one"
    if "undefined alias" in problem:
        return f"{problem}; quote a text that begins with '*'"
    return f"{problem}; check the indentation, and quote texts that contain ': ' or begin with a sign"
