"""The code with which MLflow serves a registered model: it loads the saved candidate beside it and predicts.

MLflow copies this file into every model and runs the copy ("models from code"), so no pickle is needed. The serving
machine needs autoopt and MLflow, but neither Ray nor Optuna.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.strategies.errors import UsageError

if TYPE_CHECKING:
    from autoopt.strategies.candidate import Candidate

IS_SERVED = not __name__.startswith("autoopt.")
"""Whether MLflow runs its copy, which has another name; a regular import must have no effect."""

if TYPE_CHECKING or IS_SERVED:
    import pandas as pd  # MLflow resolves the type hints of ``predict`` here, and warns if it cannot.

ARTIFACT = "candidate"
"""Name of the saved candidate among the model's artifacts."""
PROBABILITIES = "probabilities"
"""Name of the parameter that requests the probability of every label."""


def predict(candidate: Candidate, model_input: Any, *, probabilities: bool = False) -> pd.DataFrame:
    """Return one row per text, in order: ``label``, ``score``, and on request ``probabilities`` by label.

    ``model_input`` is a table with a column ``text`` and optionally ``text_pair``, or a list of strings.
    """
    import pandas as pd

    task: Any = candidate.task
    answers = task.predict(candidate, texts_of(model_input))
    columns = {name: [answer[name] for answer in answers] for name in ("label", "score")}
    if probabilities:
        columns[PROBABILITIES] = [answer.get("scores", {}) for answer in answers]
    return pd.DataFrame(columns)


def texts_of(model_input: Any) -> list[str | tuple[str, str]]:
    """Parse MLflow's input: a table, a mapping of columns, rows, or strings. Raises ``UsageError``."""
    import pandas as pd

    if not isinstance(model_input, pd.DataFrame | dict):
        model_input = [model_input] if isinstance(model_input, str) else list(model_input)
        if all(isinstance(row, str) for row in model_input):
            model_input = {"text": model_input}
    table = pd.DataFrame(model_input)
    if "text" not in table.columns:
        raise UsageError(
            f"the input has the columns {list(map(str, table.columns))}; it needs a column 'text', and 'text_pair' for "
            "pairs; a list of strings is accepted as well"
        )
    texts = [str(text) for text in table["text"]]
    if "text_pair" not in table.columns or table["text_pair"].isna().all():
        return list(texts)
    if table["text_pair"].isna().any():
        raise UsageError(
            f"row {table['text_pair'].isna().argmax()} has no 'text_pair'; give one to every row, or to none"
        )
    return list(zip(texts, map(str, table["text_pair"]), strict=True))


def served_model() -> Any:
    """Return the ``mlflow.pyfunc.PythonModel`` that serves a saved candidate."""
    from mlflow.pyfunc import PythonModel

    class ServedCandidate(PythonModel):  # type: ignore[misc]
        """Loads the candidate once, then predicts."""

        def load_context(self, context: Any) -> None:
            from autoopt.objectives.tasks import open_task
            from autoopt.strategies import saving

            self.candidate = saving.load(Path(context.artifacts[ARTIFACT]), open_task=open_task)

        def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:  # noqa: ARG002
            return predict(self.candidate, model_input, probabilities=bool((params or {}).get(PROBABILITIES)))

    return ServedCandidate()


if IS_SERVED:
    from mlflow.models import set_model

    set_model(served_model())
