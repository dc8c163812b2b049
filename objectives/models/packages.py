"""Files inside installed packages, written ``package://name/path`` and found without importing the package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from autoopt.strategies.errors import AutooptError, DataError, did_you_mean

PREFIX = "package://"


def locate(address: str, *, error: type[AutooptError] = DataError) -> Path:
    """Return the file or folder that ``package://name/path`` means.

    Nothing of the package is run. Raises ``error`` where the package is not installed, where nothing is at the path,
    or where the path leads out of the package.
    """
    name, _, inner = address.removeprefix(PREFIX).partition("/")
    if not name.isidentifier() or not inner:
        raise error(f"'{address}' is no address in a package; write package://NAME/PATH with the import name")
    spec = importlib.util.find_spec(name)  # For a name without dots, this imports nothing.
    if spec is None or not spec.submodule_search_locations:
        raise error(
            f"{address}: the package '{name}' is not installed; 'pip install {name.replace('_', '-')}' may help"
        )
    for root in map(Path, spec.submodule_search_locations):
        found = (root / inner).resolve()
        if not found.is_relative_to(root.resolve()):
            raise error(f"{address} leads out of the package '{name}'; a path in a package stays inside it")
        if found.exists():
            return found
    root = Path(next(iter(spec.submodule_search_locations)))
    raise error(f"{address}: {_what_is_there(root, inner)}")


def _what_is_there(root: Path, inner: str) -> str:
    folder = root
    for part in inner.split("/"):
        if not (folder / part).exists():
            names = sorted(path.name for path in folder.iterdir() if not path.name.startswith(("_", ".")))
            listed = ", ".join(names[:20]) or "nothing"
            return f"there is no '{part}' in {folder}{did_you_mean(part, names)}; it holds {listed}"
        folder = folder / part
    return "nothing is there"
