"""Products with resampling matrices that skip their zeros.

A sample written by a filter depends on few samples read, its neighbours: a resampling matrix is zero but for
a band. Cut into blocks of columns, each block is multiplied with the rows alone that matter to it. On a CPU
this pays from canvases of some size on (`pays`); on small ones a single product is quicker than several, and
on a GPU it was not measured.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor

SMALLEST = 160
"""Edge of the canvas of the non-linearity from which blocks pay. Measured on 2 cores with AVX-512, layers of
the full 256-pixel network: 1.8 times the speed of whole matrices at 178, 3 at 306, 6 at 562; 0.6 at 82."""

BLOCK = 32
"""Samples written by a block, times the factor by which it resamples upwards."""

DENSE_VALUES = 2**20
BLOCK_VALUES = 2**21
"""Values of the canvas of the non-linearity to work on at once, so that they stay in the cache: a product by
blocks is many calls, each of which wants some work."""


class Span(NamedTuple):
    """A block: the samples that it writes, and those that they depend on."""

    first: int
    last: int
    start: int
    stop: int

    @property
    def read(self) -> slice:
        """Samples read, rows of the matrix."""
        return slice(self.first, self.last)

    @property
    def written(self) -> slice:
        """Samples written, columns of the matrix."""
        return slice(self.start, self.stop)


Spans = tuple[Span, ...]


def spans(matrix: Tensor, block: int) -> Spans:
    """The blocks of a matrix `(samples read, samples written)`, `block` columns each.

    Every entry that is not zero lies in one of them.
    """
    found = []
    for start in range(0, matrix.shape[1], block):
        stop = min(start + block, matrix.shape[1])
        rows = matrix[:, start:stop].ne(0).any(dim=1).nonzero().flatten().tolist() or [0]
        found.append(Span(rows[0], rows[-1] + 1, start, stop))
    return tuple(found)


def block_of(matrix: Tensor) -> int:
    """How many columns of a resampling matrix make a block."""
    return BLOCK * max(1, round(matrix.shape[1] / matrix.shape[0]))


def pays(device: torch.device, high: int) -> bool:
    """Whether blocks are quicker where the non-linearity's canvas has edges of `high` samples."""
    return device.type == "cpu" and high >= SMALLEST


@dataclasses.dataclass(frozen=True)
class Separable:
    """One matrix for each axis of a plane, by blocks.

    Attributes:
        vertical: `(height, new height)`.
        horizontal: `(width, new width)`.
        blocks: Of both matrices; None multiplies them as a whole.
    """

    vertical: Tensor
    horizontal: Tensor
    blocks: tuple[Spans, Spans] | None = None

    @classmethod
    def of(cls, vertical: Tensor, horizontal: Tensor, by_blocks: bool) -> Separable:
        """Finds the blocks, if wanted."""
        if not by_blocks:
            return cls(vertical, horizontal)
        found = tuple(spans(matrix, block_of(matrix)) for matrix in (vertical, horizontal))
        return cls(vertical, horizontal, (found[0], found[1]))

    def __call__(self, planes: Tensor) -> Tensor:
        """Applies both to `(planes, height, width)`: `(planes, new height, new width)`."""
        if self.blocks is None:
            count, height, width = planes.shape
            rows = torch.mm(planes.reshape(count * height, width), self.horizontal).view(count, height, -1)
            return torch.bmm(self.vertical.t().expand(count, -1, -1), rows)
        # The vertical one writes twice, hence at the lower width.
        if self.vertical.shape[1] > self.vertical.shape[0]:
            return self._along_rows(self._along_columns(planes))
        return self._along_columns(self._along_rows(planes))

    def _along_columns(self, planes: Tensor) -> Tensor:
        assert self.blocks is not None, "checked by the caller"
        found = planes.new_empty(planes.shape[0], self.vertical.shape[1], planes.shape[2])
        for span in self.blocks[0]:
            block = self.vertical[span.read, span.written].t()
            found[:, span.written] = torch.matmul(block, planes[:, span.read])
        return found

    def _along_rows(self, planes: Tensor) -> Tensor:
        assert self.blocks is not None, "checked by the caller"
        count, height, width = planes.shape
        rows = planes.reshape(count * height, width)
        found = planes.new_empty(count * height, self.horizontal.shape[1])
        for span in self.blocks[1]:
            block = self.horizontal[span.read, span.written]
            torch.mm(rows[:, span.read], block, out=found[:, span.written])
        return found.view(count, height, -1)
