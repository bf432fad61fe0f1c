"""Held-out errors of every spectral filter from one eigendecomposition a fold.

Let the training rows, centred, have the Gram matrix `G = V diag(s) V'` and cross products
`C = sum r w'`. Ridge regression and regression on principal components both have the form
`A' = V diag(f) V' C` with filter factors `f` (Hansen, "Rank-Deficient and Discrete Ill-Posed
Problems", 1998, section 4.2): `1 / (s + penalty)`, and zero for components left out. With the held-out
rows' moments `H`, `D` and `t` about the *training* mean, their squared error is

    t - 2 tr(A D) + tr(A H A') = t - 2 g.f + f' M f,
    B = V'C,  g_i = (B B_D')_ii with B_D = V'D,  M = (V'HV) * (BB'),

so that after one decomposition a further penalty costs one product with M. No pass over data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.linalg import blas

from services.linker.moments import Moments
from unitscope.errors import InvalidArgumentError

Array = NDArray[np.float64]

_BLOCKS = 8


@dataclass(frozen=True)
class Eigensystem:
    """Principal axes of the training features, and the cross products along them.

    Attributes:
        active: (d,) units that vary; the others are left out of everything.
        eigenvalues: (q,) ascending, not negative, of the Gram matrix of the q active units.
        vectors: (q, q) one axis a column.
        projected: (q, m) `B = V'C`.
        mean_variance: Mean population variance of the d units, the unit of relative penalties.
        count: Training rows.
    """

    active: NDArray[np.bool_]
    eigenvalues: Array
    vectors: Array
    projected: Array
    mean_variance: float
    count: int

    @property
    def floor(self) -> float:
        """Sums of eigenvalue and penalty up to this are rounding noise: the axis is left out."""
        largest = self.eigenvalues[-1] if len(self.eigenvalues) else 0.0
        return float(np.finfo(np.float64).eps * len(self.eigenvalues) * largest)

    def ridge_filters(self, penalties: Array, components: int | None = None) -> Array:
        """Returns filter factors (penalties, q) of ridge regression.

        Args:
            penalties: (penalties,) absolute, not negative. With 0, axes without variance are left
                out: the solution of smallest norm.
            components: Keep only so many axes of largest variance.
        """
        total = self.eigenvalues + penalties[:, None]
        filters = np.divide(1.0, total, out=np.zeros_like(total), where=total > self.floor)
        if components is not None:
            filters[:, : max(len(self.eigenvalues) - components, 0)] = 0.0
        return filters

    def weight(self, factors: Array) -> Array:
        """Returns the weight (m, d) that filter factors (q,) stand for."""
        weight = np.zeros((self.projected.shape[1], len(self.active)))
        weight[:, self.active] = (self.vectors @ (factors[:, None] * self.projected)).T
        return weight


@dataclass(frozen=True)
class FoldSpectrum:
    """The held-out squared error of one fold as a quadratic function of the filter factors.

    Attributes:
        training: Eigensystem of the other folds.
        linear: (q,) the vector g.
        quadratic: (q, q) upper triangular, with `f' quadratic f` equal to `f' M f`.
        total: The scalar t.
        count: Held-out rows.
    """

    training: Eigensystem
    linear: Array
    quadratic: Array
    total: float
    count: int

    def squared_errors(self, filters: Array) -> Array:
        """Returns the held-out sums of squares (n,) for filter factors (n, q)."""
        quadratic = np.einsum("nq,nq->n", filters @ self.quadratic, filters)
        errors: Array = self.total - 2.0 * filters @ self.linear + quadratic
        return np.maximum(errors, 0.0)


def eigensystem(moments: Moments) -> Eigensystem:
    """Decomposes the Gram matrix of the units that vary."""
    active = moments.active
    gram = select_upper(moments.scatter[: moments.features, : moments.features], active)
    cross = moments.cross[active]
    count = int(active.sum())
    if count:
        values, vectors = scipy.linalg.eigh(
            gram, lower=False, driver="evd", overwrite_a=True, check_finite=False
        )
    else:
        values, vectors = np.empty(0), np.empty((0, 0))
    return Eigensystem(
        active=active,
        eigenvalues=np.maximum(values, 0.0),
        vectors=vectors,
        projected=vectors.T @ cross,
        mean_variance=moments.mean_variance,
        count=moments.count,
    )


def fold_spectra(
    folds: Sequence[Moments], total: Moments | None = None, workers: int = 1
) -> Iterator[FoldSpectrum]:
    """Yields the spectrum of each fold, in order, `workers` at a time to bound the memory.

    Args:
        folds: Moments of each fold.
        total: `merge_all(folds)`, when the caller has it.
        workers: Folds decomposed at once, in threads: an eigendecomposition alone does not keep
            several cores busy. Each takes about six matrices of the size of the Gram matrix.

    Raises:
        InvalidArgumentError: When there are fewer than two folds, or a fold holds no pair.
    """
    counts = [fold.count for fold in folds]
    if len(folds) < 2 or min(counts) < 1:
        raise InvalidArgumentError(
            f"the folds hold {counts} pairs: there must be at least two folds, none of them empty; "
            "accumulate more pairs",
            reason="EMPTY_FOLD",
            field="folds",
        )
    whole = total or merge_all(folds)

    def spectrum(index: int) -> FoldSpectrum:
        others = [other for position, other in enumerate(folds) if position != index]
        training = whole.without(
            folds[index],
            np.min([other.minimum for other in others], axis=0),
            np.max([other.maximum for other in others], axis=0),
        )
        return _spectrum(training, folds[index])

    with ThreadPoolExecutor(workers) as pool:
        for first in range(0, len(folds), workers):
            yield from pool.map(spectrum, range(first, min(first + workers, len(folds))))


def merge_all(folds: Sequence[Moments]) -> Moments:
    """Returns the moments of all folds together."""
    return reduce(Moments.merge, folds)


def _spectrum(training: Moments, held_out: Moments) -> FoldSpectrum:
    system = eigensystem(training)
    d, vectors, projected = training.features, system.vectors, system.projected
    shift = held_out.mean - training.mean
    along = vectors.T @ shift[:d][system.active]
    cross = vectors.T @ held_out.cross[system.active]
    cross += held_out.count * np.outer(along, shift[d:])
    gram = select_upper(held_out.scatter[:d, :d], system.active)
    scaled = along * np.sqrt(held_out.count)
    return FoldSpectrum(
        training=system,
        linear=np.einsum("qm,qm->q", projected, cross),
        quadratic=_quadratic(gram, vectors, projected, scaled),
        total=held_out.latent_scatter_trace + held_out.count * float(shift[d:] @ shift[d:]),
        count=held_out.count,
    )


def _quadratic(gram: Array, vectors: Array, projected: Array, shift: Array) -> Array:
    """Returns M = (V'HV + shift shift') * (BB'), the lower triangle folded onto the upper.

    Only blocks on and above the diagonal are computed: M is symmetric, and this is half of what a
    fold costs beside its eigendecomposition.
    """
    size = len(shift)
    quadratic = np.zeros((size, size), order="F")
    if not size:
        return quadratic
    image = blas.dsymm(1.0, gram, vectors)
    edges = np.linspace(0, size, min(_BLOCKS, size) + 1).astype(int)
    for start, stop in pairwise(edges):
        block = vectors[:, :stop].T @ image[:, start:stop]
        block += np.outer(shift[:stop], shift[start:stop])
        block *= projected[:stop] @ projected[start:stop].T
        block[:start] *= 2.0
        quadratic[:stop, start:stop] = block
    return quadratic


def select_upper(upper: Array, active: NDArray[np.bool_]) -> Array:
    """Copies the rows and columns of active units of an upper triangle, in Fortran order."""
    if active.all():
        return upper.copy(order="F")
    chosen = np.flatnonzero(active)
    return np.asfortranarray(upper[np.ix_(chosen, chosen)])
