"""The fast form of a synthesis layer: dense resampling matrices and shared-weight convolutions.

Resampling is linear and separable, and canvases are small: zero insertion, padding, filter and
decimation of one axis are one matrix, so that a layer is `Y = Uy' (X Ux)`, leaky ReLU and clamp,
`Z = Dy' (Y Dx)`. Modulation scales input channels and demodulation scales output channels, so that
all samples share one kernel. Both are equal to the plain form but for rounding.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.autograd.function import once_differentiable

from services.generator import banded, plain
from services.generator.banded import Separable

Matrices = tuple[Tensor, Tensor]
"""A vertical and a horizontal resampling matrix."""


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
    up_y, up_x, down_y, down_x = matrices = tuple(matrix.to(x.dtype) for matrix in (*up, *down))
    if channels_last:
        return _filtered_channels_last(x, clamp, *matrices)
    planes = x.flatten(0, 1)
    if torch.compiler.is_compiling():
        high = Separable(up_y, up_x)(planes)
        y = Separable(down_y, down_x)(_leaky_clamp_(high, clamp))
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
    """`Separable` of `(batch, height, width, channels)`."""
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
        by_blocks = banded.pays(x.device, up_y.shape[1])
        up, down = Separable.of(up_y, up_x, by_blocks), Separable.of(down_y, down_x, by_blocks)
        y = x.new_empty(x.shape[0], down_y.shape[1], down_x.shape[1])
        keep = ctx.needs_input_grad[0]
        high = x.new_empty(x.shape[0] if keep else 0, up_y.shape[1], up_x.shape[1])
        for part in _parts(x, up_y.shape[1] * up_x.shape[1], by_blocks):
            chunk = _leaky_clamp_(up(x[part]), clamp)
            if keep:
                high[part] = chunk
            y[part] = down(chunk)
        ctx.clamp = clamp
        ctx.save_for_backward(high, *matrices)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        high, up_y, up_x, down_y, down_x = ctx.saved_tensors
        by_blocks = banded.pays(grad.device, high.shape[1])
        up = Separable.of(up_y.t(), up_x.t(), by_blocks)
        down = Separable.of(down_y.t(), down_x.t(), by_blocks)
        result = grad.new_empty(grad.shape[0], up_y.shape[0], up_x.shape[0])
        for part in _parts(grad, high.shape[1] * high.shape[2], by_blocks):
            kept = high[part]
            chunk = torch.ops.aten.hardtanh_backward(down(grad[part]), kept, -ctx.clamp, ctx.clamp)
            chunk = torch.ops.aten.leaky_relu_backward(chunk, kept, plain.LRELU_SLOPE, True)
            result[part] = up(chunk)
        return result, None, None, None, None, None


def _leaky_clamp_(x: Tensor, clamp: float) -> Tensor:
    """Leaky ReLU, then clamp, in place."""
    return F.leaky_relu_(x, plain.LRELU_SLOPE).clamp_(-clamp, clamp)


def _parts(planes: Tensor, values: int, by_blocks: bool) -> list[slice]:
    """Slices of planes such that `values` a plane fit the cache; one slice on an accelerator."""
    count, fit = len(planes), banded.BLOCK_VALUES if by_blocks else banded.DENSE_VALUES
    step = max(1, fit // values) if planes.device.type == "cpu" else max(1, count)
    return [slice(i, i + step) for i in range(0, count, step)]


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel and what its demodulation needs, for as long as its weights stay the same.

    Attributes:
        weight: As it is convolved, `(out, in, k, k)`: the weights themselves in float32, which are not
            copied; normalised in half precision, whose range is small.
        gain: What normalises an output channel of it, `(out,)`; None where `weight` is normalised.
        energy: Sums of squares of the normalised kernel, float32 `(out, in)`.
    """

    weight: Tensor
    gain: Tensor | None
    energy: Tensor

    @classmethod
    def of(cls, weight: Tensor, dtype: torch.dtype, channels_last: bool = False) -> Kernel:
        """Prepares weights `(out, in, k, k)` to be convolved in `dtype`. Differentiable."""
        with in_float32(weight.device):
            energy = weight.square().sum(dim=(2, 3))
            gain = (energy.sum(dim=1) / weight[0].numel()).add(plain.EPS).rsqrt()
            energy = energy * gain.square()[:, None]
            if dtype.itemsize >= torch.float32.itemsize:
                return cls(weight, gain, energy)
            layout = torch.channels_last if channels_last else torch.contiguous_format
            normalised = (weight * gain[:, None, None, None]).to(dtype, memory_format=layout)
            return cls(normalised, None, energy)


