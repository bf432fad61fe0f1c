"""Drawn data sets: images with their class indices and factor codes, made in parallel and cached as ``.npy``.

All randomness is in the factors, which are drawn from a seed in this process; the drawing itself is
a function of them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
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
    VALUES,
    Factors,
    Glasses,
    Top,
    from_codes,
    sample_factors,
)

logger = logging.getLogger(__name__)

SHORTCUT_CLASS = Top.BUN
"""The class that always wears sunglasses in the shortcut's training set."""

OUTLINES = ("glasses", "facial_hair", "clothes", "mouth", "eyes")
"""Factors that, with the class, decide which pixel belongs to which part; the others are colours."""


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


def label_maps(data: Drawings) -> NDArray[np.uint8]:
    """Return the label maps of drawings, ``uint8 (n, 64, 64)`` of indices into ``parts.PARTS``.

    Finding them takes eight times as long as drawing, but colours do not move an outline: there is
    one map for each of the 1,944 combinations of the class and :data:`OUTLINES`, and each is made
    once and kept.
    """
    keys = outline_keys(data.classes, data.codes)
    table, known = _read_label_maps()
    wanted, rows = np.unique(keys, return_index=True)
    missing = ~known[wanted]
    if missing.any():
        found = np.column_stack([data.classes, data.codes])[rows[missing]]
        table[wanted[missing]] = label_codes(found)
        known[wanted[missing]] = True
        WORK.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(WORK / "label-maps.partial.npz", table=table, known=known)
        (WORK / "label-maps.partial.npz").replace(WORK / "label-maps.npz")
        logger.info("found %d label maps", missing.sum())
    return table[keys]


def outline_keys(classes: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the outline of every drawing, ``int64 (n,)``: equal where class and :data:`OUTLINES` are."""
    columns = [classes, *(codes[:, NAMES.index(name)] for name in OUTLINES)]
    return np.ravel_multi_index(tuple(columns), _OUTLINE_SHAPE).astype(np.int64)


_OUTLINE_SHAPE = (len(CLASSES), *(len(VALUES[name]) for name in OUTLINES))


def _read_label_maps() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the table of label maps by outline, and which of its rows are filled."""
    path = WORK / "label-maps.npz"
    if path.exists():
        with np.load(path) as stored:
            return stored["table"], stored["known"]
    count = int(np.prod(_OUTLINE_SHAPE))
    return np.zeros((count, avatars.SIZE, avatars.SIZE), dtype=np.uint8), np.zeros(count, dtype=bool)


def draw_codes(rows: NDArray[np.int64], processes: int | None = None) -> NDArray[np.uint8]:
    """Draw one avatar for each row of class index and codes, ``(n, 11)``; ``uint8 (n, 64, 64, 3)``."""
    return _in_processes(_draw_block, rows, 250, processes)


def label_codes(rows: NDArray[np.int64], processes: int | None = None) -> NDArray[np.uint8]:
    """Find the label map of each row of class index and codes, ``(n, 11)``; ``uint8 (n, 64, 64)``."""
    return _in_processes(_label_block, rows, 50, processes)


def _in_processes(
    block_of: Callable[[NDArray[np.int64]], NDArray[np.uint8]],
    rows: NDArray[np.int64],
    size: int,
    processes: int | None,
) -> NDArray[np.uint8]:
    """Apply a function of rows to blocks of them; in this process where there is one block only."""
    if rows.shape[1] != 1 + len(NAMES):
        raise ValueError(f"a row holds the class and {len(NAMES)} codes, got {rows.shape[1]} numbers")
    blocks = np.array_split(rows, max(1, len(rows) // size))
    workers = processes or os.cpu_count() or 1
    if workers == 1 or len(blocks) == 1:
        return np.concatenate([block_of(block) for block in blocks])
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return np.concatenate(list(pool.map(block_of, blocks)))


def _draw_block(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    drawn = [avatars.draw(from_codes(int(row[0]), row[1:]), masks=False).image for row in rows]
    return np.stack(drawn)


def _label_block(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    found = []
    for row in rows:
        labels = avatars.draw(from_codes(int(row[0]), row[1:])).labels
        if labels is None:
            raise RuntimeError("the avatar was drawn without its label map")
        found.append(labels)
    return np.stack(found)
