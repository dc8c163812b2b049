"""Errors of an experiment file as text: from pydantic's errors to place, key and remedy."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from autoopt.search.experiment.yaml_file import Document, KeyPath
from autoopt.search.space.strategy_choice import InvalidStrategies
from autoopt.strategies.errors import did_you_mean

SECRET_SECTIONS = ("storage", "tracking")
"""Sections whose values may hold a password, and are never repeated."""


def error_lines(error: ValidationError, document: Document, model: type[BaseModel]) -> Iterator[str]:
    """Yield a line for each error: ``FILE:LINE: data.splitt: unknown key; did you mean 'split'?``"""
    for details in error.errors(include_url=False):
        keys: KeyPath = details["loc"]
        cause = details.get("ctx", {}).get("error")
        if isinstance(cause, InvalidStrategies):
            for inner, problem in cause.mistakes:
                yield f"{document.place((*keys, *inner))}: {_prefix((*keys, *inner[:1]))}{problem}"
            continue
        yield f"{document.place(keys)}: {_prefix(keys)}{_message(details, keys, model)}"


def _message(details: Any, keys: KeyPath, model: type[BaseModel]) -> str:
    context = details.get("ctx", {})
    value = "something else" if keys and keys[0] in SECRET_SECTIONS else _shown(details["input"])
    match details["type"]:
        case "extra_forbidden":
            allowed = list(_model_at(model, keys[:-1]).model_fields)
            return f"unknown key{did_you_mean(str(keys[-1]), allowed)}; keys here are {', '.join(allowed)}"
        case "missing":
            return "missing; add this key"
        case "literal_error":
            return f"{value} is not allowed; choose {context['expected']}"
        case "value_error":
            return str(context["error"])
        case "greater_than_equal":
            return f"{value} is too small; the least is {context['ge']}"
        case "less_than_equal":
            return f"{value} is too large; the most is {context['le']}"
        case kind if kind in _EXPECTED:
            return f"expected {_EXPECTED[kind]}, got {value}"
        case _:
            return f"{details['msg']}, got {value}"


_EXPECTED = types.MappingProxyType(
    {
        "int_type": "a whole number",
        "float_type": "a number",
        "string_type": "text",
        "bool_type": "true or false",
        "model_type": "a section with keys of its own",
        "dict_type": "a section with keys of its own",
        "tuple_type": "a list",
        "too_short": "at least one entry",
        "finite_number": "a finite number",
    }
)


def _model_at(model: type[BaseModel], keys: KeyPath) -> type[BaseModel]:
    for key in keys:
        annotation: Any = model.model_fields[str(key)].annotation
        options = [annotation, *typing.get_args(annotation)]
        model = next(option for option in options if isinstance(option, type) and issubclass(option, BaseModel))
    return model


def _prefix(keys: KeyPath) -> str:
    return f"{'.'.join(map(str, keys))}: " if keys else ""


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."
