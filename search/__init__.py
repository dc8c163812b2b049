"""How we look: the only layer that knows Ray, Optuna, MLflow and click.

``search``, ``open_study``, ``load_model`` and ``SearchResult`` of ``autoopt.search.api`` can be imported from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoopt.search.api import LoadedModel, SearchResult, load_model, open_study, search

__all__ = ["LoadedModel", "SearchResult", "load_model", "open_study", "search"]


def __getattr__(name: str) -> Any:
    """Import the API when it is first used, so that this package itself imports nothing."""
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from autoopt.search import api

    return getattr(api, name)
