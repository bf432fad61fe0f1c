"""Do features and latents order the pictures alike? Linear CKA and rank correlation of distances.

That the order is congruent in both spaces is what a linear linker rests on ("Linking in Style",
abstract). Neither measure fits anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import pdist, squareform

from services.linker.bootstrap import Estimate

Array = NDArray[np.float64]

JACKKNIFE_GROUPS = 20


@dataclass(frozen=True)
class PairStatistic:
    """A statistic of two views of the same n rows that sees only relations between rows.

    Attributes:
        relate: From rows (n, columns) to their relations (n, n).
        compare: From the relations of both views, or of a subset of rows in both, to the statistic.
    """

    relate: Callable[[Array], Array]
    compare: Callable[[Array, Array], float]

    def __call__(self, features: Array, latents: Array) -> float:
        """Returns the statistic of features (n, d) and latents (n, m)."""
        return self.compare(self.relate(features), self.relate(latents))


def _kernel(rows: Array) -> Array:
    """Returns inner products (n, n) of centred rows, without those of a row with itself."""
    centred = rows - rows.mean(axis=0)
    kernel: Array = centred @ centred.T
    np.fill_diagonal(kernel, 0.0)
    return kernel


def _aligned(first: Array, second: Array) -> float:
    own = [_hsic(kernel, kernel) if len(kernel) >= 4 else 0.0 for kernel in (first, second)]
    if min(own) <= 0:
        return float("nan")
    return _hsic(first, second) / float(np.sqrt(own[0] * own[1]))


def _hsic(first: Array, second: Array) -> float:
    """Returns the unbiased HSIC, less a factor that cancels in CKA, of kernels without diagonal."""
    n = len(first)
    sums = first.sum(axis=0), second.sum(axis=0)
    return float(
        np.vdot(first, second)
        + sums[0].sum() * sums[1].sum() / ((n - 1) * (n - 2))
        - 2.0 / (n - 2) * (sums[0] @ sums[1])
    )


def _distances(rows: Array) -> Array:
    distances: Array = squareform(pdist(rows))
    return distances


def _rank_correlation(first: Array, second: Array) -> float:
    above = np.triu(np.ones(first.shape, bool), 1)
    ranks = [stats.rankdata(distances[above]) for distances in (first, second)]
    ranks = [rank - rank.mean() for rank in ranks]
    norm = float(np.sqrt((ranks[0] @ ranks[0]) * (ranks[1] @ ranks[1])))
    return float(ranks[0] @ ranks[1]) / norm if norm > 0 else float("nan")


linear_cka = PairStatistic(_kernel, _aligned)
"""Linear centred kernel alignment: at most about 1, about 0 for unrelated rows and possibly below.

Debiased: the plain estimate is well above 0 for unrelated rows when there are not many more rows
than columns, as with 1,000 rows of 512 features. NaN when a view does not vary, or for fewer than
four rows.

Sources: Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019,
equation 4, with the unbiased estimate of HSIC of Song et al., "Feature Selection via Dependence
Maximization", JMLR 13 (2012), equation 5.
"""

distance_rank_correlation = PairStatistic(_distances, _rank_correlation)
"""Spearman's correlation, from -1 to 1, of the Euclidean distances of all pairs of rows.

NaN when all distances of a view are equal. Source: Kriegeskorte et al., "Representational
similarity analysis", 2008.
"""


def grouped_jackknife(
    statistic: PairStatistic, features: Array, latents: Array, *, seed: int, level: float = 0.95
) -> Estimate:
    """Returns a statistic of pairs of rows with a delete-a-group jackknife interval.

    Not a bootstrap: resampled copies of a row are at distance 0 of each other, which biases
    statistics of pairs. Rows are dealt into 20 random groups, each left out once.

    Source: Kott, "The delete-a-group jackknife", Journal of Official Statistics 17 (2001).

    Args:
        statistic: Of the rows of both views.
        features: (n, d).
        latents: (n, m).
        seed: Of the groups.
        level: Confidence of the interval.

    Returns:
        The statistic of all rows, with a t interval; without one for fewer than 80 rows.
    """
    rows = len(features)
    first, second = statistic.relate(features), statistic.relate(latents)
    value = statistic.compare(first, second)
    groups = JACKKNIFE_GROUPS
    if rows < 4 * groups or not np.isfinite(value):
        return Estimate(value, float("nan"), float("nan"), rows)
    order = np.random.default_rng(seed).permutation(rows)
    edges = np.linspace(0, rows, groups + 1).astype(int)
    left = []
    for start, stop in pairwise(edges):
        kept = np.concatenate([order[:start], order[stop:]])
        chosen = np.ix_(kept, kept)
        left.append(statistic.compare(first[chosen], second[chosen]))
    deviations = np.asarray(left) - np.mean(left)
    error = float(np.sqrt((groups - 1) / groups * (deviations @ deviations)))
    reach = float(stats.t.ppf((1 + level) / 2, groups - 1)) * error
    return Estimate(value, value - reach, value + reach, rows)
