"""How the avatars pack reads the factors off a generator's ``z``, and finds a ``z`` for given factors.

Every factor has one fixed direction, and the directions are orthonormal. The coordinate of the
normalised ``z`` along a factor's direction falls into one of the factor's bins, whose edges are the
Gaussian quantiles of its cumulated weights. A ``z`` of independent standard normal numbers
therefore gives factors with the documented weights, and the rest of ``z`` is free. The class is not
in ``z``: a class-conditional generator is told it.
"""

from __future__ import annotations

from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from unitscope.errors import InvalidArgumentError
from unitscope.worlds.factors import NAMES, VALUES, WEIGHTS

Z_DIM = 64
"""Length of the pack's ``z``."""

_DIRECTIONS_SEED = 20260


@cache
def directions() -> NDArray[np.float64]:
    """Return the factors' directions, ``float64 (10, 64)``, orthonormal rows in the order of ``NAMES``."""
    rng = np.random.Generator(np.random.PCG64(_DIRECTIONS_SEED))
    q, r = np.linalg.qr(rng.standard_normal((Z_DIM, len(NAMES))))
    # The sign of QR differs between implementations; a positive diagonal makes it unique.
    found: NDArray[np.float64] = (q * np.sign(np.diag(r))).T
    found.setflags(write=False)
    return found


def edges(name: str) -> NDArray[np.float64]:
    """Return the inner edges of a factor's bins, ``float64 (values - 1,)``, increasing."""
    return np.array([NormalDist().inv_cdf(p) for p in np.cumsum(WEIGHTS[name])[:-1]])


def normalise(z: NDArray[np.floating]) -> NDArray[np.float64]:
    """Scale each row of ``z (n, 64)`` to a mean square of 1, as the mapping network does."""
    _check(z)
    wide = np.asarray(z, dtype=np.float64)
    scaled: NDArray[np.float64] = wide / np.sqrt(np.mean(wide**2, axis=1, keepdims=True) + 1e-8)
    return scaled


def coordinates(z: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the coordinates of ``z (n, 64)`` along the factors' directions, ``float64 (n, 10)``."""
    return normalise(z) @ directions().T


def read_codes(z: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the factors' codes of ``z (n, 64)``, ``int64 (n, 10)``, as ``factors.from_codes`` takes them.

    Raises:
        InvalidArgumentError: If ``z`` has another shape.
    """
    found = coordinates(z)
    columns = [np.searchsorted(edges(name), found[:, i]) for i, name in enumerate(NAMES)]
    return np.stack(columns, axis=1).astype(np.int64)


def latents_for(codes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a ``z`` for each row of codes ``(n, 10)``; ``read_codes`` of the result gives the codes back.

    Within its bin a coordinate is distributed as a standard normal number is, and the remaining 54
    dimensions are normal up to the common scale that keeps the row's mean square at 1.

    Returns:
        ``float64 (n, 64)``.

    Raises:
        InvalidArgumentError: If there are not 10 codes in a row, or one names no value.
    """
    _check_codes(codes)
    normal = NormalDist()
    targets = np.empty(codes.shape)
    for i, name in enumerate(NAMES):
        cumulated = np.concatenate([[0.0], np.cumsum(WEIGHTS[name])])
        low, high = cumulated[codes[:, i]], cumulated[codes[:, i] + 1]
        # A margin keeps rounding from moving a coordinate over the edge of its bin.
        u = np.clip(low + (high - low) * rng.random(len(codes)), low + 1e-4, high - 1e-4)
        targets[:, i] = [normal.inv_cdf(float(p)) for p in u]
    rest = rng.standard_normal((len(codes), Z_DIM))
    rest -= (rest @ directions().T) @ directions()
    # More than the whole length in the factors' coordinates would be a 12-sigma event; the floor
    # keeps the root real.
    room = np.maximum(Z_DIM - np.sum(targets**2, axis=1, keepdims=True), 1e-3)
    rest *= np.sqrt(room) / np.linalg.norm(rest, axis=1, keepdims=True)
    return targets @ directions() + rest


def _check(z: NDArray[np.floating]) -> None:
    if z.ndim != 2 or z.shape[1] != Z_DIM:
        raise InvalidArgumentError(
            f"z must have the shape (n, {Z_DIM}), got {z.shape}",
            reason="WRONG_SHAPE",
            field="z",
        )


def _check_codes(codes: NDArray[np.int64]) -> None:
    if codes.ndim != 2 or codes.shape[1] != len(NAMES):
        raise InvalidArgumentError(
            f"codes must have the shape (n, {len(NAMES)}), got {codes.shape}",
            reason="WRONG_SHAPE",
            field="codes",
        )
    limits = np.array([len(VALUES[name]) for name in NAMES])
    if ((codes < 0) | (codes >= limits)).any():
        raise InvalidArgumentError(
            f"codes must be at least 0 and below {limits.tolist()}",
            reason="UNKNOWN_FACTOR_VALUE",
            field="codes",
        )
