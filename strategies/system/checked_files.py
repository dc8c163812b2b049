"""JSON and YAML files that hold their own sha256, so that damage is noticed before the content is used.

A file without a digest was written by an earlier version; it counts as intact if it can be parsed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoopt.strategies.errors import CorruptArtefact
from autoopt.strategies.system.files import write_whole

DIGEST = "sha256"
"""Key of the digest in a JSON object; it covers all other keys."""
BROKEN = ".broken"
"""Suffix of a damaged file that was put aside."""
_DIGEST_WORDS = (b"# sha256 of", b"the lines below: ")
_DIGEST_LINE = re.compile(rb"# sha256 of the lines below: ([0-9a-f]{64})\n")


def write_json(path: Path, fields: Mapping[str, Any], *, indent: int | None = None) -> None:
    """Write a JSON object with its digest, atomically."""
    plain = json.loads(json.dumps(fields))  # Keys that are numbers become texts, which sort differently.
    write_whole(path, json.dumps({**plain, DIGEST: _digest(plain)}, indent=indent) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Return what ``write_json`` wrote. Raises ``CorruptArtefact`` if it is damaged, and ``OSError``."""
    try:
        fields = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CorruptArtefact(f"{path} is damaged: {error}") from None
    if not isinstance(fields, dict) or not fields:
        raise CorruptArtefact(f"{path} is damaged: it holds no JSON object")
    digest = fields.pop(DIGEST, None)
    if digest is not None and digest != _digest(fields):
        raise CorruptArtefact(f"{path} is damaged: its {DIGEST} does not match its content")
    return fields


def write_yaml(path: Path, text: str) -> None:
    """Write a YAML text below a comment with its digest, atomically."""
    write_whole(path, f"# sha256 of the lines below: {hashlib.sha256(text.encode()).hexdigest()}\n{text}")


def verify_yaml(path: Path) -> None:
    """Check what ``write_yaml`` wrote. Raises ``CorruptArtefact`` if it is damaged or empty, and ``OSError``."""
    content = path.read_bytes()
    if not content.strip():
        raise CorruptArtefact(f"{path} is damaged: it is empty")
    line = _DIGEST_LINE.match(content)
    if line is None and not (b"\0" in content or any(word in content for word in _DIGEST_WORDS)):
        return  # Of an earlier version.
    if line is None or hashlib.sha256(content[line.end() :]).hexdigest().encode() != line[1]:
        raise CorruptArtefact(f"{path} is damaged: its digest does not match its content")


def put_aside(path: Path) -> Path:
    """Rename a damaged file, so that it counts as absent, and return its new path."""
    return path.rename(path.with_name(f"{path.name}{BROKEN}"))


def _digest(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
