"""Likelihood scores of texts, from rows of (loss in nats, tokens predicted, bytes of text that these stand for).

Each is a function of the mean loss per token or per byte. Perplexity and bits per byte are better lower; the quality
that a search maximizes is their inverse, the geometric mean of the probabilities.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOSS, TOKENS, BYTES = range(3)
"""Columns of an outcome."""
MAX_LOSS = 700.0
"""In nats: a higher mean loss is cut to this, since its exponential would overflow."""


def perplexity(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return the exponential of the mean loss per token."""
    import numpy as np

    return np.exp(_mean_loss(distinct, counts, TOKENS))  # type: ignore[no-any-return]


def token_probability(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return 1 / perplexity: the geometric mean of the probabilities of all tokens."""
    import numpy as np

    return np.exp(-_mean_loss(distinct, counts, TOKENS))  # type: ignore[no-any-return]


def bits_per_byte(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return the mean loss per byte in bits, which is comparable between models with different tokenizers."""
    return _mean_loss(distinct, counts, BYTES) / math.log(2)


def byte_probability(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return 2 ** -bits_per_byte: the geometric mean of the probabilities of all bytes."""
    import numpy as np

    return np.exp(-_mean_loss(distinct, counts, BYTES))  # type: ignore[no-any-return]


def _mean_loss(distinct: NDArray[Any], counts: NDArray[Any], unit: int) -> NDArray[Any]:
    """Return the loss per unit of each sample; for a sample without any unit that of all rows."""
    import numpy as np

    loss, units = (counts @ distinct[:, [LOSS, unit]].astype("float64")).T
    total_loss, total_units = distinct[:, [LOSS, unit]].sum(axis=0)
    default = np.full(len(counts), total_loss / max(total_units, 1))
    return np.minimum(np.divide(loss, units, out=default, where=units > 0), MAX_LOSS)  # type: ignore[no-any-return]
