"""What is wrong with an experiment file, in words: from pydantic's errors to place, key and remedy."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from autoopt.search.experiment.yaml_file import Document, Where
from autoopt.search.space.strategy_choice import BadStrategies
from autoopt.strategies.errors import did_you_mean

SECRET = (("storage",), ("tracking",))
"""Sections whose values may hold a password, and are never repeated."""


def complaints(error: ValidationError, document: Document, model: type[BaseModel]) -> Iterator[str]:
    """Yield a line for each mistake: ``FILE:LINE: data.splitt: unknown key; did you mean 'split'?``"""
    for mistake in error.errors(include_url=False):
        where: Where = mistake["loc"]
        cause = mistake.get("ctx", {}).get("error")
        if isinstance(cause, BadStrategies):
            for inner, problem in cause.mistakes:
                yield f"{document.place((*where, *inner))}: {_dotted((*where, *inner[:1]))}{problem}"
            continue
        yield f"{document.place(where)}: {_dotted(where)}{_words(mistake, where, model)}"


def _words(mistake: Any, where: Where, model: type[BaseModel]) -> str:
    context = mistake.get("ctx", {})
    given = "something else" if where[:1] in SECRET else _shown(mistake["input"])
    match mistake["type"]:
        case "extra_forbidden":
            keys = list(_model_at(model, where[:-1]).model_fields)
            return f"unknown key{did_you_mean(str(where[-1]), keys)}; keys here are {', '.join(keys)}"
        case "missing":
            return "missing; add this key"
        case "literal_error":
            return f"{given} is not allowed; choose {context['expected']}"
        case "value_error":
            return str(context["error"])
        case "greater_than_equal":
            return f"{given} is too small; the least is {context['ge']}"
        case "less_than_equal":
            return f"{given} is too large; the most is {context['le']}"
        case kind if kind in _EXPECTED:
            return f"expected {_EXPECTED[kind]}, got {given}"
        case _:
            return f"{mistake['msg']}, got {given}"


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


def _model_at(model: type[BaseModel], where: Where) -> type[BaseModel]:
    for key in where:
        annotation: Any = model.model_fields[str(key)].annotation
        inner = [annotation, *typing.get_args(annotation)]
        model = next(item for item in inner if isinstance(item, type) and issubclass(item, BaseModel))
    return model


def _dotted(where: Where) -> str:
    return f"{'.'.join(map(str, where))}: " if where else ""


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."
