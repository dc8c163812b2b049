"""Package a saved candidate as an MLflow model: its folder, the code that serves it, its requirements. No pickle."""

from __future__ import annotations

import importlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from autoopt.objectives.tasks import find_task
from autoopt.search.backends import mlflow_serving
from autoopt.strategies.catalog import find
from autoopt.strategies.saving import describe
from autoopt.strategies.serving import is_student

_REQUIRED = ("torch", "transformers", "safetensors", "mlflow", "filelock", "numpy", "pandas", "pydantic")
_REQUIRED_BY_STUDENTS = ("tokenizers", "safetensors", "mlflow", "filelock", "numpy", "pandas", "pydantic")
"""What answers if a student replaced the network."""
_CARRIED = ("strategies", "objectives")
"""Packages of autoopt that come along as code, since no package index has them."""


def upload_candidate(
    client: Any, experiment_id: str, run_id: str, folder: Path, *, name: str, tags: dict[str, str]
) -> str:
    """Upload the folder as a model of the run and return the model's id. The caller marks it READY."""
    logged = client.create_logged_model(experiment_id, name=name, source_run_id=run_id, tags=tags)
    with tempfile.TemporaryDirectory() as work:
        packed = Path(work) / "model"
        _pack(folder, packed, logged, run_id, code=carry_code(Path(work)))
        client.log_model_artifacts(logged.model_id, str(packed))
    return str(logged.model_id)


def requirements(edits: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """Return what a machine that serves a model with these edits must install, at the versions installed here.

    autoopt itself comes along with the model. Local version labels such as ``+cpu`` are removed, since package indices
    do not have them.
    """
    packages = sorted({package for edit in edits for package in find(edit["strategy"]).packages})
    required = _REQUIRED_BY_STUDENTS if is_student(edits) else _REQUIRED
    return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in (*required, *packages)]


def carry_code(folder: Path) -> Path:
    """Copy what serves a model into the package ``autoopt`` in this folder, and return the package's folder."""
    for name in _CARRIED:
        source = Path(importlib.import_module(f"autoopt.{name}").__path__[0])
        shutil.copytree(source, folder / "autoopt" / name, ignore=shutil.ignore_patterns("__pycache__", "*.md", ".*"))
    return folder / "autoopt"


def _pack(folder: Path, packed: Path, logged: Any, run_id: str, *, code: Path) -> None:
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model

    mlflow.pyfunc.save_model(
        path=str(packed),
        python_model=mlflow_serving.__file__,
        code_paths=[str(code)],
        artifacts={mlflow_serving.ARTIFACT: str(folder)},
        signature=_signature(),
        input_example=pd.DataFrame([find_task(describe(folder)["task"]["name"]).sample_input()]),
        # MLflow would load the model to infer them, which is slow and misses torch.
        pip_requirements=requirements(describe(folder)["edits"]),
        mlflow_model=Model(
            artifact_path=logged.artifact_location,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
            run_id=run_id,
        ),
    )


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    # Without inputs: MLflow would turn a list of strings into a nameless column and refuse it.
    return ModelSignature(
        outputs=Schema([ColSpec("string", "label"), ColSpec("double", "score")]),
        params=ParamSchema([ParamSpec(mlflow_serving.PROBABILITIES, "boolean", False)]),
    )
