"""The fast form of a synthesis layer: dense resampling matrices and shared-weight convolutions.

Resampling is linear and separable, and canvases are small: zero insertion, padding, filter and
decimation of one axis are one matrix, so that a layer is `Y = Uy' (X Ux)`, leaky ReLU and clamp,
`Z = Dy' (Y Dx)`. Modulation scales input channels and demodulation scales output channels, so that
all samples share one kernel. Both are equal to the plain form but for rounding.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.autograd.function import once_differentiable

from services.generator import plain

Matrices = tuple[Tensor, Tensor]
"""A vertical and a horizontal resampling matrix."""

_CACHE_VALUES = 2**20


def in_float32(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Computes float32 in float32 inside, under autocast as well, which would round it."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


def resampling_matrix(
    size: int,
    taps: Tensor | None,
    *,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int] = (0, 0),
    gain: float = 1.0,
) -> Tensor:
    """The matrix `M` of `plain.resample`: a row vector x of `size` samples becomes `x @ M`.

    Returns:
        float32 `(size, samples written)`; computed in float64.
    """
    units = torch.eye(size, dtype=torch.float64)[:, None, None, :]
    filter_taps = None if taps is None else taps.detach().double().cpu()
    written = plain.resample(units, filter_taps, axis=3, up=up, down=down, padding=padding, gain=gain)
    return written[:, 0, 0, :].float()


def separable(x: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """Applies one matrix to each axis of every plane: `vertical' (x horizontal)`.

    Args:
        x: `(planes, height, width)`.
        vertical: `(height, new height)`, of the type of `x`.
        horizontal: `(width, new width)`, of the type of `x`.

    Returns:
        `(planes, new height, new width)`.
    """
    planes, height, width = x.shape
    rows = torch.mm(x.reshape(planes * height, width), horizontal).view(planes, height, -1)
    return torch.bmm(vertical.t().expand(planes, -1, -1), rows)


def filtered_lrelu(
    x: Tensor, up: Matrices, down: Matrices, clamp: float, channels_last: bool = False
) -> Tensor:
    """`plain.filtered_lrelu` without its bias, by matrices. Differentiable once.

    Args:
        x: Signal `(batch, channels, height, width)`, bias already added.
        up: Vertical and horizontal upsampling matrices. The gain of the non-linearity is in them:
            a leaky ReLU commutes with positive factors.
        down: Vertical and horizontal downsampling matrices.
        clamp: Bound on the absolute value at the high rate.
        channels_last: Whether the channels of a pixel lie side by side in memory, and are to stay so.
    """
    batch, channels = x.shape[:2]
    matrices = tuple(matrix.to(x.dtype) for matrix in (*up, *down))
    if channels_last:
        return _filtered_channels_last(x, clamp, *matrices)
    planes = x.flatten(0, 1)
    if torch.compiler.is_exporting():
        high = separable(planes, *matrices[:2])
        y = separable(_leaky_clamp_(high, clamp), *matrices[2:])
    else:
        y = _FilteredLrelu.apply(planes, clamp, *matrices)  # type: ignore[no-untyped-call]
    return y.view(batch, channels, *y.shape[1:])


def _filtered_channels_last(x: Tensor, clamp: float, *matrices: Tensor) -> Tensor:
    """`filtered_lrelu` of a canvas whose channels lie side by side, which stay so.

    Both products run over all channels at once, so that nothing is moved for them: the layout that tensor
    cores want for the convolutions before and after.
    """
    up_y, up_x, down_y, down_x = matrices
    high = _separable_channels_last(x.permute(0, 2, 3, 1), up_y, up_x)
    if high.requires_grad:
        high = F.leaky_relu(high, plain.LRELU_SLOPE).clamp(-clamp, clamp)
    else:
        _leaky_clamp_(high, clamp)
    return _separable_channels_last(high, down_y, down_x).permute(0, 3, 1, 2)


def _separable_channels_last(x: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """`separable` of `(batch, height, width, channels)`."""
    batch, height, width, channels = x.shape
    columns = torch.matmul(vertical.t(), x.reshape(batch, height, width * channels))
    return torch.matmul(horizontal.t(), columns.view(batch, -1, width, channels))


class _FilteredLrelu(torch.autograd.Function):
    """The three steps on a few planes at a time, so that the high rate stays in the cache.

    At the high rate a canvas is four times as large as before and after; written to memory and
    read again by every step, it would take longer than the matrix products. Only the result of
    the non-linearity is kept: the signs and the clamp can be read off it.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, clamp: float, *matrices: Tensor) -> Tensor:
        up_y, up_x, down_y, down_x = matrices
        y = x.new_empty(x.shape[0], down_y.shape[1], down_x.shape[1])
        keep = ctx.needs_input_grad[0]
        high = x.new_empty(x.shape[0] if keep else 0, up_y.shape[1], up_x.shape[1])
        for part in _parts(x, up_y.shape[1] * up_x.shape[1]):
            chunk = _leaky_clamp_(separable(x[part], up_y, up_x), clamp)
            if keep:
                high[part] = chunk
            y[part] = separable(chunk, down_y, down_x)
        ctx.clamp = clamp
        ctx.save_for_backward(high, *matrices)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        high, up_y, up_x, down_y, down_x = ctx.saved_tensors
        result = grad.new_empty(grad.shape[0], up_y.shape[0], up_x.shape[0])
        for part in _parts(grad, high.shape[1] * high.shape[2]):
            kept = high[part]
            chunk = separable(grad[part], down_y.t(), down_x.t())
            chunk = torch.ops.aten.hardtanh_backward(chunk, kept, -ctx.clamp, ctx.clamp)
            chunk = torch.ops.aten.leaky_relu_backward(chunk, kept, plain.LRELU_SLOPE, True)
            result[part] = separable(chunk, up_y.t(), up_x.t())
        return result, None, None, None, None, None


