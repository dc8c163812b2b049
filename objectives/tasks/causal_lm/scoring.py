"""How likely a model holds a text to be: scores from rows (loss in nats, tokens predicted, bytes that these stand for).

All are of the mean loss, over tokens or over bytes. Perplexity and bits per byte are lower where the model is better;
the quality that a search maximizes is the same turned round, the geometric mean of the probabilities.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOSS, TOKENS, BYTES = range(3)
MOST = 700.0
"""In nats: a mean loss above it counts as this much, since its exponential is more than a number can hold."""


def perplexity(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """The exponential of the mean loss of a token: among how many tokens the model is as good as guessing."""
    import numpy as np

    return np.exp(_mean_loss(distinct, counts, TOKENS))  # type: ignore[no-any-return]


def token_probability(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """1 / perplexity: the geometric mean of the probabilities of all tokens."""
    import numpy as np

    return np.exp(-_mean_loss(distinct, counts, TOKENS))  # type: ignore[no-any-return]


def bits_per_byte(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """The mean loss of a byte in bits, which models with different tokenizers can be compared by."""
    return _mean_loss(distinct, counts, BYTES) / math.log(2)


def byte_probability(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """2 to the power of less the bits per byte: the geometric mean of the probabilities of all bytes."""
    import numpy as np

    return np.exp(-_mean_loss(distinct, counts, BYTES))  # type: ignore[no-any-return]


def _mean_loss(distinct: NDArray[Any], counts: NDArray[Any], unit: int) -> NDArray[Any]:
    """Of a sample without a single token: that of all rows."""
    import numpy as np

    loss, units = (counts @ distinct[:, [LOSS, unit]].astype("float64")).T
    every, of_all = distinct[:, [LOSS, unit]].sum(axis=0)
    otherwise = np.full(len(counts), every / max(of_all, 1))
    return np.minimum(np.divide(loss, units, out=otherwise, where=units > 0), MOST)  # type: ignore[no-any-return]
