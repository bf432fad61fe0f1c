"""Latents by seed, and truncation as laboratories use it: per class, by centroids, in part of the layers.

Truncation pulls w towards a centre: ``centre + psi (w - centre)`` (StyleGAN, arXiv 1812.04948, appendix
B). The centre is the mean w of the class, or, multi-modal, the nearest of centroids that somebody
clustered from many w ("Self-Distilled StyleGAN", arXiv 2202.12211). A cutoff keeps the later
layers, which hold detail, as they are::

    z = seeded_latents(seed=7, count=4, z_dim=64)
    centroids = load_centroids(Path("imagenet_centroids.npy"), w_dim=512)
    w = backend.map(z, classes, truncation=0.7)                      # towards the means of the classes
    ws = map_plus(backend, z, classes, 0.7, centroids=centroids, cutoff=8)   # float32 (4, num_ws, w_dim)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from services.generator.backend import GeneratorBackend
from unitscope.errors import InvalidArgumentError

MAX_SEED = 2**32 - 1
MAX_CENTROIDS = 1_000_000

Floats = npt.NDArray[np.float32]


def seeded_latents(seed: int, count: int, z_dim: int) -> Floats:
    """The latents that a seed stands for in the published tools.

    They draw from NumPy's legacy generator (MT19937), whose stream is frozen, in float64 and round to
    float32 in the mapping network; so does this, so that a seed gives the same z to the last bit. A
    longer draw starts with the shorter one.

    Args:
        seed: 0 to 2^32 - 1.
        count: Rows, at least 1.
        z_dim: Width of z, at least 1.

    Returns:
        float32 ``(count, z_dim)``, standard normal.

    Raises:
        InvalidArgumentError: A number out of its range (reason OUT_OF_RANGE).
    """
    for field, value, low, high in (
        ("seed", seed, 0, MAX_SEED), ("count", count, 1, None), ("z_dim", z_dim, 1, None),
    ):  # fmt: skip
        if value < low or (high is not None and value > high):
            allowed = f"from {low} to {high}" if high is not None else f"at least {low}"
            raise InvalidArgumentError(
                f"{field} is {value}; it must be {allowed}", reason="OUT_OF_RANGE", field=field, value=value
            )
    drawn: Floats = np.random.RandomState(seed).randn(count, z_dim).astype(np.float32)
    return drawn


def map_plus(
    backend: GeneratorBackend,
    z: Floats,
    classes: npt.NDArray[np.int64],
    truncation: Any = 1.0,
    *,
    centroids: Floats | None = None,
    cutoff: int | None = None,
) -> Floats:
    """Maps latents to w+, truncated as asked for; a row depends on its own z alone, to the last bit.

    Args:
        backend: The generator.
        z: float32 ``(batch, z_dim)``.
        classes: int64 ``(batch,)``.
        truncation: One number in [0, 1] for all, or ``(batch,)``.
        centroids: ``(centroids, w_dim)`` to truncate towards the nearest of; None is the class's mean.
        cutoff: How many of the w vectors are truncated, the first ones; None is all.

    Returns:
        float32 ``(batch, num_ws, w_dim)``, which `GeneratorBackend.render` takes.

    Raises:
        InvalidArgumentError: As `backend.check_latents`, `check_centroids` and `spread` say.
    """
    drawn = backend.map(z, classes, 1.0)
    truncated = backend.map(z, classes, truncation)
    if centroids is not None:
        centres = torch.from_numpy(check_centroids(centroids, backend.spec.w_dim))
        psi = np.broadcast_to(np.asarray(truncation, np.float32), (len(z),))
        # Row by row: kernels, and with them the last bits, follow the shape that they are given.
        rows = [torch.from_numpy(row) for row in drawn[:, None]]
        pulled = [truncate(w, nearest(w, centres), torch.tensor([p])) for w, p in zip(rows, psi, strict=True)]
        truncated = torch.cat(pulled).numpy()
    ws = spread(torch.from_numpy(drawn), torch.from_numpy(truncated), backend.spec.num_ws, cutoff)
    found: Floats = ws.contiguous().numpy()
    return found


def nearest(w: Tensor, centroids: Tensor) -> Tensor:
    """The centroid that is nearest to each w by Euclidean distance.

    Args:
        w: ``(batch, w_dim)``.
        centroids: ``(centroids, w_dim)``, on the same device.

    Returns:
        ``(batch, w_dim)``, rows of `centroids`.
    """
    # By differences: the faster form by products loses the digits that tell near centroids apart.
    distances = torch.cdist(w, centroids, compute_mode="donot_use_mm_for_euclid_dist")
    return centroids[distances.argmin(dim=1)]


def truncate(w: Tensor, centres: Tensor, truncation: Tensor) -> Tensor:
    """Pulls each w towards its centre.

    Args:
        w: ``(batch, w_dim)``.
        centres: ``(batch, w_dim)``.
        truncation: ``(batch,)``: 1 keeps w to the last bit, 0 gives the centre.

    Returns:
        ``(batch, w_dim)``.
    """
    return torch.lerp(centres, w, truncation[:, None])


def spread(w: Tensor, truncated: Tensor, num_ws: int, cutoff: int | None = None) -> Tensor:
    """One w for the input and every layer: truncated in the first `cutoff` of them, as drawn in the others.

    Args:
        w: ``(batch, w_dim)`` before truncation.
        truncated: ``(batch, w_dim)``.
        num_ws: Number of w vectors of the generator.
        cutoff: 0 to `num_ws`; None is all.

    Returns:
        w+, ``(batch, num_ws, w_dim)``.

    Raises:
        InvalidArgumentError: The cutoff is out of its range (reason CUTOFF_OUT_OF_RANGE).
    """
    first = num_ws if cutoff is None else cutoff
    if not 0 <= first <= num_ws:
        raise InvalidArgumentError(
            f"the truncation cutoff is {first}; it must be from 0 to {num_ws}, the number of w vectors",
            reason="CUTOFF_OUT_OF_RANGE",
            field="cutoff",
            value=first,
            num_ws=num_ws,
        )
    places = torch.arange(num_ws, device=w.device)[None, :, None]
    return torch.where(places < first, truncated[:, None], w[:, None])


def load_centroids(path: Path, w_dim: int) -> Floats:
    """Reads centroids of w from a ``.npy`` file; executes nothing that the file may hold.

    Args:
        path: A file of numbers ``(centroids, w_dim)``.
        w_dim: Width of the generator's w.

    Returns:
        float32 ``(centroids, w_dim)``.

    Raises:
        InvalidArgumentError: No such file, no such numbers (reason INVALID_CENTROIDS).
    """
    try:
        # Mapped, so that a header that promises too much is refused before memory is taken. This reads
        # arrays of numbers alone: archives and pickles, which `np.load` knows as well, are errors.
        found = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise _bad_centroids(f"{path.name} cannot be read as an .npy file of numbers: {error}") from error
    return check_centroids(found, w_dim)


def check_centroids(centroids: Any, w_dim: int) -> Floats:
    """Centroids as float32 ``(centroids, w_dim)``. Raises as `load_centroids` does."""
    if not isinstance(centroids, np.ndarray) or centroids.dtype.kind != "f":
        kind = centroids.dtype if isinstance(centroids, np.ndarray) else type(centroids).__name__
        raise _bad_centroids(f"centroids are {kind}; an array of floating-point numbers is needed")
    shape = centroids.shape
    if len(shape) != 2 or shape[1] != w_dim or not 1 <= shape[0] <= MAX_CENTROIDS:
        raise _bad_centroids(
            f"centroids have the shape {shape}; (1 to {MAX_CENTROIDS}, {w_dim}) is needed for this generator"
        )
    plain = np.array(centroids, np.float32)
    finite = np.isfinite(plain).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise _bad_centroids(f"centroids hold NaN or infinity, first in row {row}")
    return plain


def _bad_centroids(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason="INVALID_CENTROIDS", field="centroids")
