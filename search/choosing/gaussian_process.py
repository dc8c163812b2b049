"""A Gaussian process over recipes, and what trying one is expected to add to the front. Not here: the study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray

Parameters: TypeAlias = "Mapping[str, Any]"
"""A recipe as the space describes it: values by parameter; a parameter that does not apply is absent."""
Array: TypeAlias = "NDArray[Any]"

JITTER = 1e-6
SCALES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""By which a distance of 1 in one parameter is multiplied; the likeliest one is taken."""
NOISES = (1e-4, 1e-2, 0.05, 0.2)
"""Variances of the noise, as shares of the values' variance."""
RIDGE = 0.3
"""How strongly the parts of a sum are pulled to nothing, as the variance of the noise over that of a part."""
UNKNOWN, ABSENT = -2, -1
"""Places of a value that did not occur, and of a parameter that a recipe does not have."""
GRID = 16
"""So many numbers at most are taken for a grid."""


@dataclass(frozen=True)
class Encoding:
    """Parameters as rows of numbers between which distances mean something."""

    names: tuple[str, ...]
    numeric: tuple[bool, ...]
    values: Mapping[str, tuple[Any, ...]]
    """By parameter the values that occur, in order where they are numbers."""

    @classmethod
    def of(cls, observed: Sequence[Parameters]) -> Encoding:
        """What all these recipes together have."""
        found: dict[str, set[Any]] = {}
        for parameters in observed:
            for name, value in parameters.items():
                found.setdefault(name, set()).add(value)
        names = tuple(sorted(found))
        numeric = tuple(
            all(isinstance(value, int | float) and not isinstance(value, bool) for value in found[name])
            for name in names
        )
        values = {
            name: tuple(sorted(found[name]) if is_number else sorted(found[name], key=repr))
            for name, is_number in zip(names, numeric, strict=True)
        }
        return cls(names, numeric, values)

    def only(self, kept: Callable[[str], bool]) -> tuple[Encoding, Array]:
        """The encoding of some parameters alone, and their columns."""
        import numpy as np

        columns = [column for column, name in enumerate(self.names) if kept(name)]
        names = tuple(self.names[column] for column in columns)
        numeric = tuple(self.numeric[column] for column in columns)
        return Encoding(names, numeric, {name: self.values[name] for name in names}), np.array(columns, dtype=int)

    def rows(self, recipes: Sequence[Parameters]) -> Array:
        """(recipes, parameters): the place of a value among those of its parameter, ``ABSENT`` or ``UNKNOWN``."""
        import numpy as np

        found: Array = np.empty((len(recipes), len(self.names)))
        for column, name in enumerate(self.names):
            places = {value: place for place, value in enumerate(self.values[name])}
            found[:, column] = [places.get(recipe[name], UNKNOWN) if name in recipe else ABSENT for recipe in recipes]
        return found

    def features(self, rows: Array) -> Array:
        """(recipes, features): whether a recipe has a value, for each of them; of a grid of numbers the place on it.

        A place is in [0, 1]. Parameters with more than ``GRID`` numbers are left out: there a line says too little.
        """
        import numpy as np

        found: list[Array] = [np.zeros((len(rows), 0))]
        for column, name in enumerate(self.names):
            place, places = rows[:, [column]], len(self.values[name])
            if not self.numeric[column] or places <= 2:
                found.append(place == np.arange(-1, places))
            elif places <= GRID:
                found += [place < 0, np.maximum(0.0, place / (places - 1))]
        joined: Array = np.concatenate(found, axis=1, dtype=float)
        return joined

    def apart(self, one: Array, other: Array) -> Array:
        """How far rows are apart in each parameter, (parameters, rows of one, rows of other), each in [0, 1].

        Numbers are as far apart as their places are, of all places there are; anything else, and what is absent on one
        side, is 0 or 1 apart.
        """
        import numpy as np

        found: Array = np.empty((len(self.names), len(one), len(other)))
        for column in range(len(self.names)):
            # Each pair of places is looked up: recipes are hundreds, places a handful.
            a, b = ((rows[:, column] - UNKNOWN).astype(int) for rows in (one, other))
            np.take(self._between(column)[:, b], a, axis=0, out=found[column], mode="clip")
        return found

    def _between(self, column: int) -> Array:
        """How far two places of a parameter are apart, (places, places), from ``UNKNOWN`` on."""
        import numpy as np

        places = len(self.values[self.names[column]])
        a, b = np.arange(UNKNOWN, places)[:, None], np.arange(UNKNOWN, places)[None, :]
        differ: Array = (a != b).astype(float)
        if self.numeric[column] and places > 2:
            return np.where((a >= 0) & (b >= 0), np.abs(a - b) / (places - 1), differ)
        return differ


def weighted(apart: Array, weights: Array) -> Array:
    """One distance of (parameters, rows, rows): the sum over the parameters, (rows, rows)."""
    import numpy as np

    found: Array = np.tensordot(weights, apart, axes=1)
    return found


