"""Outputs of a model for examples, held in memory for the next one that needs the same."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from autoopt.strategies.system.digests import tensor_digest

Recording = TypeVar("Recording")

MAX_RECORDINGS = 4
"""Number of recordings of a kind that are held."""


class Recordings(Generic[Recording]):
    """The recordings of one kind that were used last, by the model's weights and the examples."""

    def __init__(self, *, max_numbers: int) -> None:
        self.max_numbers = max_numbers
        """Largest recording that is held, in numbers."""
        self._held: OrderedDict[str, Recording] = OrderedDict()

    def get(
        self,
        model: Any,
        features: Sequence[Mapping[str, Any]],
        record: Callable[[], Recording],
        *,
        size: Callable[[Recording], int],
    ) -> Recording:
        """Return what ``record`` returned for the same model and examples, or does now; ``size`` counts its numbers."""
        key = _key(model, features)
        if key not in self._held:
            recording = record()
            if size(recording) > self.max_numbers:
                return recording
            self._held[key] = recording
            while len(self._held) > MAX_RECORDINGS:
                self._held.popitem(last=False)
        self._held.move_to_end(key)
        return self._held[key]

    def clear(self) -> None:
        """Forget all recordings."""
        self._held.clear()

    def __len__(self) -> int:
        return len(self._held)


def _key(model: Any, features: Sequence[Mapping[str, Any]]) -> str:
    """Return a digest of the architecture, the weights and the examples."""
    total = hashlib.sha256(f"{type(model).__qualname__} {model.config.to_json_string()}".encode())
    total.update(tensor_digest(model.state_dict().items()).encode())
    for item in features:
        total.update(json.dumps([(name, item[name]) for name in sorted(item)], default=str).encode())
    return total.hexdigest()
