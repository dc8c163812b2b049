"""Secrets of an experiment: ``${ENV:NAME}`` in addresses, and no password in the file."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import quote

from autoopt.strategies.errors import ExperimentError

_VARIABLE = re.compile(r"\$\{ENV:([A-Za-z_][A-Za-z0-9_]*)\}")
_PASSWORD = re.compile(r"://[^:/@]*:(.+)@|[?&](?:password|passwd|pwd)=([^&]*)")


def refuse_password(value: Any) -> Any:
    """Return the value; raise ``ValueError`` if it is an address that holds a password.

    A password in the file would be copied to the study's folder and to the tracking server.
    """
    match = _PASSWORD.search(value) if isinstance(value, str) else None
    if match and not _VARIABLE.fullmatch(match[1] or match[2]):
        raise ValueError("the address holds a password; write ${ENV:NAME} in its place and set the variable NAME")
    return value


def check_address(value: Any) -> Any:
    """Return the value; raise ``ValueError`` for a text that is not an address, or is one with a password."""
    if isinstance(value, str) and not re.match(r"[a-z][a-z0-9+]*://|\$\{ENV:", value):
        raise ValueError(f"'{value}' is no address; write one such as postgresql://user:${{ENV:PASSWORD}}@host/name")
    return refuse_password(value)


def expand_variables(text: str, *, key: str) -> str:
    """Replace each ``${ENV:NAME}`` by the value of the environment variable.

    The value is percent-encoded as part of an address, unless the variable is the whole text. Raises
    ``ExperimentError`` with ``key`` if a variable is not set.
    """
    is_whole_text = _VARIABLE.fullmatch(text) is not None

    def value_of(match: re.Match[str]) -> str:
        value = os.environ.get(match[1])
        if not value:
            raise ExperimentError(f"{key}: the environment variable {match[1]} is not set; set it before the command")
        return value if is_whole_text else quote(value, safe="")

    return _VARIABLE.sub(value_of, text)
