"""Run lengths and polygons as COCO writes them, to masks and back.

A mask is read column by column; its run lengths begin with a run of zeros, which may be empty. The
compressed form writes each as groups of five bits, lowest first, in the characters from ``0`` on: bit 6
says that another group follows, and the last group's highest bit is the sign. From the fourth run on it
is the difference to the run two before that is written.
Source: the COCO data format, https://cocodataset.org/#format-data, and its published mask encoding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

_FIRST, _GROUP_BITS, _GROUP_MASK = 48, 5, 0x1F
_MORE, _SIGN = 0x20, 0x10
_MAX_GROUPS = 7
"""35 bits are more than any run of a picture needs."""


def decode_counts(counts: Sequence[int], height: int, width: int) -> Mask:
    """A mask from run lengths.

    Args:
        counts: Runs of zeros and ones in turn, zeros first.
        height: Rows of the mask.
        width: Columns of the mask.

    Returns:
        bool ``(height, width)``.

    Raises:
        ValueError: A run is negative, or the runs do not add up to the mask.
    """
    pixels = height * width
    # Each run first: numbers without a bound would overflow the sum.
    if not all(0 <= count <= pixels for count in counts) or sum(counts) != pixels:
        raise ValueError(
            f"{len(counts)} run lengths that are no mask of {width} x {height}: from 0 on, they must add up "
            f"to {pixels}"
        )
    runs = np.asarray(counts, np.int64)
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def encode_counts(mask: Mask) -> list[int]:
    """The run lengths of a mask, bool ``(height, width)``."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return [0, *runs] if flat[0] else runs


def unpack(text: str) -> list[int]:
    """Run lengths from their compressed form.

    Raises:
        ValueError: The text is no such form.
    """
    counts: list[int] = []
    position = 0
    while position < len(text):
        value, position = _number(text, position)
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts


def pack(counts: Sequence[int]) -> str:
    """Run lengths in their compressed form."""
    text = []
    for index, count in enumerate(counts):
        value = count - (counts[index - 2] if index > 2 else 0)
        more = True
        while more:
            group = value & _GROUP_MASK
            value >>= _GROUP_BITS
            more = value != (-1 if group & _SIGN else 0)
            text.append(chr(_FIRST + group + (_MORE if more else 0)))
    return "".join(text)


def fill_polygon(points: NDArray[np.float64], height: int, width: int) -> Mask:
    """The pixels whose centres lie in a polygon, by the even-odd rule.

    Args:
        points: Corners ``(n, 2)`` as x and y; the first pixel spans 0 to 1.
        height: Rows of the mask.
        width: Columns of the mask.

    Returns:
        bool ``(height, width)``.
    """
    x, y = points[:, 0], points[:, 1]
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    crossings = np.zeros((height, width + 1), np.int64)
    first = max(0, int(np.floor(y.min())))
    for row in range(first, min(height, int(np.ceil(y.max())) + 1)):
        centre = row + 0.5
        cut = (y <= centre) != (next_y <= centre)
        at = x[cut] + (centre - y[cut]) * (next_x[cut] - x[cut]) / (next_y[cut] - y[cut])
        # A crossing changes all pixels whose centre lies at or to the right of it.
        columns = np.clip(np.ceil(at - 0.5), 0, width).astype(np.int64)
        np.add.at(crossings[row], columns, 1)
    return np.asarray(crossings[:, :-1].cumsum(axis=1) % 2 == 1)


def _number(text: str, position: int) -> tuple[int, int]:
    """The number that starts at the position, and the position behind it."""
    value = 0
    for group in range(_MAX_GROUPS):
        if position == len(text):
            raise ValueError("the compressed run lengths end in the middle of a number")
        code = ord(text[position]) - _FIRST
        if not 0 <= code <= (_MORE | _GROUP_MASK):
            raise ValueError(f"{text[position]!r} does not occur in compressed run lengths")
        position += 1
        value |= (code & _GROUP_MASK) << (_GROUP_BITS * group)
        if not code & _MORE:
            shift = _GROUP_BITS * (group + 1)
            return value - ((1 << shift) if code & _SIGN else 0), position
    raise ValueError("compressed run lengths hold a number that is too large")
