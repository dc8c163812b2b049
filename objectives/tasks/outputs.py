"""Outputs of models as NumPy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autoopt.strategies.errors import Diverged

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check_finite(output: NDArray[Any]) -> NDArray[Any]:
    """Return the output. Raises ``Diverged`` if a value of it is not finite."""
    import numpy as np

    if not np.isfinite(output).all():
        raise Diverged("the model's output is not finite; a lower learning rate may help")
    return output


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Return probabilities over the last axis."""
    import numpy as np

    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]
