"""The Fréchet distance between two sets of feature vectors (Heusel et al., arXiv 1706.08500, eq. 6)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def frechet_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the distance of the Gaussians fitted to ``a (n, f)`` and ``b (m, f)``, at least 0.

    It is biased upwards for few samples: compare only figures of the same n and m.
    """
    difference = a.mean(0) - b.mean(0)
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # The trace of the root of a product needs only symmetric problems: eigenvalues of root(A) B
    # root(A).
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum()
    distance = difference @ difference + np.trace(first) + np.trace(second) - 2 * cross
    return max(0.0, float(distance))
