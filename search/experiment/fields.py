"""Types of the experiment's values, with their parsing, serialization and JSON schema."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import PurePath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, PlainSerializer, WithJsonSchema

from autoopt.objectives import units
from autoopt.objectives.judging.budget import Limit, metric_name, metrics, other_names
from autoopt.strategies.errors import UsageError

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_T = TypeVar("_T")


class Section(BaseModel):
    """A frozen section of the experiment; it refuses unknown keys and values of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def as_validator(parse: Callable[[Any], _T]) -> Callable[[Any], _T]:
    """Return ``parse`` as a pydantic validator: its ``UsageError`` is collected with the place of the value."""

    def parsed(value: Any) -> _T:
        try:
            return parse(value)
        except UsageError as error:
            raise ValueError(str(error)) from None

    return parsed


def _study_name(value: Any) -> str:
    if isinstance(value, bool | int | float):
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        kind = "true or false" if isinstance(value, bool) else "a number"
        raise ValueError(f'{shown} is {kind}, and the name of a study is text; put it in quotes: study: "{shown}"')
    if not isinstance(value, str) or not re.fullmatch(NAME, value) or ".." in value:
        raise ValueError(
            f"{value!r:.80} cannot name a study; use up to 128 letters, digits, '.', '_' and '-', beginning with a "
            "letter or digit, without '..'"
        )
    return value


def _duration(value: Any) -> float:
    seconds = units.parse_quantity(value, units.DURATION)
    if seconds == 0:
        raise ValueError("a search needs more than 0 seconds; leave the key out for no limit")
    return seconds


def _model_names(value: Any) -> str | tuple[str, ...]:
    """Return one name as text and several as a tuple."""
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"expected the name of a model, or a list of names, got {value!r:.80}")
    if not names or not all(name.strip() for name in names):
        raise ValueError("it names no model; give a folder, package://NAME/PATH or a name on the Hub")
    paths = [PurePath(name) for name in names]
    if repeated := [name for name, path in zip(names, paths, strict=True) if paths.count(path) > 1]:
        raise ValueError(f"'{repeated[0]}' is listed twice; list each model once")
    return names[0] if len(names) == 1 else tuple(names)


def _gpus(value: Any) -> float | str:
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"expected a number of GPUs such as 0, 0.5 or 1, or auto, got {value!r:.80}")
    return float(value)


def _limit(value: Any) -> Limit:
    return value if isinstance(value, Limit) else Limit.parse(value)


StudyName = Annotated[str, BeforeValidator(_study_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"})]
ModelNames = Annotated[
    str | tuple[str, ...],
    BeforeValidator(_model_names),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
            ],
            "description": "a folder, package://NAME/PATH or a name on the Hub, or a list of them",
        }
    ),
]
Duration = Annotated[
    float,
    BeforeValidator(as_validator(_duration)),
    PlainSerializer(lambda seconds: f"{seconds:.12g}s", return_type=str),
    WithJsonSchema({"type": "string", "description": "a duration such as 90s, 10m or 2h"}),
]
"""In seconds."""
TrialTimeout = Annotated[
    float | Literal["auto", "none"],
    BeforeValidator(as_validator(lambda value: value if value in ("auto", "none") else _duration(value))),
    PlainSerializer(lambda value: f"{value:.12g}s" if isinstance(value, float) else value, return_type=str),
    WithJsonSchema({"type": "string", "description": "'auto', 'none', or a duration such as 90s, 10m or 2h"}),
]
"""In seconds, unless it is a word."""
Size = Annotated[
    float,
    BeforeValidator(as_validator(lambda value: units.parse_quantity(value, units.SIZE))),
    PlainSerializer(lambda size: f"{size:.12g}B", return_type=str),
    WithJsonSchema({"type": "string", "description": "a size such as 500MB or 20GB"}),
]
"""In bytes."""
BudgetLimit = Annotated[
    InstanceOf[Limit],
    BeforeValidator(as_validator(_limit)),
    PlainSerializer(lambda limit: limit.text, return_type=str),
    WithJsonSchema(
        {"type": "string", "description": "a limit such as 'latency_p50 <= 12ms' or 'quality >= 0.99 * baseline'"}
    ),
]
ObjectiveName = Annotated[
    str,
    BeforeValidator(as_validator(lambda value: metric_name(str(value)))),
    WithJsonSchema({"enum": [*metrics(), *other_names()]}),
]
Gpus = Annotated[
    float | Literal["auto"],
    BeforeValidator(_gpus),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"const": "auto"}]}),
]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[
    float,
    BeforeValidator(as_validator(lambda value: units.parse_quantity(value, units.SHARE))),
    WithJsonSchema({"type": ["number", "string"], "description": "a share such as 0.05 or 5%"}),
]
