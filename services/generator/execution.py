"""How a generator is computed on a device: precision, rows at once, memory. The one place that decides.

On a CPU everything is float32. On a GPU convolutions, resampling and non-linearity run in float16, and what
many others depend on stays in float32 (`services.generator.layers`): the phases of the Fourier features,
styles, the normalisation of kernels, and the layer to colours, which rounds the picture itself. Activations
are normalised and clamped, so that the range of bfloat16 is not needed and its coarser steps would be seen:
of the avatars' pictures, float16 moves no value by more than 1 level of 255, bfloat16 some by 6. Gradients
are float32 everywhere: they are sums of many small terms.

Example::

    execution = plan_execution(spec, "cuda:0")      # float16, 8 rows at once
    with execution.rendering():
        pictures = network.synthesis(w)
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Literal

import torch

from services.generator.settings import Precision
from services.generator.specs import LayerSpec, NetworkSpec

BATCH = 8
"""Rows that are computed at once at most."""

_CPU_MACS = 32e9
"""Multiplications that a CPU takes on at once, about a second's: a larger network takes fewer rows, since
a lone request pays for the whole padded batch, and its products are large enough to fill a CPU alone."""

_CPU_BYTES = 4 << 30
_GPU_BYTES = 16 << 30
"""What the values kept for a gradient may take."""

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclasses.dataclass(frozen=True)
class Execution:
    """Decisions about one network on one device.

    Attributes:
        device: "cpu", "cuda" or "cuda:<index>".
        precision: Of convolutions, resampling and non-linearity.
        batch: Rows that are rendered at once, always.
        gradient_batch: Rows whose gradient is computed at once, always.
        channels_last: Whether the channels of a pixel lie side by side in memory.
        recompute: Whether a gradient keeps the canvases alone and computes each layer again.
        graphs: Whether a batch is recorded as a CUDA graph (`services.generator.captured`).
        compiled: Whether `torch.compile` makes the network's steps into fewer.
    """

    device: str
    precision: Literal["float32", "bfloat16", "float16"]
    batch: int
    gradient_batch: int
    recompute: bool
    channels_last: bool = False
    graphs: bool = False
    compiled: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """The type of `precision`."""
        return _DTYPES.get(self.precision, torch.float32)

    @property
    def kind(self) -> str:
        """The device without its index: "cpu" or "cuda"."""
        return self.device.partition(":")[0]

    @contextlib.contextmanager
    def rendering(self) -> Iterator[None]:
        """Renders in `precision` inside."""
        half = self.precision != "float32"
        dtype = self.dtype if half else None
        # Weights that autocast casts and keeps would lie in a CUDA graph's memory.
        with self.exact(), torch.autocast(self.kind, dtype, enabled=half, cache_enabled=not self.graphs):
            yield

    @contextlib.contextmanager
    def exact(self) -> Iterator[None]:
        """Keeps float32 what it says, and every result the same at every call, on a GPU as well."""
        if self.kind != "cuda":
            yield
            return
        # Convolutions of float32 would run in TF32, and the fastest algorithm is not always the same.
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield


def plan_execution(
    spec: NetworkSpec, device: str = "cpu", precision: Precision = "auto", compiled: bool = False
) -> Execution:
    """Decides how a network is computed.

    Args:
        spec: The network.
        device: "cpu", "cuda" or "cuda:<index>".
        precision: What is wished.
        compiled: Whether to call `torch.compile`, which needs a C++ compiler on a CPU, and minutes on large
            networks.

    Returns:
        The decisions; equal for equal arguments, so that every server of a network gives one picture.
    """
    on_cpu = not device.startswith("cuda")
    if precision == "auto":
        precision = "float32" if on_cpu else "float16"
    batch = _rows(_CPU_MACS, synthesis_macs(spec)) if on_cpu else BATCH
    room = _CPU_BYTES if on_cpu else _GPU_BYTES
    per_row = sum(map(_gradient_bytes, spec.layers))
    recompute = per_row > room
    if recompute:
        canvases = sum(4 * layer.in_channels * layer.in_size**2 for layer in spec.layers)
        per_row = canvases + max(map(_gradient_bytes, spec.layers))
    gradient_batch = min(batch, _rows(room, per_row))
    # Tensor cores want the channels of a pixel side by side. A CPU gains a tenth at most from it, and
    # loses more: planes that are resampled a few at a time stay in its cache.
    together = not on_cpu and precision != "float32"
    return Execution(
        device, precision, batch, gradient_batch, recompute, together, graphs=not on_cpu, compiled=compiled
    )


def synthesis_macs(spec: NetworkSpec) -> int:
    """Multiplications of one picture's convolutions and resampling matrices (the fast form)."""
    return sum(map(_layer_macs, spec.layers))


def _layer_macs(layer: LayerSpec) -> int:
    read, high = _sizes(layer)
    convolution = layer.in_channels * layer.conv_kernel**2 * read**2
    if layer.is_torgb:
        return layer.out_channels * convolution
    up = read * high * (read + high)
    down = high * layer.out_size * (high + layer.out_size)
    return layer.out_channels * (convolution + up + down)


def _gradient_bytes(layer: LayerSpec) -> int:
    """Bytes that one layer keeps for the gradient of one row.

    Twice its input, twice the convolution's output, and the values of the non-linearity.
    """
    read, high = _sizes(layer)
    kept = 2 * layer.in_channels * layer.in_size**2 + 2 * layer.out_channels * read**2
    return 4 * (kept + (0 if layer.is_torgb else layer.out_channels * high**2))


def _sizes(layer: LayerSpec) -> tuple[int, int]:
    """Edges of the canvas that the convolution writes, and of that of the non-linearity."""
    read = layer.in_size + layer.conv_kernel - 1
    return read, read * layer.up_factor + sum(layer.padding[:2]) - layer.up_taps + 1


def _rows(room: float, per_row: float) -> int:
    """The largest power of two up to BATCH whose rows fit; at least 1."""
    rows = BATCH
    while rows > 1 and rows * per_row > room:
        rows //= 2
    return rows
