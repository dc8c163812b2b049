"""Gaussian process and ridge models over encoded recipes, and the expected hypervolume improvement of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray

Parameters: TypeAlias = "Mapping[str, Any]"
"""Values of a recipe by parameter name, as the space describes it; inactive parameters are absent."""
Array: TypeAlias = "NDArray[Any]"

JITTER = 1e-6
SCALES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Candidate inverse length scales; the one of highest likelihood is used."""
NOISES = (1e-4, 1e-2, 0.05, 0.2)
"""Candidate noise variances, as shares of the variance of the values."""
RIDGE = 0.3
"""Regularization strength: noise variance over the prior variance of a weight."""
UNKNOWN, ABSENT = -2, -1
"""Index of a value that is not in the encoding, and of a parameter that is inactive in a recipe."""
MAX_GRID = 16
"""Largest number of distinct numeric values that the ridge model treats as a grid."""


@dataclass(frozen=True)
class Encoding:
    """Encodes parameters as rows of value indices, between which distances are meaningful."""

    names: tuple[str, ...]
    numeric: tuple[bool, ...]
    values: Mapping[str, tuple[Any, ...]]
    """Distinct values by parameter name; numbers in ascending order."""

    @classmethod
    def of(cls, recipes: Sequence[Parameters]) -> Encoding:
        """Build the encoding that covers every parameter and value of these recipes."""
        distinct: dict[str, set[Any]] = {}
        for parameters in recipes:
            for name, value in parameters.items():
                distinct.setdefault(name, set()).add(value)
        names = tuple(sorted(distinct))
        numeric = tuple(
            all(isinstance(value, int | float) and not isinstance(value, bool) for value in distinct[name])
            for name in names
        )
        values = {
            name: tuple(sorted(distinct[name]) if is_number else sorted(distinct[name], key=repr))
            for name, is_number in zip(names, numeric, strict=True)
        }
        return cls(names, numeric, values)

    def only(self, selects: Callable[[str], bool]) -> tuple[Encoding, Array]:
        """Return the encoding restricted to the selected parameters, and the indices of their columns."""
        import numpy as np

        columns = [column for column, name in enumerate(self.names) if selects(name)]
        names = tuple(self.names[column] for column in columns)
        numeric = tuple(self.numeric[column] for column in columns)
        return Encoding(names, numeric, {name: self.values[name] for name in names}), np.array(columns, dtype=int)

    def rows(self, recipes: Sequence[Parameters]) -> Array:
        """Return (recipes, parameters): the index of each value in ``values``, ``ABSENT`` or ``UNKNOWN``."""
        import numpy as np

        rows: Array = np.empty((len(recipes), len(self.names)))
        for column, name in enumerate(self.names):
            indices = {value: index for index, value in enumerate(self.values[name])}
            rows[:, column] = [indices.get(recipe[name], UNKNOWN) if name in recipe else ABSENT for recipe in recipes]
        return rows

    def features(self, rows: Array) -> Array:
        """Return (recipes, features) for the ridge model: categorical values one-hot, numeric grids scaled to [0, 1].

        Numeric parameters with more than ``MAX_GRID`` values are left out: a linear term fits them poorly.
        """
        import numpy as np

        columns: list[Array] = [np.zeros((len(rows), 0))]
        for column, name in enumerate(self.names):
            index, count = rows[:, [column]], len(self.values[name])
            if not self.numeric[column] or count <= 2:
                columns.append(index == np.arange(-1, count))
            elif count <= MAX_GRID:
                columns += [index < 0, np.maximum(0.0, index / (count - 1))]
        features: Array = np.concatenate(columns, axis=1, dtype=float)
        return features

    def distances(self, first: Array, second: Array) -> Array:
        """Return the distances by parameter, (parameters, rows of first, rows of second), each in [0, 1].

        Numbers differ by the distance of their indices over the largest possible one. Categorical values, and a
        parameter that is inactive in one of the two rows, differ by 0 or 1.
        """
        import numpy as np

        distances: Array = np.empty((len(self.names), len(first), len(second)))
        for column in range(len(self.names)):
            # Looked up by pairs of indices: there are hundreds of recipes, but only a handful of values.
            a, b = ((rows[:, column] - UNKNOWN).astype(int) for rows in (first, second))
            np.take(self._index_distances(column)[:, b], a, axis=0, out=distances[column], mode="clip")
        return distances

    def _index_distances(self, column: int) -> Array:
        """Return the distances between all indices of a parameter, (indices, indices), starting at ``UNKNOWN``."""
        import numpy as np

        count = len(self.values[self.names[column]])
        a, b = np.arange(UNKNOWN, count)[:, None], np.arange(UNKNOWN, count)[None, :]
        differ: Array = (a != b).astype(float)
        if self.numeric[column] and count > 2:
            return np.where((a >= 0) & (b >= 0), np.abs(a - b) / (count - 1), differ)
        return differ


def weighted_sum(distances: Array, weights: Array) -> Array:
    """Combine distances by parameter, (parameters, rows, rows), into one distance, (rows, rows)."""
    import numpy as np

    total: Array = np.tensordot(weights, distances, axes=1)
    return total


