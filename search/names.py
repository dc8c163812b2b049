"""References to registered models: ``bbc-news@champion``, ``bbc-news/3``, or ``bbc-news`` for its champion."""

from __future__ import annotations

import re
from dataclasses import dataclass

from autoopt.strategies.errors import UsageError

CHAMPION = "champion"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class ModelReference:
    """A version of a registered model, by alias or by number."""

    name: str
    alias: str = CHAMPION
    version: int | None = None
    """Version number if written as ``name/3``; takes precedence over the alias."""

    @classmethod
    def parse(cls, text: str) -> ModelReference:
        """Parse one of the three forms; raises ``UsageError``."""
        if "@" in text:
            name, _, alias = text.partition("@")
            return cls(check_name(name, "model"), check_name(alias, "alias"))
        name, slash, version = text.partition("/")
        if not slash:
            return cls(check_name(name, "model"))
        if not _VERSION.fullmatch(version):
            raise UsageError(
                f"'{version}' in '{text}' is not a version; write name@alias, or name/3 with a version number"
            )
        return cls(check_name(name, "model"), version=int(version))

    def __str__(self) -> str:
        return f"{self.name}@{self.alias}" if self.version is None else f"{self.name}/{self.version}"


def check_name(name: str, what: str) -> str:
    """Return ``name`` if it is safe in paths, URLs and queries; raises ``UsageError`` otherwise."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a valid {what} name: use 1 to 128 letters, digits, '.', '_' and '-', "
            "with a letter or digit first"
        )
    return name