def _leaky_clamp_(x: Tensor, clamp: float) -> Tensor:
    """Leaky ReLU, then clamp, in place."""
    return F.leaky_relu_(x, plain.LRELU_SLOPE).clamp_(-clamp, clamp)


def _parts(planes: Tensor, values: int) -> list[slice]:
    """Slices of planes such that `values` a plane fit the cache; one slice on an accelerator."""
    count = len(planes)
    step = max(1, _CACHE_VALUES // values) if planes.device.type == "cpu" else max(1, count)
    return [slice(i, i + step) for i in range(0, count, step)]


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    padding: int,
    demodulate: bool = True,
    input_gain: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """`plain.modulated_conv2d` with one kernel for all samples, and a bias.

    Args:
        x: Signal `(batch, in, height, width)`.
        weight: Kernel `(out, in, k, k)`, float32.
        styles: `(batch, in)`, float32.
        padding: Zeros around the signal.
        demodulate: Whether output channels are demodulated.
        input_gain: Scalar factor on the input, after demodulation.
        bias: Added per output channel, `(out,)`.
    """
    scale = None
    if demodulate:
        weight, styles = plain.normalise_weight(weight), plain.normalise_styles(styles)
        energy = weight.square().sum(dim=(2, 3))
        # Everything is scaled by this product.
        with in_float32(x.device):
            scale = (styles.square() @ energy.t()).add(plain.EPS).rsqrt()
        # A sum of so many products of about 1 is of the order of the root of their number; shrunk, it
        # is far from the largest float16. A power of two changes no bit of float32.
        shrink = 2.0 ** -round(math.log2(weight[0].numel()) / 2)
        styles, scale = styles * shrink, scale / shrink
    if input_gain is not None:
        styles = styles * input_gain
    y = F.conv2d(x * styles[:, :, None, None].to(x.dtype), weight.to(x.dtype), padding=padding)
    offset = None if bias is None else bias[:, None, None].to(y.dtype)
    if scale is None:
        return y if offset is None else y + offset
    factor = scale[:, :, None, None].to(y.dtype)
    return y * factor if offset is None else torch.addcmul(offset, y, factor)
