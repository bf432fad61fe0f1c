"""The official StyleGAN-XL configurations by name, and what a network of a spec weighs.

The ImageNet networks are a stem of 16 pixels and up to six super-resolution stages upon it, each of
which drops the critically sampled layers of the one before it and appends a head. Source: StyleGAN-XL
(arXiv 2202.00273, section 3) with the settings of its published ImageNet training: twice StyleGAN3's
channels, 10 layers in the stem, 7 in a head, a factor of two a stage. All stages are designed here by
the formulas of `services.generator.design`, without a checkpoint::

    spec = official_spec("imagenet256")
    spec.num_ws                     # 32
    parameter_count(spec)           # 233375910
    official_name(spec)             # "imagenet256"

Checkpoints of FFHQ, Pokemon and CIFAR-10 were published too, but not what decides their layers (depth
of the stem, heads, channels, whether there are classes): no spec of theirs is designed here. Importing
one needs none, since a checkpoint states every layer by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from services.generator.design import stem_spec, superres_spec
from services.generator.specs import LayerSpec, NetworkSpec
from unitscope.errors import InvalidArgumentError

RESOLUTIONS = (16, 32, 64, 128, 256, 512, 1024)
"""Pictures' edges of the published ImageNet networks."""

OFFICIAL = tuple(f"imagenet{resolution}" for resolution in RESOLUTIONS)
"""Names of the configurations that `official_spec` designs."""

UNDESCRIBED = ("ffhq", "pokemon", "cifar10")
"""Published checkpoints whose layers are stated by the checkpoints alone."""

FLOAT32_BYTES = 4

Shape = tuple[int, ...]


def official_spec(name: str) -> NetworkSpec:
    """The network of an official configuration.

    Args:
        name: One of `OFFICIAL`, e.g. "imagenet256".

    Raises:
        InvalidArgumentError: There is no such configuration (reason UNKNOWN_CONFIGURATION), or it is
            known from its checkpoint alone (UNDESCRIBED_CONFIGURATION).
    """
    if name in OFFICIAL:
        return _imagenet(RESOLUTIONS[OFFICIAL.index(name)])
    if name.startswith(UNDESCRIBED):
        raise InvalidArgumentError(
            f"the layers of {name!r} are stated by its checkpoint alone; import the checkpoint, or take one "
            f"of: {', '.join(OFFICIAL)}",
            reason="UNDESCRIBED_CONFIGURATION",
            field="name",
            name=name,
        )
    raise InvalidArgumentError(
        f"there is no official configuration {name[:60]!r}; there are: {', '.join(OFFICIAL)}",
        reason="UNKNOWN_CONFIGURATION",
        field="name",
        name=name[:60],
    )


def official_name(spec: NetworkSpec) -> str | None:
    """The official configuration whose layers, and so whose tensors' shapes, a spec has; None where none."""
    shapes = tensor_shapes(spec)
    for name in OFFICIAL:
        official = official_spec(name)
        if official.resolution == spec.resolution and tensor_shapes(official) == shapes:
            return name
    return None


def tensor_shapes(spec: NetworkSpec) -> Mapping[str, Shape]:
    """Shapes of all tensors of a network's state dict, by their names in published checkpoints.

    Returns:
        Parameters and stored buffers, in the order of the network; `buffer_names` tells them apart.
    """
    shapes: dict[str, Shape] = {
        "mapping.w_avg": (spec.num_classes, spec.w_dim),
        "mapping.embed.weight": (spec.embed_classes, spec.embed_dim),
        **_connected("mapping.embed_proj", spec.embed_dim, spec.z_dim),
    }
    for i in range(spec.mapping_layers):
        shapes |= _connected(f"mapping.fc{i}", spec.w_dim if i else 2 * spec.z_dim, spec.w_dim)
    channels = spec.input.channels
    shapes |= {
        "synthesis.input.weight": (channels, channels),
        "synthesis.input.freqs": (channels, 2),
        "synthesis.input.phases": (channels,),
        "synthesis.input.transform": (3, 3),
        **_connected("synthesis.input.affine", spec.w_dim, 4),
    }
    for layer in spec.layers:
        shapes |= _layer_shapes(layer, spec.w_dim)
    return MappingProxyType(shapes)


def buffer_names(spec: NetworkSpec) -> frozenset[str]:
    """Names of the tensors that no optimiser changes: filters, frequencies, running means."""
    ends = ("w_avg", "freqs", "phases", "transform", "magnitude_ema", "up_filter", "down_filter")
    return frozenset(name for name in tensor_shapes(spec) if name.endswith(ends))


def parameter_count(spec: NetworkSpec) -> int:
    """Trained numbers of a network: mapping and synthesis, without buffers."""
    shapes = tensor_shapes(spec)
    return sum(math.prod(shapes[name]) for name in shapes.keys() - buffer_names(spec))


def float32_bytes(spec: NetworkSpec) -> int:
    """Bytes of all tensors of a network in float32, buffers included."""
    return FLOAT32_BYTES * sum(math.prod(shape) for shape in tensor_shapes(spec).values())


def convolution_macs(spec: NetworkSpec) -> int:
    """Multiplications of all convolutions for one picture: the floor of what rendering takes."""
    return sum(_macs(layer) for layer in spec.layers)


@cache
def _imagenet(resolution: int) -> NetworkSpec:
    if resolution == RESOLUTIONS[0]:
        return stem_spec()
    return superres_spec(_imagenet(resolution // 2))


def _connected(name: str, read: int, written: int) -> dict[str, Shape]:
    return {f"{name}.weight": (written, read), f"{name}.bias": (written,)}


def _layer_shapes(layer: LayerSpec, w_dim: int) -> dict[str, Shape]:
    name, kernel = f"synthesis.{layer.name}", layer.conv_kernel
    shapes: dict[str, Shape] = {
        f"{name}.weight": (layer.out_channels, layer.in_channels, kernel, kernel),
        f"{name}.bias": (layer.out_channels,),
        f"{name}.magnitude_ema": (),
        **_connected(f"{name}.affine", w_dim, layer.in_channels),
    }
    # One tap is no filter, and none is stored.
    for filter_name, taps in (("up_filter", layer.up_taps), ("down_filter", layer.down_taps)):
        if taps > 1:
            shapes[f"{name}.{filter_name}"] = (taps,)
    return shapes


def _macs(layer: LayerSpec) -> int:
    # The convolution is padded in full: it writes kernel - 1 samples more than it reads.
    samples = (layer.in_size + layer.conv_kernel - 1) ** 2
    return samples * layer.in_channels * layer.out_channels * layer.conv_kernel**2
