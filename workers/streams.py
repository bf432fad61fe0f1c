"""Latents from non-repeating seeded streams.

Attempt ``a`` of class ``c`` for purpose ``p`` is row ``a % 64`` of the normal deviates of the generator
seeded with ``[seed, p, c, a // 64]``: any attempt can be drawn by itself, on any machine, in any order,
and no attempt is ever drawn for two things. Each block of a stage owns a range of attempts of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE, HELDOUT, BASE = 0, 1, 2
"""Purposes of attempts: pairs to fit on, pairs to judge on, images to start traversals from."""

ROWS = 64
"""Attempts that share one seed."""

CLASS_STRIDE = 2**32
"""Distance between the row ids of two classes; no class has as many attempts."""


@dataclass(frozen=True)
class Stream:
    """The latents z of one class for one purpose.

    Attributes:
        seed: The job's seed, at least 0.
        purpose: SAMPLE, HELDOUT or BASE.
        class_index: The generator's class.
        z_dim: Width of z.
    """

    seed: int
    purpose: int
    class_index: int
    z_dim: int

    def draw(self, first: int, count: int) -> NDArray[np.float32]:
        """The attempts ``first`` to ``first + count - 1``: (count, z_dim), standard normal."""
        blocks = range(first // ROWS, -(-(first + count) // ROWS))
        rows = np.concatenate([self._block(block) for block in blocks])
        start = first - blocks.start * ROWS
        return rows[start : start + count]

    def rows(self, attempts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Ids of attempts that are unique among the classes of one purpose."""
        return self.class_index * CLASS_STRIDE + attempts

    def _block(self, block: int) -> NDArray[np.float32]:
        entropy = [self.seed, self.purpose, self.class_index, block]
        return np.random.default_rng(entropy).standard_normal((ROWS, self.z_dim), np.float32)


def attempts_per_block(chunks: Iterable[dict[str, Any]], attempts_per_sample: int) -> int:
    """Attempts that each block of a stage owns: enough for its largest chunk, a multiple of 64.

    Args:
        chunks: The parameters of all chunks of the stage; each has a ``count``.
        attempts_per_sample: The most attempts for one accepted image.
    """
    largest = max(int(chunk["count"]) for chunk in chunks)
    return math.ceil(largest * attempts_per_sample / ROWS) * ROWS
