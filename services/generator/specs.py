"""What a StyleGAN-XL network is made of, layer by layer, and the formulas that design one.

A `NetworkSpec` lists explicit values for every layer and is stored beside the weights. It is the
truth about a checkpoint: loading never derives it again from hyper-parameters, since a
super-resolution network was designed in steps whose parameters are lost. The formulas are those of
StyleGAN3 (arXiv 2106.12423, section 4 and appendix C) and StyleGAN-XL (arXiv 2202.00273, section 3):
see `services.generator.design`.

Example::

    spec = NetworkSpec.from_dict(json.loads(text))
    network = StyleGanXl(spec)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from unitscope.errors import InvalidArgumentError


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputSpec:
    """The Fourier features that the first layer reads.

    Attributes:
        channels: Number of features.
        size: Edge of the square canvas, in samples.
        sampling_rate: Samples per unit of length (the picture's edge is 1).
        bandwidth: Largest frequency, in cycles per unit of length.
    """

    channels: int
    size: int
    sampling_rate: float
    bandwidth: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerSpec:
    """One synthesis layer: modulated convolution, then leaky ReLU between two resamplings.

    Attributes:
        name: Unique name, also the prefix of its weights. Numbers in it may skip: never parse them.
        in_channels: Channels read.
        out_channels: Channels written.
        in_size: Edge of the canvas read, in samples.
        out_size: Edge of the canvas written, in samples.
        in_sampling_rate: Samples per unit of length before the layer.
        out_sampling_rate: Samples per unit of length after it.
        tmp_sampling_rate: Samples per unit of length where the non-linearity acts.
        in_cutoff: Cutoff of the upsampling filter, cycles per unit of length.
        out_cutoff: Cutoff of the downsampling filter.
        in_half_width: Half the transition band of the upsampling filter.
        out_half_width: Half the transition band of the downsampling filter.
        conv_kernel: Edge of the convolution kernel.
        conv_clamp: Bound on activations after the non-linearity.
        up_factor: Upsampling before the non-linearity.
        up_taps: Taps of the upsampling filter; 1 is no filter.
        down_factor: Downsampling after the non-linearity.
        down_taps: Taps of the downsampling filter; 1 is no filter.
        padding: Padding (negative: cropping) after zero insertion: left, right, top, bottom.
        is_torgb: Whether this is the layer to colours: no demodulation, no non-linearity.
        is_critically_sampled: Whether the cutoff is the picture's own limit.
    """

    name: str
    in_channels: int
    out_channels: int
    in_size: int
    out_size: int
    in_sampling_rate: float
    out_sampling_rate: float
    tmp_sampling_rate: float
    in_cutoff: float
    out_cutoff: float
    in_half_width: float
    out_half_width: float
    conv_kernel: int
    conv_clamp: float
    up_factor: int
    up_taps: int
    down_factor: int
    down_taps: int
    padding: tuple[int, int, int, int]
    is_torgb: bool
    is_critically_sampled: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A whole generator.

    Attributes:
        resolution: Edge of the picture, in pixels.
        z_dim: Dimensions of the input latent.
        w_dim: Dimensions of the intermediate latent.
        num_classes: Classes that can be asked for.
        embed_classes: Rows of the class embedding; at least `num_classes` (published checkpoints
            carry 1000 rows whatever their classes).
        embed_dim: Dimensions of a class embedding.
        mapping_layers: Fully connected layers of the mapping network.
        mapping_lr_multiplier: Learning-rate multiplier of those layers.
        output_scale: Factor from the last layer to the picture in [-1, 1].
        input: The Fourier features.
        layers: The synthesis layers, the last one to colours.
    """

    resolution: int
    z_dim: int
    w_dim: int
    num_classes: int
    embed_classes: int
    embed_dim: int
    mapping_layers: int
    mapping_lr_multiplier: float
    output_scale: float
    input: InputSpec
    layers: tuple[LayerSpec, ...]

    def __post_init__(self) -> None:
        """Checks that the layers fit each other.

        Raises:
            InvalidArgumentError: reason `BAD_NETWORK_SPEC`, naming the field.
        """
        for name in ("resolution", "z_dim", "w_dim", "num_classes", "embed_dim", "mapping_layers"):
            if getattr(self, name) < 1:
                raise _bad(name, f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.embed_classes < self.num_classes:
            raise _bad(
                "embed_classes",
                f"embed_classes is {self.embed_classes}; it must be at least num_classes, {self.num_classes}",
            )
        self._check_layers()

    def _check_layers(self) -> None:
        """Checks names, and that every layer reads what the one before it writes."""
        if not self.layers or not self.layers[-1].is_torgb:
            raise _bad("layers", "the last layer must be the one to colours (is_torgb)")
        channels, size, seen = self.input.channels, self.input.size, {"input"}
        for layer in self.layers:
            if layer.name in seen or not layer.name.isidentifier():
                raise _bad("layers", f"layer name {layer.name!r} is not a new, plain identifier")
            seen.add(layer.name)
            if (layer.in_channels, layer.in_size) != (channels, size):
                raise _bad(
                    "layers",
                    f"layer {layer.name} reads {layer.in_channels} channels of size "
                    f"{layer.in_size}; the one before it writes {channels} of size {size}",
                )
            _check_layer(layer)
            channels, size = layer.out_channels, layer.out_size
        if (channels, size) != (3, self.resolution):
            raise _bad(
                "layers",
                f"the last layer writes {channels} channels of size {size}; "
                f"it must write 3 of size {self.resolution}",
            )

    @property
    def num_ws(self) -> int:
        """Number of w vectors that w+ holds: one for the input, one for each layer."""
        return len(self.layers) + 1

    def to_dict(self) -> dict[str, Any]:
        """Returns the spec as plain JSON values."""
        values = dataclasses.asdict(self)
        values["layers"] = [{**layer, "padding": list(layer["padding"])} for layer in values["layers"]]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Reads what `to_dict` wrote.

        Raises:
            InvalidArgumentError: A field is missing, unknown or inconsistent
                (reason `BAD_NETWORK_SPEC`).
        """
        values = dict(values)
        try:
            values["input"] = InputSpec(**values["input"])
            values["layers"] = tuple(
                LayerSpec(**{**layer, "padding": tuple(layer["padding"])}) for layer in values["layers"]
            )
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise _bad("spec", f"the network spec cannot be read: {error}") from error


def full_padding(
    in_size: int, out_size: int, kernel: int, up: int, up_taps: int, down: int, down_taps: int
) -> tuple[int, int]:
    """Padding before and after one axis such that a layer writes `out_size` samples.

    The convolution is padded in full, so that the upsampling reads `in_size + kernel - 1` samples.

    Returns:
        Samples to add (negative: to crop) before and after, at the upsampled rate.
    """
    wanted = (out_size - 1) * down + 1
    total = wanted - (in_size + kernel - 1) * up + up_taps + down_taps - 2
    low = (total + up) // 2
    return low, total - low


def _check_layer(layer: LayerSpec) -> None:
    """Checks that padding, filters and factors of one layer give its output size."""
    counts = (
        layer.in_channels, layer.out_channels, layer.in_size, layer.out_size, layer.conv_kernel,
        layer.up_factor, layer.up_taps, layer.down_factor, layer.down_taps,
    )  # fmt: skip
    if min(counts) < 1:
        raise _bad("layers", f"layer {layer.name} has a size, factor or tap count below 1")
    for low, high in (layer.padding[:2], layer.padding[2:]):
        size = (layer.in_size + layer.conv_kernel - 1) * layer.up_factor + low + high
        size = (size - layer.up_taps - layer.down_taps + 1) // layer.down_factor + 1
        if size != layer.out_size:
            raise _bad(
                "layers",
                f"padding {list(layer.padding)} of layer {layer.name} gives {size} samples; "
                f"its out_size is {layer.out_size}",
            )


def _bad(field: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason="BAD_NETWORK_SPEC", field=field)
