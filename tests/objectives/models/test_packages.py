from __future__ import annotations

import sys
from pathlib import Path

import pytest

from autoopt.objectives.models.packages import locate
from autoopt.strategies.errors import DataError, ModelError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that fails when it is imported."""
    root = tmp_path / "site" / "shelf_of_texts"
    (root / "data").mkdir(parents=True)
    (root / "__init__.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    (root / "data" / "rows.csv").write_text("text,label\n", encoding="utf-8")
    (tmp_path / "site" / "secret.csv").write_text("text,label\n", encoding="utf-8")
    (root / "out").symlink_to(tmp_path / "site" / "secret.csv")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return root


def test_a_file_of_a_package_is_found_without_importing_the_package(package: Path) -> None:
    assert locate("package://shelf_of_texts/data/rows.csv") == package / "data" / "rows.csv"
    assert "shelf_of_texts" not in sys.modules


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("package://shelf_of_texts/../secret.csv", "leads out of the package 'shelf_of_texts'"),
        ("package://shelf_of_texts//etc/passwd", "leads out of the package"),
        ("package://shelf_of_texts/out", "leads out of the package"),
        ("package://shelf_of_texts/data/row.csv", r"there is no 'row.csv' in .*; did you mean 'rows.csv'\?"),
        ("package://shelf_of_texts/dat/rows.csv", r"there is no 'dat' in .*; did you mean 'data'\?"),
        (
            "package://no_such_shelf/data",
            "no_such_shelf' is not installed; 'pip install --no-deps no-such-shelf' may help",
        ),
        ("package://shelf_of_texts", "write package://NAME/PATH"),
        ("package://../x", "write package://NAME/PATH"),
        ("package://os.path/x", "write package://NAME/PATH"),
    ],
)
def test_an_address_that_leads_nowhere_or_outside_is_refused(package: Path, address: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        locate(address)


def test_the_error_is_of_the_kind_that_the_caller_asks_for() -> None:
    with pytest.raises(ModelError, match="is not installed"):
        locate("package://no_such_shelf/model", error=ModelError)
