from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from autoopt.search.backends import mlflow_serving
from autoopt.search.backends.mlflow_client import prepare_environment
from autoopt.search.backends.mlflow_packaging import carry_code, requirements
from autoopt.search.backends.mlflow_serving import predict, texts_of
from autoopt.strategies import saving
from autoopt.strategies.errors import UsageError
from tests import tiny
from tests.places import ROOT


@pytest.mark.parametrize(
    "model_input",
    [
        pd.DataFrame({"id": [1, 2], "text": ["one", "two"]}),
        {"text": ["one", "two"]},
        [{"text": "one"}, {"text": "two"}],
        ["one", "two"],
        pd.Series(["one", "two"]),
    ],
    ids=["table", "columns", "rows", "strings", "series"],
)
def test_texts_come_in_several_forms(model_input: Any) -> None:
    assert texts_of(model_input) == ["one", "two"]


def test_one_string_is_one_text_and_no_text_is_none() -> None:
    assert texts_of("one") == ["one"]
    assert texts_of([]) == []


def test_pairs_are_pairs() -> None:
    table = pd.DataFrame({"text": ["one", "two"], "text_pair": ["eins", "zwei"]})
    assert texts_of(table) == [("one", "eins"), ("two", "zwei")]


def test_a_table_without_texts_is_told_what_it_needs() -> None:
    with pytest.raises(UsageError, match=r"has the columns \['sentence'\]; it needs a column 'text'"):
        texts_of(pd.DataFrame({"sentence": ["one"]}))


def test_half_a_pair_is_refused() -> None:
    with pytest.raises(UsageError, match="row 1 has no 'text_pair'; give one to every row, or to none"):
        texts_of(pd.DataFrame({"text": ["one", "two"], "text_pair": ["eins", None]}))
    assert texts_of(pd.DataFrame({"text": ["one", "two"], "text_pair": [None, float("nan")]})) == ["one", "two"]


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT, "", "  \n"])
def test_a_missing_text_is_refused_with_its_row_and_never_predicted(missing: Any) -> None:
    for model_input in (
        pd.DataFrame({"text": pd.Series(["one", missing], dtype=object)}),
        pd.DataFrame({"text": pd.Series(["one", missing], dtype=object)}, index=[0, 1]),
        {"text": ["one", missing]},
        [{"text": "one"}, {"text": missing}],
        ["one", missing],
    ):
        with pytest.raises(UsageError, match=r"^row 1 has no 'text'; give one to every row$"):
            texts_of(model_input)
    with pytest.raises(UsageError, match=r"^row 1 \(index 'b'\) has no 'text'"):
        texts_of(pd.DataFrame({"text": pd.Series(["one", missing], dtype=object, index=["a", "b"])}))


def test_a_column_that_is_misspelt_in_some_rows_or_beside_the_texts_is_noticed() -> None:
    with pytest.raises(UsageError, match="row 1 has no 'text'"):
        texts_of([{"text": "one"}, {"txt": "two"}])
    with pytest.raises(UsageError, match="the input has the column 'text_pari'; did you mean 'text_pair'"):
        texts_of(pd.DataFrame({"text": ["one"], "text_pari": ["eins"]}))


@pytest.mark.parametrize("cell", [5, 0.5, True, ["one", "two"], {"a": 1}, b"one"])
def test_what_is_no_text_is_refused_with_its_kind(cell: Any) -> None:
    for model_input in (["one", cell], {"text": pd.Series(["one", cell], dtype=object)}):
        if isinstance(cell, dict) and isinstance(model_input, list):
            continue
        with pytest.raises(UsageError, match=rf"row 1: 'text' is .* \({type(cell).__name__}\), no text; give a string"):
            texts_of(model_input)


def test_answers_have_the_index_of_the_input() -> None:
    candidate = tiny.candidate()
    table = pd.DataFrame({"text": ["chelsea won", "shares fell"]}, index=["b", "a"])
    answers = predict(candidate, table)
    assert list(answers.index) == ["b", "a"]
    assert table.join(answers)["label"].tolist() == predict(candidate, list(table["text"]))["label"].tolist()
    assert list(predict(candidate, table["text"]).index) == ["b", "a"]
    assert list(predict(candidate, ["chelsea won"]).index) == [0]