def relevance(distances: Array, values: Array) -> Array:
    """Return the weight of each parameter, (parameters,), with mean 1 and at least a tenth of the mean.

    The weight is the slope of the squared difference of two values over their distance in the parameter, across all
    pairs of rows. ``distances`` is (parameters, rows, rows).
    """
    import numpy as np

    pairs = max(1, len(values) * (len(values) - 1))
    # The diagonal is included for speed: it is zero and changes none of the sums.
    flat = distances.reshape(len(distances), len(values) ** 2)
    change = ((values[:, None] - values[None, :]) ** 2).ravel()
    mean = flat.sum(1) / pairs
    covariance = flat @ change - mean * change.sum()
    slope = np.maximum(0.0, covariance) / (np.einsum("ij,ij->i", flat, flat) - pairs * mean**2 + 1e-9)
    if not slope.any():
        return np.ones(len(slope))
    slope = np.maximum(slope, 0.1 * slope.mean())
    weights: Array = slope / slope.mean()
    return weights


class RidgeModel:
    """Linear model with an intercept, fitted by ridge regression in its dual form."""

    def __init__(self, features: Array, values: Array) -> None:
        """Fit (rows, features) to (rows,) values."""
        import numpy as np

        self.mean = float(values.mean())
        inverse = np.linalg.inv(features @ features.T + RIDGE * np.eye(len(values)))
        dual = inverse @ (values - self.mean)
        self._weights = features.T @ dual
        self.loo_residuals: Array = dual / np.diag(inverse)
        """Leave-one-out residuals, (rows,)."""

    def predict(self, features: Array) -> Array:
        """Return the predictions, (recipes,), for (recipes, features)."""
        predictions: Array = self.mean + features @ self._weights
        return predictions


@dataclass(frozen=True)
class Posterior:
    """Predictive mean and standard deviation of one value, each (recipes,)."""

    mean: Array
    std: Array


class GaussianProcess:
    """Gaussian process with the kernel exp(-scale * weighted distance); a Hamming kernel if nothing is numeric."""

    def __init__(self, distances: Array, values: Array) -> None:
        """Fit to (rows,) values with distances (parameters, rows, rows), by maximum likelihood."""
        import numpy as np
        from scipy.linalg import cho_solve

        self.mean, self.std = float(values.mean()), float(values.std()) or 1.0
        standardized = (values - self.mean) / self.std
        self.weights = relevance(distances, standardized)
        total = weighted_sum(distances, self.weights)
        best = -np.inf
        for scale in SCALES:
            kernel = np.exp(-scale * total)
            for noise in NOISES:
                root = np.linalg.cholesky(kernel + (noise + JITTER) * np.eye(len(standardized)))
                solved = cho_solve((root, True), standardized, check_finite=False)
                likelihood = -0.5 * standardized @ solved - np.log(np.diag(root)).sum()
                if likelihood > best:
                    best, self.scale, self._root, self._solved = likelihood, scale, root, solved

    @cached_property
    def loo_residuals(self) -> Array:
        """Leave-one-out residuals, (rows,)."""
        import numpy as np
        from scipy.linalg import solve_triangular

        inverse_root = solve_triangular(self._root, np.eye(len(self._root)), lower=True)
        residuals: Array = self.std * self._solved / (inverse_root**2).sum(0)
        return residuals

    def predict(self, distances: Array) -> Posterior:
        """Return the posterior of recipes with distances (parameters, recipes, rows) to the fitted rows."""
        import numpy as np
        from scipy.linalg import solve_triangular

        kernel = np.exp(-self.scale * weighted_sum(distances, self.weights))
        mean = kernel @ self._solved
        reduced = solve_triangular(self._root, kernel.T, lower=True)
        variance = np.maximum(1e-9, 1.0 - (reduced**2).sum(0))
        return Posterior(self.mean + self.std * mean, self.std * np.sqrt(variance))


def expected_hypervolume_improvement(front: Array, reference: Array, first: Posterior, second: Posterior) -> Array:
    """Return the expected gain in hypervolume of two minimized values, (recipes,).

    ``front`` is (points, 2) without dominated points; ``reference`` is the reference point, (2,). Exact for two
    independent normal values (Emmerich et al. 2011): the plane is cut into strips between neighbours of the front.
    """
    import numpy as np

    inside = front[(front < reference).all(1)]
    ordered = inside[np.argsort(inside[:, 0])]
    lefts = np.concatenate([[-np.inf], ordered[:, 0]])
    rights = np.concatenate([ordered[:, 0], [reference[0]]])
    tops = np.concatenate([[reference[1]], ordered[:, 1]])
    gain = np.zeros(len(first.mean))
    for left, right, top in zip(lefts, rights, tops, strict=True):
        width = _expected_shortfall(right, first) - (_expected_shortfall(left, first) if np.isfinite(left) else 0.0)
        gain += width * _expected_shortfall(top, second)
    return gain


def _expected_shortfall(limit: float, posterior: Posterior) -> Array:
    """Return E[max(0, limit - value)], (recipes,)."""
    from scipy.stats import norm

    z = (limit - posterior.mean) / posterior.std
    shortfall: Array = posterior.std * (z * norm.cdf(z) + norm.pdf(z))
    return shortfall


def probability_below(limit: float, posterior: Posterior) -> Array:
    """Return P(value <= limit), (recipes,)."""
    from scipy.stats import norm

    probability: Array = norm.cdf((limit - posterior.mean) / posterior.std)
    return probability
