"""Base class of the strategies that put a student in place of the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoopt.strategies.strategy import Strategy


class Student(Strategy):
    """Its result reads texts by itself and is kept in the stage store."""

    replaces = True

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:
        from autoopt.strategies.students.text_model import empty_student

        return empty_student(model, edit)

    @classmethod
    def is_stored(cls) -> bool:
        return True
