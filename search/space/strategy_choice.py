"""The settings of a strategy in an experiment file: fixed values, and knobs that are narrowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, assert_never

from pydantic import ValidationError

from autoopt.objectives.data.sources import path_exists
from autoopt.objectives.file_formats import is_data_file
from autoopt.objectives.models import packages
from autoopt.strategies.catalog import catalog, find
from autoopt.strategies.errors import UnknownStrategy, UsageError, did_you_mean
from autoopt.strategies.knobs import Choice, Float, Int, Knob, KnobValue
from autoopt.strategies.strategy import Strategy

MAX_CACHED = 1000
"""Number of built instances of a strategy that are cached."""
SWITCHED_OFF = "switched off in the experiment file"
"""Why a strategy is not offered that the experiment excludes."""
BOUNDS = frozenset({"low", "high"})


class InvalidSetting(UsageError):
    """Raised for an invalid setting of a strategy; ``key`` names it, or is empty."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(problem)
        self.key = key


class InvalidStrategies(ValueError):
    """Raised for mistakes under ``strategies``: the path of keys and the problem of each."""

    def __init__(self, mistakes: Sequence[tuple[tuple[str, ...], str]]) -> None:
        super().__init__("; ".join(problem for _, problem in mistakes))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True)
class StrategyChoice:
    """A strategy that the search may use, with its fixed and its searched values."""

    strategy: type[Strategy]
    fixed: Mapping[str, Any]
    """Settings and knobs with a single value."""
    searched: Mapping[str, Knob]
    """The other knobs, with their ranges or options."""

    @cached_property
    def parameters(self) -> Mapping[str, tuple[str, Knob]]:
        """The name of the parameter, ``strategy.field``, and the knob of each searched field."""
        return {field: (f"{self.strategy.name}.{field}", knob) for field, knob in self.searched.items()}

    def build(self, values: Mapping[str, KnobValue]) -> Strategy:
        """Return the strategy with these values for the searched knobs; the rest keep their defaults."""
        return self._build(tuple(values.items()))

    @cached_property
    def _build(self) -> Callable[[tuple[tuple[str, KnobValue], ...]], Strategy]:
        """Cached, since each proposal builds about a thousand instances, most of them repeatedly."""
        return lru_cache(MAX_CACHED)(lambda values: self.strategy.model_validate({**self.fixed, **dict(values)}))

    def without(self, field: str, option: KnobValue | None) -> StrategyChoice:
        """Return the choice that does not search this option of a knob; unchanged if nothing else would be left."""
        knob = self.searched.get(field)
        left = [other for other in knob.options if other != option] if isinstance(knob, Choice) else []
        if not left or not isinstance(knob, Choice) or len(left) == len(knob.options):
            return self
        if len(left) > 1:
            return replace(self, searched={**self.searched, field: Choice(*left)})
        searched = {name: other for name, other in self.searched.items() if name != field}
        return replace(self, fixed={**self.fixed, field: left[0]}, searched=searched)

    def nearest(self, values: Mapping[str, KnobValue] | None = None) -> Strategy:
        """Return the strategy with these values or its defaults, each moved to the nearest searched value."""
        fields = self.strategy.model_fields
        targets = {name: (values or {}).get(name, fields[name].get_default()) for name in self.searched}
        return self.build({name: _nearest(targets[name], knob) for name, knob in self.searched.items()})


def choose_all(strategies: Mapping[str, Any]) -> dict[str, StrategyChoice]:
    """Parse the section ``strategies``; the order is the catalog's. Raises ``InvalidStrategies`` with every mistake."""
    choices: dict[str, StrategyChoice] = {}
    mistakes: list[tuple[tuple[str, ...], str]] = []
    for name, settings in strategies.items():
        try:
            strategy = find(name)
            if not isinstance(settings, bool | Mapping):
                raise InvalidSetting("", f"expected true, false or settings, got {_shown(settings)}")
            if settings is not False:
                choices[name] = choose(strategy, {} if settings is True else settings)
        except UnknownStrategy as error:
            mistakes.append(((name,), str(error)))
        except InvalidSetting as error:
            mistakes.append(((name, error.key) if error.key else (name,), str(error)))
    if mistakes:
        raise InvalidStrategies(mistakes)
    if not choices:
        raise InvalidStrategies([((), "no strategy is enabled; set at least one to true")])
    return {name: choices[name] for name in catalog() if name in choices}


def choose(strategy: type[Strategy], settings: Mapping[str, Any]) -> StrategyChoice:
    """Parse the settings of one strategy. Raises ``InvalidSetting``, which lists the legal values."""
    fields, knobs = strategy.model_fields, strategy.knobs()
    fixed: dict[str, Any] = {}
    searched = dict(knobs)
    for key, value in settings.items():
        if key not in fields:
            listed = ", ".join(fields) or "none"
            raise InvalidSetting(
                key, f"'{key}' is not a setting of {strategy.name}{did_you_mean(key, fields)}; it has {listed}"
            )
        if key in strategy.former_knobs and isinstance(value, Mapping | list):
            continue
        if key not in knobs:
            fixed[key] = value
        elif isinstance(value, Mapping | list):
            searched[key] = _parse_narrowed(key, knobs[key], value)
        else:
            # A field with bounds of its own takes any value within them; pydantic checks those below.
            has_bounds = any(hasattr(note, "le") or hasattr(note, "lt") for note in fields[key].metadata)
            fixed[key] = value if has_bounds and _is_number(value) else _parse_fixed(key, knobs[key], value)
            del searched[key]
    _validate(strategy, fixed)
    for key in strategy.reads & {name for name, value in fixed.items() if value}:
        _check_source(key, fixed[key])
    for key in [key for key, knob in searched.items() if len(_values(knob)) == 1]:
        fixed[key] = _values(searched.pop(key))[0]
    return StrategyChoice(strategy, fixed, searched)


