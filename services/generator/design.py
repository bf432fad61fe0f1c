"""The formulas that design a network: a stem, and super-resolution heads upon it.

Sources: StyleGAN3 (arXiv 2106.12423, section 4 and appendix C) for the geometric progression of
cutoffs, stopbands, sampling rates and channels; StyleGAN-XL (arXiv 2202.00273, section 3.2) for the
progressive growth that drops the critically sampled layers of a stem and appends a head.
"""

from __future__ import annotations

import dataclasses
import math

from services.generator.specs import InputSpec, LayerSpec, NetworkSpec, full_padding
from unitscope.errors import InvalidArgumentError

_CRITICAL_LAYERS = 2
_LAST_STOPBAND = 2**0.3
_FILTER_SIZE = 6
_LRELU_UPSAMPLING = 2
_CONV_CLAMP = 256.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Progression:
    """Per-layer values of a chain; entry i is what layer i writes."""

    cutoffs: list[float]
    half_widths: list[float]
    rates: list[int]
    sizes: list[int]
    channels: list[int]


def stem_spec(
    resolution: int = 16,
    num_layers: int = 10,
    channel_base: int = 65536,
    channel_max: int = 1024,
    margin: int = 10,
    first_cutoff: float = 2.0,
    first_stopband: float = 2**2.1,
    *,
    channel_min: int = 1,
    z_dim: int = 64,
    w_dim: int = 512,
    num_classes: int = 1000,
    embed_classes: int | None = None,
    embed_dim: int = 320,
    mapping_layers: int = 2,
    output_scale: float = 0.25,
) -> NetworkSpec:
    """Designs a network trained from scratch. The defaults are those of the published 16 px stem.

    Args:
        resolution: Edge of the picture in pixels, a power of two.
        num_layers: Layers before the one to colours, at least 3.
        channel_base: Twice the product of channels and cutoff frequency.
        channel_max: Upper bound on channels.
        margin: Samples kept around the picture on every side of a canvas.
        first_cutoff: Cutoff of the first layer, cycles per picture.
        first_stopband: Stopband of the first layer, cycles per picture.
        channel_min: Lower bound on channels: widens the layers at full resolution.
        z_dim: Dimensions of z.
        w_dim: Dimensions of w.
        num_classes: Number of classes.
        embed_classes: Rows of the class embedding; default `num_classes`.
        embed_dim: Dimensions of a class embedding.
        mapping_layers: Fully connected layers of the mapping network.
        output_scale: Factor from the last layer to the picture.

    Raises:
        InvalidArgumentError: A value out of its range (reason `BAD_NETWORK_DESIGN`).
    """
    _check_design(resolution, num_layers, channel_min, channel_max, first_cutoff, first_stopband)
    chain = _progression(
        resolution, num_layers, (first_cutoff, first_stopband), channel_base,
        (channel_min, channel_max), margin,
    )  # fmt: skip
    return NetworkSpec(
        resolution=resolution,
        z_dim=z_dim,
        w_dim=w_dim,
        num_classes=num_classes,
        embed_classes=num_classes if embed_classes is None else embed_classes,
        embed_dim=embed_dim,
        mapping_layers=mapping_layers,
        mapping_lr_multiplier=0.01,
        output_scale=output_scale,
        input=InputSpec(
            channels=chain.channels[0],
            size=chain.sizes[0],
            sampling_rate=float(chain.rates[0]),
            bandwidth=float(first_cutoff),
        ),
        layers=_layers(chain, first_index=0),
    )


def superres_spec(
    stem: NetworkSpec,
    head_layers: int = 7,
    up_factor: int = 2,
    channel_base: int = 65536,
    channel_max: int = 1024,
    margin: int = 10,
    *,
    channel_min: int = 1,
) -> NetworkSpec:
    """Designs the next resolution: the stem without its critically sampled layers, and a head.

    The first new layer is numbered by the layers kept *plus one*, as in published checkpoints, so
    that a number is missing from the names of a first head.

    Args:
        stem: The network to grow.
        head_layers: Layers of the head before the one to colours, at least 3.
        up_factor: New resolution over old, a power of two of at least 2.
        channel_base: Twice the product of channels and cutoff frequency.
        channel_max: Upper bound on channels.
        margin: Samples kept around the picture on every side of a canvas.
        channel_min: Lower bound on channels.

    Raises:
        InvalidArgumentError: A value out of its range (reason `BAD_NETWORK_DESIGN`).
    """
    if up_factor < 2:
        raise _bad("up_factor", f"up_factor is {up_factor}; it must be a power of two from 2 on")
    kept = tuple(layer for layer in stem.layers if not layer.is_critically_sampled)
    if not kept:
        raise _bad("stem", "every layer of the stem is critically sampled; nothing is left to grow")
    last, resolution = kept[-1], stem.resolution * up_factor
    start = (last.out_cutoff, last.out_cutoff + last.out_half_width)
    _check_design(resolution, head_layers, channel_min, channel_max, *start)
    chain = _progression(
        resolution, head_layers, start, channel_base, (channel_min, channel_max), margin,
        joint=last,
    )  # fmt: skip
    head = _layers(chain, first_index=len(kept) + 1)
    return dataclasses.replace(stem, resolution=resolution, layers=kept + head)


