"""The code with which MLflow serves a registered model: it loads the saved candidate beside it and predicts.

MLflow copies this file into every model and runs the copy ("models from code"), so no pickle is needed. The parts of
autoopt that it imports come along in the folder ``code``, so the serving machine needs no autoopt; where one is
installed, that one is used. Neither Ray nor Optuna is needed.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autoopt.strategies.candidate import Candidate

IS_SERVED = not __name__.startswith("autoopt.")
"""Whether MLflow runs its copy, which has another name; a regular import must have no effect."""

if TYPE_CHECKING or IS_SERVED:
    import pandas as pd  # MLflow resolves the type hints of ``predict`` here, and warns if it cannot.

CODE = "code"
"""Folder beside the copy of this file that holds ``autoopt``; MLflow puts it in front of the search path."""

ARTIFACT = "candidate"
"""Name of the saved candidate among the model's artifacts."""
PROBABILITIES = "probabilities"
"""Name of the parameter that requests the probability of every label."""


_TEXT, _TEXT_PAIR = "text", "text_pair"


def predict(candidate: Candidate, model_input: Any, *, probabilities: bool = False) -> pd.DataFrame:
    """Return one row per text, in order: ``label``, ``score``, and on request ``probabilities`` by label.

    ``model_input`` is a table with a column ``text`` and optionally ``text_pair``, whose index is kept, or a list of
    strings. Raises ``UsageError`` with the row of what is no text; a row is never answered without one.
    """
    import pandas as pd

    from autoopt.strategies.system import measurement_gate

    task: Any = candidate.task
    with measurement_gate.serving():
        answers = task.predict(candidate, texts_of(model_input))
    columns = {name: [answer[name] for answer in answers] for name in ("label", "score")}
    if probabilities:
        columns[PROBABILITIES] = [answer.get("scores", {}) for answer in answers]
    return pd.DataFrame(columns, index=model_input.index if isinstance(model_input, pd.DataFrame | pd.Series) else None)


def texts_of(model_input: Any) -> list[str | tuple[str, str]]:
    """Parse MLflow's input: a table, a mapping of columns, rows, or strings. Raises ``UsageError``."""
    import pandas as pd

    if isinstance(model_input, str):
        model_input = [model_input]
    if not isinstance(model_input, pd.DataFrame | dict):
        rows = list(model_input)
        is_table = any(isinstance(row, dict) for row in rows)
        model_input = pd.DataFrame(rows) if is_table else pd.DataFrame({_TEXT: pd.Series(rows, dtype=object)})
    table = pd.DataFrame(model_input)
    _check_columns(table.columns)
    texts = _column(table, _TEXT)
    # A column without any value, as a form may send it, is no second text.
    if _TEXT_PAIR not in table.columns or all(map(_is_missing, table[_TEXT_PAIR])):
        return list(texts)
    return list(zip(texts, _column(table, _TEXT_PAIR), strict=True))


def _check_columns(columns: Sequence[Any]) -> None:
    from autoopt.strategies.errors import UsageError, did_you_mean

    if _TEXT not in columns:
        raise UsageError(
            f"the input has the columns {list(map(str, columns))}; it needs a column 'text', and 'text_pair' for "
            "pairs; a list of strings is accepted as well"
        )
    similar = (str(name) for name in columns if abs(len(str(name)) - len(_TEXT_PAIR)) <= 2)
    misspelt = [name for name in similar if did_you_mean(name, [_TEXT_PAIR])]
    if misspelt and _TEXT_PAIR not in columns:
        raise UsageError(f"the input has the column '{misspelt[0]}'; did you mean '{_TEXT_PAIR}'?")


def _column(table: pd.DataFrame, name: str) -> list[str]:
    from autoopt.strategies.errors import UsageError

    for number, (label, value) in enumerate(table[name].items()):
        place = f"row {number}" if label == number else f"row {number} (index {label!r:.40})"
        if _is_missing(value):
            raise UsageError(f"{place} has no '{name}'; give one to every row" + (", or to none" * (name != _TEXT)))
        if not isinstance(value, str):
            raise UsageError(f"{place}: '{name}' is {value!r:.60} ({type(value).__name__}), no text; give a string")
    return [str(value) for value in table[name]]


def _is_missing(value: Any) -> bool:
    """Return whether a cell has no text: None, NaN, pandas' NA, or blanks."""
    if isinstance(value, str):
        return not value.strip()
    return (
        value is None
        or type(value).__name__ in ("NAType", "NaTType")
        or (isinstance(value, float) and math.isnan(value))
    )


def prefer_installed_package(code: Path) -> None:
    """Take the carried code off the search path where autoopt is installed: one process must not mix two versions."""
    if str(code) not in sys.path:
        return
    sys.path.remove(str(code))
    if not _is_installed():
        sys.path.append(str(code))
    importlib.invalidate_caches()


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec("autoopt.strategies") is not None
    except ModuleNotFoundError:
        return False


def served_model() -> Any:
    """Return the ``mlflow.pyfunc.PythonModel`` that serves a saved candidate."""
    from mlflow.pyfunc import PythonModel

    class ServedCandidate(PythonModel):  # type: ignore[misc]
        """Loads the candidate once, then predicts."""

        def load_context(self, context: Any) -> None:
            from autoopt.objectives.tasks import open_task
            from autoopt.strategies.serving import load_for_serving

            self.candidate = load_for_serving(Path(context.artifacts[ARTIFACT]), open_task=open_task)

        def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:  # noqa: ARG002
            from mlflow.exceptions import MlflowException

            from autoopt.strategies.errors import AutooptError

            try:
                return predict(self.candidate, model_input, probabilities=bool((params or {}).get(PROBABILITIES)))
            except AutooptError as error:  # MLflow's server shows the message of its own errors alone.
                raise MlflowException.invalid_parameter_value(str(error)) from error

    return ServedCandidate()


if IS_SERVED:
    from mlflow.models import set_model

    prefer_installed_package(Path(__file__).parent / CODE)

    set_model(served_model())
