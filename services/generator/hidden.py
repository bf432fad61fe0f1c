"""Hidden features of the synthesis network by the names of its layers.

What layers read and write is seen by an observer of `Synthesis.forward`, so that the picture and its
features are those of one pass::

    pictures, features = backend.features(w, ["L7_36_1024", "L13_52_1024"])
    features["L7_36_1024"]          # float32 (batch, 1024, 36, 36): the canvas, with its margins
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from services.generator.specs import LayerSpec, NetworkSpec
from unitscope.errors import InvalidArgumentError

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
