"""Hidden features of the synthesis network by the names of its layers.

What layers read and write is seen by an observer of `Synthesis.forward`, so that the picture and its
features are those of one pass::

    pictures, features = backend.features(w, ["L7_36_1024", "L13_52_1024"])
    features["L7_36_1024"]          # float32 (batch, 1024, 36, 36): the canvas, with its margins

Who wants a few directions of a layer and not all of its channels sends the directions::

    pictures, projected = backend.project(w, "L7_36_1024", directions)      # directions (k, 1024)
    projected                       # float32 (batch, k, 36, 36)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from services.generator.fast import in_float32
from services.generator.specs import LayerSpec, NetworkSpec
from unitscope.errors import InvalidArgumentError
from unitscope.models.v2 import MAX_PROJECTED_BYTES, MAX_PROJECTIONS

MAX_BYTES = 2 << 30
"""The most that one call may keep: the canvases of a full network are 0.9 GB a picture."""

_FLOAT32_BYTES = 4


def named_layers(spec: NetworkSpec, names: Sequence[str]) -> list[LayerSpec]:
    """The layers of these names, in this order.

    Raises:
        InvalidArgumentError: No name is given, one is given twice, or the network has no such layer
            (reason UNKNOWN_LAYER).
    """
    known = {layer.name: layer for layer in spec.layers}
    for place, name in enumerate(names):
        if name not in known or name in names[:place]:
            problem = "is named twice" if name in known else "does not exist"
            raise InvalidArgumentError(
                f"the layer {name!r} {problem}; the generator has: {', '.join(known)}",
                reason="UNKNOWN_LAYER",
                field="layers",
                layer=name,
            )
    if not names:
        raise InvalidArgumentError(
            f"no layer is named; the generator has: {', '.join(known)}",
            reason="UNKNOWN_LAYER",
            field="layers",
        )
    return [known[name] for name in names]


class Keeper:
    """An observer that keeps what some layers write, in float32 and in the machine's memory."""

    def __init__(self, spec: NetworkSpec, names: Sequence[str], count: int) -> None:
        """Prepares to keep these layers for `count` pictures.

        Raises:
            InvalidArgumentError: As `named_layers` says; more than `MAX_BYTES` (TOO_MANY_FEATURES).
        """
        layers = named_layers(spec, names)
        size = count * _FLOAT32_BYTES * sum(layer.out_channels * layer.out_size**2 for layer in layers)
        if size > MAX_BYTES:
            raise InvalidArgumentError(
                f"these features take {size:,} bytes for {count} pictures; at most {MAX_BYTES:,} are kept at "
                "once: ask for fewer pictures or layers",
                reason="TOO_MANY_FEATURES",
                field="layers",
                bytes=size,
            )
        self._count = count
        self._kept: dict[str, list[Tensor]] = {layer.name: [] for layer in layers}

    def __call__(self, name: str, canvas: Tensor) -> None:
        """Sees the canvas ``(batch, channels, size, size)`` that a layer wrote."""
        if name in self._kept:
            rows = self._count - sum(len(part) for part in self._kept[name])
            self._kept[name].append(canvas[:rows].to("cpu", torch.float32, copy=True))

    def features(self) -> dict[str, npt.NDArray[np.float32]]:
        """What was seen: float32 ``(count, channels, size, size)`` by layer."""
        return {name: torch.cat(parts).numpy() for name, parts in self._kept.items()}


class Projector:
    """An observer that keeps weighted sums of one layer's channels, in float32 and on its device.

    The last bits of a sum may depend on how many projections are asked for at once; not on the other rows.
    """

    def __init__(
        self, spec: NetworkSpec, layer: str, projections: Tensor, count: int, pool: bool | None
    ) -> None:
        """Prepares to project the canvases of `count` pictures.

        Args:
            spec: The network.
            layer: The layer's name.
            projections: float32 `(k, channels)`, on any device.
            count: Pictures that are wanted; those of padded rows are dropped.
            pool: Whether to keep the mean over the canvas, margins included, alone.

        Raises:
            InvalidArgumentError: As `check_projections` says.
        """
        check_projections(spec, layer, projections, count, pool)
        self._layer, self._matrix, self._pool, self._count = layer, projections, pool, count
        self._kept: list[Tensor] = []

    def __call__(self, name: str, canvas: Tensor) -> None:
        """Sees the canvas `(batch, channels, size, size)` that a layer wrote."""
        if name != self._layer:
            return
        rows, _, size, _ = canvas.shape
        with in_float32(canvas.device):
            # One product a row: its last bits then depend neither on the other rows nor on its place.
            matrix = self._matrix.to(canvas.device, torch.float32).expand(rows, -1, -1)
            sums = torch.bmm(matrix, canvas.float().flatten(2))
        if self._pool:
            sums, size = sums.mean(dim=2), 1
        self._kept.append(sums.reshape(rows, -1, size, size))

    def projected(self) -> Tensor:
        """What was seen: float32 `(count, k, size, size)`, or `(count, k, 1, 1)` if pooled."""
        return torch.cat(self._kept)[: self._count]


def check_projections(
    spec: NetworkSpec, layer: str, projections: Tensor, count: int, pool: bool | None
) -> None:
    """Refuses projections that are none of this layer, and more of them than one answer holds.

    Raises:
        InvalidArgumentError: As `named_layers` says; a wrong shape (WRONG_TENSOR_SHAPE), NaN or infinity
            (NON_FINITE_PROJECTIONS), `pool` is no truth value (INVALID_POOL), or the result exceeds
            `MAX_PROJECTED_BYTES` (TOO_MANY_FEATURES).
    """
    (found,) = named_layers(spec, [layer])
    shape = tuple(projections.shape)
    if len(shape) != 2 or not 1 <= shape[0] <= MAX_PROJECTIONS or shape[1] != found.out_channels:
        raise InvalidArgumentError(
            f"projections has the shape {shape}; (1 to {MAX_PROJECTIONS}, {found.out_channels}) is needed "
            f"for the layer {layer}",
            reason="WRONG_TENSOR_SHAPE",
            field="projections",
        )
    finite = torch.isfinite(projections).all(dim=1)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0])
        raise InvalidArgumentError(
            f"projections holds NaN or infinity, first in row {row}; only finite numbers are allowed",
            reason="NON_FINITE_PROJECTIONS",
            field="projections",
            row=row,
        )
    if pool is None:
        raise InvalidArgumentError("pool must be true or false", reason="INVALID_POOL", field="pool")
    size = count * shape[0] * _FLOAT32_BYTES * (1 if pool else found.out_size**2)
    if size > MAX_PROJECTED_BYTES:
        raise InvalidArgumentError(
            f"{shape[0]} projections of {layer} take {size:,} bytes for {count} pictures; at most "
            f"{MAX_PROJECTED_BYTES:,} are answered at once: ask for fewer pictures or projections, or pool",
            reason="TOO_MANY_FEATURES",
            field="projections",
            bytes=size,
        )
