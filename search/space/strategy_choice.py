"""What an experiment file may say of a strategy: its settings, and knobs that are fixed or narrowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from autoopt.objectives.data.sources import path_exists
from autoopt.objectives.file_formats import is_data_file
from autoopt.objectives.models import packages
from autoopt.strategies.catalog import catalog, find
from autoopt.strategies.errors import UnknownStrategy, UsageError, did_you_mean
from autoopt.strategies.knobs import Choice, Float, Int, Knob, KnobValue
from autoopt.strategies.strategy import Strategy

BUILT = 1000
"""So many of a strategy's combinations of values are remembered as built."""
BOUNDS = frozenset({"low", "high"})


class BadSetting(UsageError):
    """A setting of a strategy is wrong; ``key`` says which, or is empty."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(problem)
        self.key = key


class BadStrategies(ValueError):
    """What is wrong under ``strategies``: for each mistake the keys that lead to it, and the problem."""

    def __init__(self, mistakes: Sequence[tuple[tuple[str, ...], str]]) -> None:
        super().__init__("; ".join(problem for _, problem in mistakes))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True)
class StrategyChoice:
    """A strategy that the search may use, with what is fixed and what is searched."""

    strategy: type[Strategy]
    fixed: Mapping[str, Any]
    """Settings and knobs that have one value."""
    searched: Mapping[str, Knob]
    """The other knobs, with where they are searched."""

    def build(self, values: Mapping[str, KnobValue]) -> Strategy:
        """Return the strategy with these values for the searched knobs; the rest keep their defaults."""
        return self._build(tuple(values.items()))

    @cached_property
    def _build(self) -> Callable[[tuple[tuple[str, KnobValue], ...]], Strategy]:
        """Remembers what was built: each proposal builds some thousand, most of them again and again."""
        return lru_cache(BUILT)(lambda values: self.strategy.model_validate({**self.fixed, **dict(values)}))

    def nearest(self, wanted: Mapping[str, KnobValue] | None = None) -> Strategy:
        """Return the strategy with its defaults, or the values wanted, each moved to the nearest one searched."""
        fields = self.strategy.model_fields
        values = {name: (wanted or {}).get(name, fields[name].get_default()) for name in self.searched}
        return self.build({name: _nearest(values[name], knob) for name, knob in self.searched.items()})


def choose_all(given: Mapping[str, Any]) -> dict[str, StrategyChoice]:
    """Return the strategies that are used, in the order of the catalog. Raises ``BadStrategies`` with every mistake."""
    chosen: dict[str, StrategyChoice] = {}
    mistakes: list[tuple[tuple[str, ...], str]] = []
    for name, settings in given.items():
        try:
            strategy = find(name)
            if not isinstance(settings, bool | Mapping):
                raise BadSetting("", f"expected true, false or settings, got {_shown(settings)}")
            if settings is not False:
                chosen[name] = choose(strategy, {} if settings is True else settings)
        except UnknownStrategy as error:
            mistakes.append(((name,), str(error)))
        except BadSetting as error:
            mistakes.append(((name, error.key) if error.key else (name,), str(error)))
    if mistakes:
        raise BadStrategies(mistakes)
    if not chosen:
        raise BadStrategies([((), "no strategy is left to search; set at least one to true")])
    return {name: chosen[name] for name in catalog() if name in chosen}


def choose(strategy: type[Strategy], settings: Mapping[str, Any]) -> StrategyChoice:
    """Read the settings of one strategy. Raises ``BadSetting`` with what is legal."""
    fields, knobs = strategy.model_fields, strategy.knobs()
    fixed: dict[str, Any] = {}
    searched = dict(knobs)
    for key, value in settings.items():
        if key not in fields:
            listed = ", ".join(fields) or "none"
            raise BadSetting(
                key, f"'{key}' is no setting of {strategy.name}{did_you_mean(key, fields)}; it has {listed}"
            )
        if key not in knobs:
            fixed[key] = value
        elif isinstance(value, Mapping | list):
            searched[key] = _narrowed(key, knobs[key], value)
        else:
            fixed[key] = _fixed(key, knobs[key], value)
            del searched[key]
    _check(strategy, fixed)
    for key in strategy.reads & {name for name, value in fixed.items() if value}:
        _present(key, fixed[key])
    for key in [key for key, knob in searched.items() if len(_values(knob)) == 1]:
        fixed[key] = _values(searched.pop(key))[0]
    return StrategyChoice(strategy, fixed, searched)


def legal(knob: Knob) -> str:
    """What a knob may be, in words."""
    if isinstance(knob, Choice):
        return "one of " + ", ".join(_shown(option) for option in knob.options)
    kind = "a whole number" if isinstance(knob, Int) else "a number"
    step = f" in steps of {knob.step}" if isinstance(knob, Int) and knob.step > 1 and not knob.log else ""
    return f"{kind} from {knob.low} to {knob.high}{step}"


def _fixed(key: str, knob: Knob, value: Any) -> KnobValue:
    if value in knob or _between_options(knob, value):
        return value  # type: ignore[no-any-return]
    words = legal(knob)
    if isinstance(knob, Choice) and _numeric(knob):
        words += f", or a number from {min(knob.options)} to {max(knob.options)}"
    raise BadSetting(key, f"{key}: {_shown(value)} is not legal; it is {words}")


def _present(key: str, name: str) -> None:
    """Raise ``BadSetting`` where ``name`` is no file or folder and cannot be a name in a package or on a hub."""
    of_hub = re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", name) and not is_data_file(name)
    if not (path_exists(Path(name)) or name.startswith(packages.PREFIX) or of_hub):
        raise BadSetting(key, f"{key}: there is no file or folder '{name}'; correct the path")


def _narrowed(key: str, knob: Knob, value: Any) -> Knob:
    if isinstance(value, list):
        if not value:
            raise BadSetting(key, f"{key}: an empty list leaves nothing to search; it is {legal(knob)}")
        options = [_fixed(key, knob, option) for option in value]
        if len(set(options)) < len(options):
            raise BadSetting(key, f"{key}: a value is listed twice; list each once")
        return Choice(*options)
    if set(value) != BOUNDS:
        raise BadSetting(
            key, f"{key}: a range is written {{low: …, high: …}}; it was given {', '.join(value) or 'nothing'}"
        )
    if isinstance(knob, Choice) and not _numeric(knob):
        raise BadSetting(key, f"{key} has no range; list some of its values: it is {legal(knob)}")
    low, high = _fixed(key, knob, value["low"]), _fixed(key, knob, value["high"])
    if low > high:  # type: ignore[operator]
        raise BadSetting(key, f"{key}: low {low} is above high {high}; swap them")
    return _between(key, knob, low, high)


def _between(key: str, knob: Knob, low: Any, high: Any) -> Knob:
    match knob:
        case Int():
            return Int(low, high, step=knob.step, log=knob.log)
        case Float():
            return Float(float(low), float(high), log=knob.log)
        case Choice():
            options = [option for option in knob.options if low <= option <= high]
            if not options:
                raise BadSetting(key, f"{key}: nothing lies from {low} to {high}; it is {legal(knob)}")
            return Choice(*options)


def _check(strategy: type[Strategy], fixed: Mapping[str, Any]) -> None:
    """The strategy's own types have the last word."""
    try:
        strategy.model_validate(dict(fixed))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=True)[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        given = f", got {_shown(first['input'])}" if first["loc"] else ""
        raise BadSetting(key, f"{key}: {first['msg']}{given}" if key else first["msg"]) from None


def _numeric(knob: Knob) -> bool:
    options = knob.options if isinstance(knob, Choice) else ()
    return all(isinstance(option, int | float) and not isinstance(option, bool) for option in options)


def _between_options(knob: Knob, value: Any) -> bool:
    """A grid is for sharing work between recipes; a value that a person fixes need not lie on it."""
    if not isinstance(knob, Choice) or not _numeric(knob):
        return False
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return min(knob.options) <= value <= max(knob.options)  # type: ignore[operator]


def _values(knob: Knob) -> list[KnobValue]:
    """All values of a knob that has one only; else any two."""
    if isinstance(knob, Choice):
        return list(knob.options)
    return [knob.low] if knob.low == knob.high else [knob.low, knob.high]


def _nearest(default: Any, knob: Knob) -> KnobValue:
    if default in knob:
        return default  # type: ignore[no-any-return]
    match knob:
        case Choice() if _numeric(knob) and isinstance(default, int | float):
            return min(knob.options, key=lambda option: abs(option - default))  # type: ignore[operator]
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
