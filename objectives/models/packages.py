"""Files inside installed packages, addressed as ``package://name/path``; the package is not imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from autoopt.strategies.errors import AutooptError, DataError, did_you_mean

PREFIX = "package://"


def locate(address: str, *, error: type[AutooptError] = DataError) -> Path:
    """Return the file or folder at ``package://name/path``, without running code of the package.

    Raises ``error`` if the package is not installed, or if the path does not exist or leads out of the package.
    """
    name, _, inner = address.removeprefix(PREFIX).partition("/")
    if not name.isidentifier() or not inner:
        raise error(
            f"'{address}' is not the address of a file in a package; write package://NAME/PATH with the import name"
        )
    spec = importlib.util.find_spec(name)  # For a name without dots, this imports nothing.
    if spec is None or not spec.submodule_search_locations:
        raise error(
            f"{address}: the package '{name}' is not installed; 'pip install --no-deps {name.replace('_', '-')}' may "
            "help"
        )
    for root in map(Path, spec.submodule_search_locations):
        path = (root / inner).resolve()
        if not path.is_relative_to(root.resolve()):
            raise error(f"{address} leads out of the package '{name}'; a path in a package stays inside it")
        if path.exists():
            return path
    root = Path(next(iter(spec.submodule_search_locations)))
    raise error(f"{address}: {_nearest_names(root, inner)}")


def _nearest_names(root: Path, inner: str) -> str:
    folder = root
    for part in inner.split("/"):
        if not (folder / part).exists():
            names = sorted(path.name for path in folder.iterdir() if not path.name.startswith(("_", ".")))
            listed = ", ".join(names[:20]) or "nothing"
            return f"there is no '{part}' in {folder}{did_you_mean(part, names)}; it holds {listed}"
        folder = folder / part
    return "nothing is there"