def relevance(apart: Array, values: Array) -> Array:
    """How much each parameter counts, (parameters,): by how much the values of rows differ where it differs.

    The slope of the squared difference of two values on the distance in one parameter, over all pairs; never less than
    a tenth of the mean, and 1 on the mean. ``apart`` is (parameters, rows, rows).
    """
    import numpy as np

    pairs = max(1, len(values) * (len(values) - 1))
    flat = apart.reshape(
        len(apart), len(values) ** 2
    )  # A row and itself are no pair, but add nothing to any of the sums.
    change = ((values[:, None] - values[None, :]) ** 2).ravel()
    mean = flat.sum(1) / pairs
    together = flat @ change - mean * change.sum()
    slope = np.maximum(0.0, together) / (np.einsum("ij,ij->i", flat, flat) - pairs * mean**2 + 1e-9)
    if not slope.any():
        return np.ones(len(slope))
    slope = np.maximum(slope, 0.1 * slope.mean())
    found: Array = slope / slope.mean()
    return found


class RidgeModel:
    """A constant and a part for each feature of a recipe, by ridge regression."""

    def __init__(self, features: Array, values: Array) -> None:
        """Fit to (rows,) values of (rows, features)."""
        import numpy as np

        self.center = float(values.mean())
        inverse = np.linalg.inv(features @ features.T + RIDGE * np.eye(len(values)))
        dual = inverse @ (values - self.center)
        self._parts = features.T @ dual
        self.loo_residuals: Array = dual / np.diag(inverse)
        """By how much each value is missed where the fit does without it, (rows,)."""

    def at(self, features: Array) -> Array:
        """What it makes of (recipes, features)."""
        found: Array = self.center + features @ self._parts
        return found


@dataclass(frozen=True)
class Posterior:
    """What is expected of recipes: mean and standard deviation of one value, each (recipes,)."""

    mean: Array
    deviation: Array


class Process:
    """A Gaussian process with the kernel exp(-scaled distance); Hamming's where nothing is a number."""

    def __init__(self, apart: Array, values: Array) -> None:
        """Fit to (rows,) values, which are (parameters, rows, rows) apart, by the likelihood of the values."""
        import numpy as np
        from scipy.linalg import cho_solve

        self.center, self.spread = float(values.mean()), float(values.std()) or 1.0
        scaled = (values - self.center) / self.spread
        self.weights = relevance(apart, scaled)
        distances = weighted(apart, self.weights)
        best = -np.inf
        for scale in SCALES:
            kernel = np.exp(-scale * distances)
            for noise in NOISES:
                root = np.linalg.cholesky(kernel + (noise + JITTER) * np.eye(len(scaled)))
                solved = cho_solve((root, True), scaled, check_finite=False)
                likelihood = -0.5 * scaled @ solved - np.log(np.diag(root)).sum()
                if likelihood > best:
                    best, self.scale, self._root, self._solved = likelihood, scale, root, solved

    @cached_property
    def loo_residuals(self) -> Array:
        """By how much each value is missed where the fit does without it, (rows,)."""
        import numpy as np
        from scipy.linalg import solve_triangular

        half = solve_triangular(self._root, np.eye(len(self._root)), lower=True)
        found: Array = self.spread * self._solved / (half**2).sum(0)
        return found

    def at(self, apart: Array) -> Posterior:
        """What is believed of recipes that are (parameters, recipes, rows) apart from those of the fit."""
        import numpy as np
        from scipy.linalg import solve_triangular

        kernel = np.exp(-self.scale * weighted(apart, self.weights))
        mean = kernel @ self._solved
        reduced = solve_triangular(self._root, kernel.T, lower=True)
        variance = np.maximum(1e-9, 1.0 - (reduced**2).sum(0))
        return Posterior(self.center + self.spread * mean, self.spread * np.sqrt(variance))


def expected_improvement(front: Array, reference: Array, first: Posterior, second: Posterior) -> Array:
    """The expected gain in hypervolume of two values that are minimized, (recipes,).

    ``front`` is (points, 2), none of them dominated, and ``reference`` the corner that closes it. Exact for two
    independent normal values (Emmerich et al. 2011): the plane is cut into strips between neighbours of the front.
    """
    import numpy as np

    inside = front[(front < reference).all(1)]
    order = inside[np.argsort(inside[:, 0])]
    left = np.concatenate([[-np.inf], order[:, 0]])
    right = np.concatenate([order[:, 0], [reference[0]]])
    top = np.concatenate([[reference[1]], order[:, 1]])
    gain = np.zeros(len(first.mean))
    for begin, end, above in zip(left, right, top, strict=True):
        width = _shortfall(end, first) - (_shortfall(begin, first) if np.isfinite(begin) else 0.0)
        gain += width * _shortfall(above, second)
    return gain


def _shortfall(limit: float, belief: Posterior) -> Array:
    """The expected amount by which a normal value stays below ``limit``."""
    from scipy.stats import norm

    away = (limit - belief.mean) / belief.deviation
    found: Array = belief.deviation * (away * norm.cdf(away) + norm.pdf(away))
    return found


def chance_below(limit: float, belief: Posterior) -> Array:
    """The probability of a value of ``limit`` at most, (recipes,)."""
    from scipy.stats import norm

    found: Array = norm.cdf((limit - belief.mean) / belief.deviation)
    return found