def _progression(
    resolution: int,
    num_layers: int,
    start: tuple[float, float],
    channel_base: int,
    channel_range: tuple[int, int],
    margin: int,
    joint: LayerSpec | None = None,
) -> _Progression:
    """Geometric progression from `start` (cutoff, stopband) to the limits of the picture."""
    end = (resolution / 2, resolution / 2 * _LAST_STOPBAND)
    steps = [min(i / (num_layers - _CRITICAL_LAYERS), 1.0) for i in range(num_layers + 1)]
    cutoffs = [start[0] * (end[0] / start[0]) ** step for step in steps]
    stopbands = [start[1] * (end[1] / start[1]) ** step for step in steps]
    rates = [2 ** math.ceil(math.log2(min(2 * stop, resolution))) for stop in stopbands]
    channels = [
        max(round(min(channel_base / 2 / cutoff, channel_range[1])), channel_range[0]) for cutoff in cutoffs
    ]
    if joint is not None:
        rates[0], channels[0] = int(joint.out_sampling_rate), joint.out_channels
    sizes = [rate + 2 * margin for rate in rates]
    sizes[-2:] = [resolution, resolution]
    if joint is not None:
        sizes[0] = joint.out_size
    half_widths = [
        max(stop, rate / 2) - cutoff for stop, rate, cutoff in zip(stopbands, rates, cutoffs, strict=True)
    ]
    channels[-1] = 3
    return _Progression(cutoffs=cutoffs, half_widths=half_widths, rates=rates, sizes=sizes, channels=channels)


def _layers(chain: _Progression, *, first_index: int) -> tuple[LayerSpec, ...]:
    """The layers of a chain; each reads what the one before it writes."""
    count = len(chain.cutoffs)
    return tuple(
        _layer(
            chain,
            i,
            name=f"L{first_index + i}_{chain.sizes[i]}_{chain.channels[i]}",
            is_torgb=i == count - 1,
            is_critically_sampled=i >= count - 1 - _CRITICAL_LAYERS,
        )
        for i in range(count)
    )


def _layer(
    chain: _Progression, i: int, *, name: str, is_torgb: bool, is_critically_sampled: bool
) -> LayerSpec:
    """Layer `i` of a chain with its resampling factors, taps and padding."""
    before = max(i - 1, 0)
    tmp_rate = max(chain.rates[before], chain.rates[i]) * (1 if is_torgb else _LRELU_UPSAMPLING)
    up, down = tmp_rate // chain.rates[before], tmp_rate // chain.rates[i]
    up_taps = _FILTER_SIZE * up if up > 1 and not is_torgb else 1
    down_taps = _FILTER_SIZE * down if down > 1 and not is_torgb else 1
    kernel = 1 if is_torgb else 3
    pads = full_padding(chain.sizes[before], chain.sizes[i], kernel, up, up_taps, down, down_taps)
    return LayerSpec(
        name=name,
        in_channels=chain.channels[before],
        out_channels=chain.channels[i],
        in_size=chain.sizes[before],
        out_size=chain.sizes[i],
        in_sampling_rate=chain.rates[before],
        out_sampling_rate=chain.rates[i],
        tmp_sampling_rate=tmp_rate,
        in_cutoff=chain.cutoffs[before],
        out_cutoff=chain.cutoffs[i],
        in_half_width=chain.half_widths[before],
        out_half_width=chain.half_widths[i],
        conv_kernel=kernel,
        conv_clamp=_CONV_CLAMP,
        up_factor=up,
        up_taps=up_taps,
        down_factor=down,
        down_taps=down_taps,
        padding=pads + pads,
        is_torgb=is_torgb,
        is_critically_sampled=is_critically_sampled,
    )


def _check_design(
    resolution: int,
    num_layers: int,
    channel_min: int,
    channel_max: int,
    first_cutoff: float,
    first_stopband: float,
) -> None:
    """Refuses parameters for which the formulas have no meaning."""
    if resolution < 4 or resolution & (resolution - 1):
        raise _bad("resolution", f"resolution is {resolution}; it must be a power of two from 4 on")
    if num_layers <= _CRITICAL_LAYERS:
        raise _bad("num_layers", f"there are {num_layers} layers; at least 3 are needed")
    if not 0 < first_cutoff < first_stopband or first_cutoff > resolution / 2:
        raise _bad(
            "first_cutoff",
            f"first cutoff {first_cutoff} and stopband {first_stopband} must satisfy "
            f"0 < cutoff < stopband and cutoff <= {resolution / 2}",
        )
    if not 1 <= channel_min <= channel_max:
        raise _bad("channel_min", f"channel_min {channel_min} must be from 1 to channel_max {channel_max}")


def _bad(field: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason="BAD_NETWORK_DESIGN", field=field)
