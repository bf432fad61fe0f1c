"""The stages of progressive growing: a stem, then super-resolution heads upon it.

The stem learns at 16 pixels what a picture shows. Every further stage takes the network of the one
before it, drops the layers that were critically sampled, appends a head, and trains the head alone:
mapping, input and kept layers stay as they are to the last bit (StyleGAN-XL, arXiv 2202.00273,
section 3.2). So all stages share one W, which `unitscope.models.lineage` tells from the tensors::

    network = stem_network(classes=10)                        # the published ImageNet stem
    ... train with stem_stage(network.spec) ...
    larger = grown(network, 32)
    ... train with grown_stage(larger.spec, network.spec) ...
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from services.generator.design import stem_spec, superres_spec
from services.generator.network import StyleGanXl
from services.generator.specs import NetworkSpec
from unitscope.errors import InvalidArgumentError


@dataclasses.dataclass(frozen=True, kw_only=True)
class StemDesign:
    """What decides a stem beside its resolution and classes; the defaults are the published stem's.

    Attributes:
        layers: Layers before the one to colours.
        channel_base: Twice the product of channels and cutoff frequency.
        channel_max: Upper bound on channels.
        channel_min: Lower bound on channels.
        margin: Samples kept around the picture on every side of a canvas.
        first_cutoff: Cutoff of the first layer, cycles per picture.
        first_stopband: Stopband of the first layer, cycles per picture.
        z_dim: Dimensions of z: 64, the intrinsic dimension of pictures (section 3.1).
        w_dim: Dimensions of w.
        embed_dim: Dimensions of a class embedding: 320 as EfficientNet-Lite0's coarsest map.
        mapping_layers: Fully connected layers of the mapping network.
    """

    layers: int = 10
    channel_base: int = 65536
    channel_max: int = 1024
    channel_min: int = 1
    margin: int = 10
    first_cutoff: float = 2.0
    first_stopband: float = 2**2.1
    z_dim: int = 64
    w_dim: int = 512
    embed_dim: int = 320
    mapping_layers: int = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadDesign:
    """What decides a super-resolution head; the defaults are those of the published stages.

    Attributes:
        layers: Layers of the head before the one to colours.
        channel_base: Twice the product of channels and cutoff frequency.
        channel_max: Upper bound on channels.
        channel_min: Lower bound on channels.
        margin: Samples kept around the picture on every side of a canvas.
    """

    layers: int = 7
    channel_base: int = 65536
    channel_max: int = 1024
    channel_min: int = 1
    margin: int = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """What of a network a stage trains.

    Attributes:
        resolution: Edge of the pictures, in pixels.
        layers: Names of the synthesis layers that train.
        whole: Whether mapping and input train as well: in the stem alone.
    """

    resolution: int
    layers: tuple[str, ...]
    whole: bool


def stem_network(
    *,
    classes: int,
    resolution: int = 16,
    design: StemDesign | None = None,
    embeddings: Tensor | None = None,
    seed: int = 0,
) -> StyleGanXl:
    """A network with random weights, to be trained from scratch.

    Args:
        classes: Number of classes, at least 1.
        resolution: Edge of the pictures, a power of two.
        design: Layers and widths; the published stem's by default.
        embeddings: Where the class embedding starts, float `(classes, embed_dim)`, e.g.
            `projector.class_embeddings`; random by default.
        seed: Of the weights.

    Raises:
        InvalidArgumentError: The design has no meaning (BAD_NETWORK_DESIGN, BAD_NETWORK_SPEC), or the
            embeddings another shape (BAD_SHAPE).
    """
    spec = stem_design_spec(classes=classes, resolution=resolution, design=design)
    network = _drawn(spec, seed)
    if embeddings is not None:
        wanted = (classes, spec.embed_dim)
        if tuple(embeddings.shape) != wanted:
            raise InvalidArgumentError(
                f"the class embeddings have shape {tuple(embeddings.shape)}; they must be {wanted}",
                reason="BAD_SHAPE",
                field="embeddings",
            )
        with torch.no_grad():
            network.mapping.embed.weight.copy_(embeddings)
    return network


def stem_design_spec(*, classes: int, resolution: int = 16, design: StemDesign | None = None) -> NetworkSpec:
    """The layers of `stem_network`, without weights."""
    chosen = design or StemDesign()
    values = dataclasses.asdict(chosen)
    return stem_spec(resolution, values.pop("layers"), num_classes=classes, **values)


def grown_spec(spec: NetworkSpec, resolution: int, design: HeadDesign | None = None) -> NetworkSpec:
    """The layers of a network that is grown to a resolution in one stage, without weights.

    Args:
        spec: The network to grow.
        resolution: Edge of the new pictures: the old one times a power of two.
        design: Layers and widths of the head; those of the published stages by default.

    Raises:
        InvalidArgumentError: The resolution is no such multiple (BAD_RESOLUTION), or the design has no
            meaning (BAD_NETWORK_DESIGN).
    """
    factor, rest = divmod(resolution, spec.resolution)
    if rest or factor < 2 or factor & (factor - 1):
        raise InvalidArgumentError(
            f"a network of {spec.resolution} pixels cannot grow to {resolution}; it grows by a power of "
            f"two: to {2 * spec.resolution}, {4 * spec.resolution}, ...",
            reason="BAD_RESOLUTION",
            field="resolution",
            value=resolution,
        )
    values = dataclasses.asdict(design or HeadDesign())
    return superres_spec(spec, values.pop("layers"), factor, **values)


def grown(
    network: StyleGanXl, resolution: int, design: HeadDesign | None = None, *, seed: int = 0
) -> StyleGanXl:
    """The next stage's network: a new head upon the layers and the mapping of an earlier one.

    Args:
        network: The network to grow, trained; it stays as it is.
        resolution: Edge of the new pictures: the old one times a power of two.
        design: Layers and widths of the head; those of the published stages by default.
        seed: Of the head's weights.

    Returns:
        A network whose mapping, input and kept layers equal the earlier one's to the last bit.

    Raises:
        InvalidArgumentError: As `grown_spec` says.
    """
    larger = _drawn(grown_spec(network.spec, resolution, design), seed)
    head = grown_stage(larger.spec, network.spec).layers
    dropped = {layer.name for layer in network.spec.layers} - {layer.name for layer in larger.spec.layers}
    state = larger.state_dict()
    for name, value in network.state_dict().items():
        if _layer_of(name) not in dropped | set(head):
            state[name] = value
    larger.load_state_dict(state)
    return larger


def stem_stage(spec: NetworkSpec) -> Stage:
    """The stage that trains a network as a whole."""
    return Stage(resolution=spec.resolution, layers=tuple(layer.name for layer in spec.layers), whole=True)


def grown_stage(spec: NetworkSpec, earlier: NetworkSpec) -> Stage:
    """The stage that trains the head of a network that was grown from an earlier one.

    Raises:
        InvalidArgumentError: The one was not grown from the other (NOT_GROWN).
    """
    kept = tuple(layer for layer in earlier.layers if not layer.is_critically_sampled)
    begins = spec.layers[: len(kept)] == kept and _without_layers(spec) == _without_layers(earlier)
    if not begins or spec.resolution <= earlier.resolution:
        raise InvalidArgumentError(
            f"the network of {spec.resolution} pixels was not grown from that of {earlier.resolution}: it "
            f"does not have its mapping and begin with its {len(kept)} kept layers",
            reason="NOT_GROWN",
            field="stage",
        )
    return Stage(
        resolution=spec.resolution,
        layers=tuple(layer.name for layer in spec.layers[len(kept) :]),
        whole=False,
    )


def freeze(network: StyleGanXl, stage: Stage) -> dict[str, nn.Parameter]:
    """Lets the stage's parameters alone take gradients.

    Args:
        network: Changed in place.
        stage: What trains.

    Returns:
        The parameters that train, by their names in the network.

    Raises:
        InvalidArgumentError: The stage is another network's (WRONG_STAGE).
    """
    missing = set(stage.layers) - {layer.name for layer in network.spec.layers}
    if missing or stage.resolution != network.spec.resolution:
        raise InvalidArgumentError(
            f"the stage of {stage.resolution} pixels is not one of this network of "
            f"{network.spec.resolution} pixels: take stem_stage or grown_stage of its spec",
            reason="WRONG_STAGE",
            field="stage",
        )
    trained: dict[str, nn.Parameter] = {}
    for name, parameter in network.named_parameters():
        trains = stage.whole or _layer_of(name) in stage.layers
        parameter.requires_grad_(trains)
        if trains:
            trained[name] = parameter
    return trained


def _without_layers(spec: NetworkSpec) -> dict[str, Any]:
    """What a network shares with those that are grown from it: input and mapping."""
    return {name: value for name, value in spec.to_dict().items() if name not in ("resolution", "layers")}


def _layer_of(name: str) -> str | None:
    """The synthesis layer that a tensor belongs to; None for the mapping network."""
    parts = name.split(".")
    return parts[1] if parts[0] == "synthesis" else None


def _drawn(spec: NetworkSpec, seed: int) -> StyleGanXl:
    """A network of random weights; torch's global generator is left where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return StyleGanXl(spec)
