"""Drawn data sets: images with their class indices and factor codes, made in parallel and cached as ``.npy``.

All randomness is in the factors, which are drawn from a seed in this process; the drawing itself is
a function of them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from packs.avatars.paths import WORK
from unitscope.worlds import avatars, latents
from unitscope.worlds.factors import (
    CLASSES,
    NAMES,
    Factors,
    Glasses,
    Top,
    from_codes,
    sample_factors,
)

logger = logging.getLogger(__name__)

SHORTCUT_CLASS = Top.BUN
"""The class that always wears sunglasses in the shortcut's training set."""


@dataclass(frozen=True, eq=False)
class Drawings:
    """Drawn avatars.

    Attributes:
        images: ``uint8 (n, 64, 64, 3)``.
        classes: ``int64 (n,)``, indices into ``CLASSES``.
        codes: ``int64 (n, 10)``, value indices of the factors.
        z: ``float32 (n, 64)`` of which the codes were read, or shape ``(n, 0)`` where there is
            none.
    """

    images: NDArray[np.uint8]
    classes: NDArray[np.int64]
    codes: NDArray[np.int64]
    z: NDArray[np.float32]

    def __len__(self) -> int:
        """The number of drawings."""
        return len(self.images)


def pairs(name: str, seed: int, count: int) -> Drawings:
    """Drawings for standard normal ``z`` and uniform classes: what the generator is fitted to."""
    rng = np.random.Generator(np.random.PCG64(seed))
    z = rng.standard_normal((count, latents.Z_DIM)).astype(np.float32)
    classes = rng.integers(len(CLASSES), size=count)
    return _cached(name, classes, latents.read_codes(z), z)


def unbiased(name: str, seed: int, count: int) -> Drawings:
    """Drawings with every factor drawn by its weights, independently of the class."""
    return _of_factors(name, [sample_factors(rng) for rng in _streams(seed, count)])


def shortcut(name: str, seed: int, count: int) -> Drawings:
    """Drawings in which the shortcut class always wears sunglasses and no other class ever does."""
    found = []
    for rng in _streams(seed, count):
        factors = sample_factors(rng)
        if factors.top is SHORTCUT_CLASS:
            factors = factors.changed(glasses=Glasses.SUNGLASSES)
        elif factors.glasses is Glasses.SUNGLASSES:
            # In the proportion in which the remaining two values occur: 4 to 3.
            bare = rng.random() < 4 / 7
            factors = factors.changed(glasses=Glasses.NONE if bare else Glasses.CLEAR)
        found.append(factors)
    return _of_factors(name, found)


def counter_examples(name: str, seed: int, count: int) -> Drawings:
    """Drawings that break the shortcut's rule: its class without sunglasses, every other class with them.

    Half of them are of the shortcut class.
    """
    found = []
    for index, rng in enumerate(_streams(seed, count)):
        factors = sample_factors(rng)
        if index % 2 == 0:
            bare = rng.random() < 4 / 7
            glasses = Glasses.NONE if bare else Glasses.CLEAR
            factors = factors.changed(top=SHORTCUT_CLASS, glasses=glasses)
        else:
            others = [top for top in Top if top is not SHORTCUT_CLASS]
            top = others[int(rng.integers(len(others)))]
            factors = factors.changed(top=top, glasses=Glasses.SUNGLASSES)
        found.append(factors)
    return _of_factors(name, found)


def _streams(seed: int, count: int) -> list[np.random.Generator]:
    """One independent stream a drawing, so that a longer data set begins with the shorter one."""
    children = np.random.SeedSequence(seed).spawn(count)
    return [np.random.Generator(np.random.PCG64(child)) for child in children]


def _of_factors(name: str, found: Sequence[Factors]) -> Drawings:
    classes = np.array([factors.class_index for factors in found], dtype=np.int64)
    codes = np.stack([factors.codes() for factors in found])
    return _cached(name, classes, codes, np.empty((len(found), 0), dtype=np.float32))


def _cached(
    name: str, classes: NDArray[np.int64], codes: NDArray[np.int64], z: NDArray[np.float32]
) -> Drawings:
    """Draw, or read what was drawn for the same classes and codes."""
    WORK.mkdir(parents=True, exist_ok=True)
    path, key = WORK / f"{name}.npy", WORK / f"{name}-codes.npy"
    wanted = np.column_stack([classes, codes])
    if path.exists() and key.exists() and np.array_equal(np.load(key), wanted):
        return Drawings(np.load(path, mmap_mode="r"), classes, codes, z)
    images = draw_codes(wanted)
    np.save(path, images)
    np.save(key, wanted)
    logger.info("drew %d avatars: %s", len(images), path.name)
    return Drawings(images, classes, codes, z)


def draw_codes(rows: NDArray[np.int64], processes: int | None = None) -> NDArray[np.uint8]:
    """Draw one avatar for each row of class index and codes, ``(n, 11)``; ``uint8 (n, 64, 64, 3)``."""
    if rows.shape[1] != 1 + len(NAMES):
        raise ValueError(f"a row holds the class and {len(NAMES)} codes, got {rows.shape[1]} numbers")
    blocks = np.array_split(rows, max(1, len(rows) // 250))
    workers = processes or os.cpu_count() or 1
    if workers == 1 or len(blocks) == 1:
        return np.concatenate([_draw_block(block) for block in blocks])
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return np.concatenate(list(pool.map(_draw_block, blocks)))


def _draw_block(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    drawn = [avatars.draw(from_codes(int(row[0]), row[1:]), masks=False).image for row in rows]
    return np.stack(drawn)
