"""The operations of a synthesis layer, directly from their definition: the plain form.

Slow and easy to check. Tests and benchmarks compare the fast form (`services.generator.fast`) with
it, and the matrices of the fast form are made by sending unit vectors through `resample`.
Source: StyleGAN3 (arXiv 2106.12423, section 3 and appendix B), StyleGAN2 (arXiv 1912.04958,
section 2.2) for modulation and demodulation.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

LRELU_SLOPE = 0.2
LRELU_GAIN = math.sqrt(2)
EPS = 1e-8


def resample(
    x: Tensor,
    taps: Tensor | None,
    *,
    axis: int,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int] = (0, 0),
    gain: float = 1.0,
) -> Tensor:
    """Resamples one axis: zero insertion, padding or cropping, FIR filter, decimation.

    Args:
        x: Signal `(batch, channels, height, width)`.
        taps: Filter `(taps,)`, or None for the identity.
        axis: 2 or 3.
        up: Samples written for every sample read; the new ones are zero.
        down: Every `down`-th sample is kept.
        padding: Samples to add (negative: to crop) before and after.
        gain: Factor on the signal.

    Returns:
        The resampled signal, of the type of `x`.
    """
    x = x.movedim(axis, -1)
    if up > 1:
        x = torch.stack([x, *[torch.zeros_like(x)] * (up - 1)], dim=-1).flatten(-2)
    x = F.pad(x, padding)
    if taps is not None:
        channels = x.shape[1]
        # A convolution in the sense of signal processing: PyTorch's correlates, hence the flip.
        kernel = (taps.flip(0) * gain).to(x.dtype).expand(channels, 1, 1, -1)
        x = F.conv2d(x, kernel, groups=channels)
    elif gain != 1:
        x = x * gain
    return x[..., ::down].movedim(-1, axis)


def filtered_lrelu(
    x: Tensor,
    bias: Tensor,
    up_filter: Tensor | None,
    down_filter: Tensor | None,
    *,
    up: int,
    down: int,
    padding: tuple[int, int, int, int],
    gain: float = LRELU_GAIN,
    slope: float = LRELU_SLOPE,
    clamp: float,
) -> Tensor:
    """Leaky ReLU at a higher sampling rate, so that it adds no aliases.

    Args:
        x: Signal `(batch, channels, height, width)`.
        bias: Added per channel, `(channels,)`.
        up_filter: Taps of the upsampling filter, or None.
        down_filter: Taps of the downsampling filter, or None.
        up: Upsampling factor.
        down: Downsampling factor.
        padding: Left, right, top, bottom, at the upsampled rate; negative crops.
        gain: Factor after the non-linearity.
        slope: Slope of the non-linearity below zero.
        clamp: Bound on the absolute value after the gain.
    """
    x = x + bias.to(x.dtype)[:, None, None]
    x = resample(x, up_filter, axis=3, up=up, padding=padding[:2], gain=up)
    x = resample(x, up_filter, axis=2, up=up, padding=padding[2:], gain=up)
    x = (F.leaky_relu(x, slope) * gain).clamp(-clamp, clamp)
    x = resample(x, down_filter, axis=3, down=down)
    return resample(x, down_filter, axis=2, down=down)


def normalise_weight(weight: Tensor) -> Tensor:
    """Scales every output channel's kernel to mean square 1; `weight` is `(out, in, k, k)`."""
    return weight * weight.square().mean(dim=(1, 2, 3), keepdim=True).add(EPS).rsqrt()


def normalise_styles(styles: Tensor) -> Tensor:
    """Scales every sample's styles `(batch, in)` to mean square 1.

    The published network takes the mean over the whole batch; the factor cancels in the
    demodulation but for its epsilon, and by sample no picture depends on its neighbours.
    """
    return styles * styles.square().mean(dim=1, keepdim=True).add(EPS).rsqrt()


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    padding: int,
    demodulate: bool = True,
    input_gain: Tensor | None = None,
) -> Tensor:
    """Convolution with a kernel of its own for every sample.

    Args:
        x: Signal `(batch, in, height, width)`.
        weight: Kernel `(out, in, k, k)`.
        styles: Factor for every sample and input channel, `(batch, in)`.
        padding: Zeros around the signal.
        demodulate: Whether every output channel's kernel is scaled to norm 1.
        input_gain: Scalar factor on the input, after demodulation.

    Returns:
        `(batch, out, height + 2 padding - k + 1, width + 2 padding - k + 1)`.
    """
    batch, channels, height, width = x.shape
    if demodulate:
        weight, styles = normalise_weight(weight), normalise_styles(styles)
    kernels = weight * styles[:, None, :, None, None]
    if demodulate:
        kernels = kernels * kernels.square().sum(dim=(2, 3, 4), keepdim=True).add(EPS).rsqrt()
    if input_gain is not None:
        kernels = kernels * input_gain
    x = x.reshape(1, batch * channels, height, width)
    y = F.conv2d(x, kernels.flatten(0, 1).to(x.dtype), padding=padding, groups=batch)
    return y.view(batch, -1, *y.shape[2:])