def legal_values(knob: Knob) -> str:
    """Describe the legal values of a knob."""
    if isinstance(knob, Choice):
        return "one of " + ", ".join(_shown(option) for option in knob.options)
    kind = "a whole number" if isinstance(knob, Int) else "a number"
    step = f" in steps of {knob.step}" if isinstance(knob, Int) and knob.step > 1 and not knob.log else ""
    return f"{kind} from {knob.low} to {knob.high}{step}"


def knob_json(knob: Knob) -> dict[str, object]:
    """Return the type of a knob and its options or its range."""
    match knob:
        case Choice():
            return {"type": "choice", "options": list(knob.options)}
        case Int():
            return {"type": "int", "low": knob.low, "high": knob.high, "step": knob.step, "log": knob.log}
        case Float():
            return {"type": "float", "low": knob.low, "high": knob.high, "log": knob.log}
        case _:
            assert_never(knob)


def _parse_fixed(key: str, knob: Knob, value: Any) -> KnobValue:
    if value in knob or _between_options(knob, value):
        return value  # type: ignore[no-any-return]
    words = legal_values(knob)
    if numbers := _numbers(knob):
        words += f", or a number from {min(numbers)} to {max(numbers)}"
    raise InvalidSetting(key, f"{key}: {_shown(value)} is not legal; use {words}")


def _check_source(key: str, name: str) -> None:
    """Raise ``InvalidSetting`` if ``name`` is neither a path, nor can be a name in a package or on the Hub."""
    is_hub_name = re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", name) and not is_data_file(name)
    if not (path_exists(Path(name)) or name.startswith(packages.PREFIX) or is_hub_name):
        raise InvalidSetting(key, f"{key}: there is no file or folder '{name}'; correct the path")


def _parse_narrowed(key: str, knob: Knob, value: Any) -> Knob:
    if isinstance(value, list):
        if not value:
            raise InvalidSetting(key, f"{key}: an empty list leaves nothing to search; use {legal_values(knob)}")
        options = [_parse_fixed(key, knob, option) for option in value]
        if len(set(options)) < len(options):
            raise InvalidSetting(key, f"{key}: a value is listed twice; list each once")
        return Choice(*options)
    if set(value) != BOUNDS:
        raise InvalidSetting(key, f"{key}: a range is written {{low: …, high: …}}; got {', '.join(value) or 'nothing'}")
    if isinstance(knob, Choice) and not _numbers(knob):
        raise InvalidSetting(key, f"{key} has no range; list some of its values: {legal_values(knob)}")
    low, high = _parse_fixed(key, knob, value["low"]), _parse_fixed(key, knob, value["high"])
    if not (_is_number(low) and _is_number(high)):
        raise InvalidSetting(key, f"{key}: a range lies between two numbers; got {_shown(low)} and {_shown(high)}")
    if low > high:  # type: ignore[operator]
        raise InvalidSetting(key, f"{key}: low {low} is above high {high}; swap them")
    return _narrow(key, knob, low, high)


def _narrow(key: str, knob: Knob, low: Any, high: Any) -> Knob:
    match knob:
        case Int():
            return Int(low, high, step=knob.step, log=knob.log)
        case Float():
            return Float(float(low), float(high), log=knob.log)
        case Choice():
            options = [option for option in _numbers(knob) if low <= option <= high]
            if not options:
                raise InvalidSetting(key, f"{key}: no value lies from {low} to {high}; use {legal_values(knob)}")
            return Choice(*options)


def _validate(strategy: type[Strategy], fixed: Mapping[str, Any]) -> None:
    """Validate the fixed values by the types of the strategy's fields."""
    try:
        strategy.model_validate(dict(fixed))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=True)[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        got = f", got {_shown(first['input'])}" if first["loc"] else ""
        raise InvalidSetting(key, f"{key}: {first['msg']}{got}" if key else first["msg"]) from None


def _numbers(knob: Knob) -> list[int | float]:
    """Return the numbers among the options of a choice, which may have names beside them, such as ``auto``."""
    options = knob.options if isinstance(knob, Choice) else ()
    return [option for option in options if _is_number(option)]  # type: ignore[misc]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _between_options(knob: Knob, value: Any) -> bool:
    """Whether a fixed value lies within a numeric grid; the grid only serves to share work between recipes."""
    numbers = _numbers(knob)
    return bool(numbers) and _is_number(value) and bool(min(numbers) <= value <= max(numbers))


def _values(knob: Knob) -> list[KnobValue]:
    """Return the only value of a knob, or at least two of several."""
    if isinstance(knob, Choice):
        return list(knob.options)
    return [knob.low] if knob.low == knob.high else [knob.low, knob.high]


def _nearest(default: Any, knob: Knob) -> KnobValue:
    if default in knob:
        return default  # type: ignore[no-any-return]
    match knob:
        case Choice() if _numbers(knob) and isinstance(default, int | float):
            return min(_numbers(knob), key=lambda option: abs(option - default))
        case Choice():
            return knob.options[0]
        case Int():
            inside = max(knob.low, min(knob.high, default))
            step = 1 if knob.log else knob.step
            return int(knob.low + (inside - knob.low) // step * step)
        case Float():
            return float(max(knob.low, min(knob.high, default)))


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else repr(value)