def test_a_model_is_served_without_autoopt_by_the_code_that_came_with_it(tmp_path: Path) -> None:
    """Loaded as MLflow loads it, by a Python that finds no autoopt but the one beside the model."""
    saving.save(tiny.candidate(), tmp_path / "candidate")
    packed = pack(tmp_path / "candidate", tmp_path)
    program = (
        "import sys, warnings; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f)]\n"
        f"sys.path = [p for p in sys.path if 'editable' not in p and p not in ('', {str(ROOT)!r})]\n"
        "import importlib.util; assert importlib.util.find_spec('autoopt') is None\n"
        "import mlflow.pyfunc\n"
        f"model = mlflow.pyfunc.load_model({str(packed)!r})\n"
        "print(model.predict(['chelsea won'])['label'][0])\n"
        "import autoopt.strategies; print(autoopt.strategies.__file__)\n"
        "print(sorted(name for name in ('ray', 'optuna') if name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    label, origin, vendors = done.stdout.splitlines()
    assert label == predict(tiny.candidate(), ["chelsea won"])["label"][0]
    assert Path(origin).is_relative_to(packed)
    assert vendors == "[]"


@pytest.mark.slow
def test_an_installed_autoopt_is_used_instead_of_the_code_that_came_along(tmp_path: Path) -> None:
    saving.save(tiny.candidate(), tmp_path / "candidate")
    packed = pack(tmp_path / "candidate", tmp_path)
    program = (
        "import sys, mlflow.pyfunc\n"
        f"model = mlflow.pyfunc.load_model({str(packed)!r})\n"
        "import autoopt.strategies, autoopt.search; print(autoopt.strategies.__file__)\n"
        f"print([path for path in sys.path if path.startswith({str(packed)!r})])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    origin, carried = done.stdout.splitlines()
    assert not Path(origin).is_relative_to(packed)
    assert carried == "[]"


def test_a_model_that_the_first_version_registered_still_loads(tmp_path: Path) -> None:
    prepare_environment()
    import mlflow.pyfunc

    saving.save(tiny.candidate(), tmp_path / "candidate")
    code = tmp_path / "mlflow_serving.py"
    code.write_text((Path(__file__).parent / "first_mlflow_serving.txt").read_text(encoding="utf-8"), encoding="utf-8")
    artifacts = {"candidate": str(tmp_path / "candidate")}
    mlflow.pyfunc.save_model(
        path=str(tmp_path / "model"), python_model=str(code), artifacts=artifacts, pip_requirements=["autoopt"]
    )
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert model.predict(["chelsea won"]).equals(predict(tiny.candidate(), ["chelsea won"]))


def test_the_requirements_name_every_package_that_serving_imports(tmp_path: Path) -> None:
    """Of each task, in a fresh process; what transformers and MLflow require themselves comes with them."""
    program = (
        "import ast, sys\n"
        "from autoopt.objectives.tasks import find_task, tasks\n"
        "from autoopt.strategies import saving\n"
        "[find_task(name) for name in tasks()]\n"
        "names = set()\n"
        "for name, module in list(sys.modules.items()):\n"
        "    if name.startswith('autoopt.') and getattr(module, '__file__', None):\n"
        "        for node in ast.walk(ast.parse(open(module.__file__).read())):\n"
        "            if isinstance(node, ast.Import): names |= {item.name for item in node.names}\n"
        "            if isinstance(node, ast.ImportFrom) and node.module: names.add(node.module)\n"
        "names = {name.split('.')[0] for name in names}\n"
        "print(' '.join(sorted(names - set(sys.stdlib_module_names) - {'autoopt'})))\n"
    )
    imported = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    listed = {item.partition("==")[0] for item in requirements()}
    comes_along = {"huggingface_hub", "tokenizers", "jinja2"}  # With transformers and torch.
    for_training_alone = {"gguf", "pyarrow", "datasets", "scipy", "peft", "sentencepiece"}
    assert set(imported) - listed - comes_along <= for_training_alone


def pack(candidate: Path, folder: Path) -> Path:
    prepare_environment()
    import mlflow.pyfunc

    mlflow.pyfunc.save_model(
        path=str(folder / "packed"),
        python_model=mlflow_serving.__file__,
        code_paths=[str(carry_code(folder))],
        artifacts={"candidate": str(candidate)},
        pip_requirements=requirements(),
    )
    return folder / "packed"


def test_importing_the_code_of_the_served_model_loads_nothing_heavy() -> None:
    program = (
        "import sys, autoopt.search.backends.mlflow_serving; "
        "print([name for name in ('mlflow', 'torch', 'transformers', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