def computed_in(x: Tensor) -> torch.dtype:
    """The type that a convolution of x runs in: its own, or autocast's."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def modulated_conv2d(
    x: Tensor,
    weight: Tensor | Kernel,
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
        weight: Kernel `(out, in, k, k)`, float32; or prepared, if it is demodulated.
        styles: `(batch, in)`, float32.
        padding: Zeros around the signal.
        demodulate: Whether output channels are demodulated.
        input_gain: Scalar factor on the input, after demodulation.
        bias: Added per output channel, `(out,)`.
    """
    if not demodulate:
        assert isinstance(weight, Tensor), "only demodulation prepares anything"
        styles = styles if input_gain is None else styles * input_gain
        y = _convolve(x, weight, styles, padding)
        return y if bias is None else y + bias[:, None, None].to(y.dtype)
    kernel = weight if isinstance(weight, Kernel) else Kernel.of(weight, computed_in(x))
    styles, scale = _demodulation(kernel, styles)
    if input_gain is not None:
        styles = styles * input_gain
    if _is_modulated_by_kernel(x, kernel, styles):
        factors = scale[0, :, None, None, None] * styles[0, :, None, None]
        return F.conv2d(x, kernel.weight * factors, bias, padding=padding)
    y = _convolve(x, kernel.weight, styles, padding)
    factor = scale[:, :, None, None].to(y.dtype)
    if bias is None:
        return y * factor
    offset = bias[:, None, None].to(y.dtype)
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return torch.addcmul(offset, y, factor)
    return torch.addcmul(offset, y, factor, out=y)


def _demodulation(kernel: Kernel, styles: Tensor) -> tuple[Tensor, Tensor]:
    """Factors on the input `(batch, in)` and on what the kernel makes of it, `(batch, out)`."""
    styles = plain.normalise_styles(styles)
    # Everything is scaled by this product.
    with in_float32(styles.device):
        scale = (styles.square() @ kernel.energy.t()).add(plain.EPS).rsqrt()
    if kernel.gain is not None:
        return styles, scale * kernel.gain
    # A sum of so many products of about 1 is of the order of the root of their number; shrunk, it
    # is far from the largest float16. A power of two changes no other bit.
    shrink = 2.0 ** -round(math.log2(kernel.weight[0].numel()) / 2)
    return styles * shrink, scale / shrink


def _is_modulated_by_kernel(x: Tensor, kernel: Kernel, styles: Tensor) -> bool:
    """Whether styles go into the kernel, as in the plain form, and not onto a larger signal.

    That of a single row on a CPU, without gradients: the derivative by a kernel costs a convolution more.
    """
    alone = not torch.compiler.is_compiling() and x.device.type == "cpu" and len(x) == 1
    return (
        alone
        and x.dtype == kernel.weight.dtype == styles.dtype
        and not (torch.is_grad_enabled() and (x.requires_grad or styles.requires_grad))
        and x.numel() > kernel.weight.numel()
    )


def _convolve(x: Tensor, weight: Tensor, styles: Tensor, padding: int) -> Tensor:
    return F.conv2d(x * styles[:, :, None, None].to(x.dtype), weight.to(computed_in(x)), padding=padding)
