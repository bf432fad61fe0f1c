"""From hidden features to labels: layers are projected at their own size, resized and summed.

The first layer of the published network reads all channels of all layers, upsampled to one size and
concatenated (13,588 channels at 128 px, 0.9 GB a picture). A 1x1 convolution is linear in every
channel and bilinear resizing is linear in every sample: projecting each layer where it is, and
resizing a few channels, gives the same sum without that tensor. Layers of one size are even summed
before they are resized::

    collector = Collector(parts)
    pictures = generator.synthesis(w, "fast", collector)     # the pass that renders
    labels = parts.labels(collector.hidden())                # uint8 (batch, height, width)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from services.generator.fast import in_float32
from services.generator.parts.features import FeatureLayer, Features, Scale, feature_layers
from services.generator.specs import NetworkSpec
from unitscope.errors import InvalidArgumentError

Head = Literal["convolution", "none"]
"""``convolution``: LeakyReLU, a dilated 3x3 convolution, LeakyReLU, logits. ``none``: the hidden
channels are the logits, which are then linear in the features."""

HIDDEN = 32
DILATION = 2
MAX_PARTS = 255
"""Labels are bytes, and 255 stands for what nobody has labelled."""

_SLOPE = 0.2


class PartsNetwork(nn.Module):
    """Labels every pixel of a generator's pictures.

    Attributes:
        spec: The generator that it reads.
        parts: Names of the parts, in the order of the labels.
        layers: The layers that it reads.
        hidden: Channels that every layer is projected to.
        head: What follows the sum.
        dilation: Of the 3x3 convolution.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        parts: Sequence[str],
        layers: Sequence[str] | None = None,
        hidden: int = HIDDEN,
        head: Head = "convolution",
        dilation: int = DILATION,
    ) -> None:
        """Draws weights from torch's global generator, for features of variance 1.

        Args:
            spec: The generator's spec.
            parts: Names, all different.
            layers: Names of the layers to read; all by default.
            hidden: Ignored without a head: there are as many channels as parts.
            head: See `Head`.
            dilation: Pixels between the samples of the convolution.

        Raises:
            InvalidArgumentError: Fewer than two parts, more than MAX_PARTS or two of one name
                (reason INVALID_PARTS); a layer that does not exist (LAYER_NOT_FOUND).
        """
        super().__init__()
        check_names(parts)
        self.spec = spec
        self.parts = tuple(parts)
        self.layers: tuple[FeatureLayer, ...] = feature_layers(spec, layers)
        self.head: Head = head
        self.dilation = dilation
        self.hidden = hidden if head == "convolution" else len(self.parts)
        total = sum(layer.channels for layer in self.layers)
        self.project = nn.ParameterDict(
            {
                layer.name: nn.Parameter(torch.randn(self.hidden, layer.channels) / total**0.5)
                for layer in self.layers
            }
        )
        self.bias = nn.Parameter(torch.zeros(self.hidden))
        if head == "convolution":
            self.mix = nn.Conv2d(self.hidden, self.hidden, 3, padding=dilation, dilation=dilation)
            self.logits = nn.Conv2d(self.hidden, len(self.parts), 1)

    def forward(self, features: Features, gains: Mapping[str, Tensor] | None = None) -> Tensor:
        """Logits of features that were captured.

        Args:
            features: Visible features of every layer, as `features.capture` gives them.
            gains: A factor for every channel of every layer, `(channels,)`, if given.

        Returns:
            float32 `(batch, parts, resolution, resolution)`.
        """
        collector = Collector(self, gains)
        for layer in self.layers:
            collector.add(layer, features[layer.name])
        return self.read(collector.hidden())

    def read(self, hidden: Tensor) -> Tensor:
        """Logits `(batch, parts, h, w)` of the hidden channels `(batch, hidden, h, w)`."""
        if self.head == "none":
            return hidden
        x = F.leaky_relu(self.mix(F.leaky_relu(hidden, _SLOPE)), _SLOPE)
        logits: Tensor = self.logits(x)
        return logits

    def labels(self, hidden: Tensor) -> Tensor:
        """The likeliest part of every pixel, uint8 `(batch, h, w)`; one picture at a time.

        Batches would need several times their own memory at high resolution and, on a CPU, are not
        faster.
        """
        # Labels are decided in float32, whatever the pictures are rendered in.
        with in_float32(hidden.device):
            rows = [self.read(row[None]).argmax(dim=1).to(torch.uint8) for row in hidden]
        return torch.cat(rows)

    @torch.no_grad()
    def fold(self, scales: Mapping[str, Scale]) -> None:
        """Makes a network that reads standardised features read raw ones, with the same results."""
        for name, weight in self.project.items():
            weight.div_(scales[name].std)
            self.bias.sub_(weight @ scales[name].mean)


class Collector:
    """Sums the projections of layers as a generator writes them: an observer of `Synthesis.forward`.

    For one pass; nothing else of the features is kept.
    """

    def __init__(self, network: PartsNetwork, gains: Mapping[str, Tensor] | None = None) -> None:
        """Starts with no layer seen."""
        self._network = network
        self._gains = gains
        self._wanted = {layer.name: layer for layer in network.layers}
        self._sums: dict[int, Tensor] = {}

    def __call__(self, name: str, canvas: Tensor) -> None:
        """Takes the canvas `(batch, channels, size, size)` that a layer has written."""
        if name in self._wanted:
            layer = self._wanted.pop(name)
            # Cropping afterwards spares a copy of all channels.
            self._sum(layer, layer.visible(self._project(name, canvas.float())))

    def add(self, layer: FeatureLayer, features: Tensor) -> None:
        """Takes features without a margin."""
        del self._wanted[layer.name]
        self._sum(layer, self._project(layer.name, features))

    def hidden(self) -> Tensor:
        """The hidden channels at the size of the picture, `(batch, hidden, h, w)`.

        Raises:
            ValueError: A layer has not been seen yet: the pass is not over.
        """
        if self._wanted:
            raise ValueError(f"layers {', '.join(self._wanted)} have not been rendered yet")
        size = self._network.spec.resolution
        total: Tensor | None = None
        for x in self._sums.values():
            full = x if x.shape[-1] == size else _resize(x, size)
            total = full if total is None else total + full
        self._sums.clear()
        assert total is not None, "a network reads at least one layer"
        return total + self._network.bias[:, None, None]

    def _project(self, name: str, x: Tensor) -> Tensor:
        weight = self._network.project[name]
        if self._gains is not None:
            weight = weight * self._gains[name]
        with in_float32(x.device):
            return F.conv2d(x, weight[:, :, None, None])

    def _sum(self, layer: FeatureLayer, x: Tensor) -> None:
        self._sums[layer.size] = self._sums[layer.size] + x if layer.size in self._sums else x


def check_names(parts: Sequence[str]) -> None:
    """Refuses lists of parts that labels cannot stand for.

    Raises:
        InvalidArgumentError: reason INVALID_PARTS.
    """
    if not 2 <= len(parts) <= MAX_PARTS:
        raise _bad(f"there are {len(parts)} parts; 2 to {MAX_PARTS} are possible")
    twice = sorted({name for name in parts if list(parts).count(name) > 1})
    if twice:
        raise _bad(f"the part {twice[0]!r} is named twice; every part needs a name of its own")
    if not all(parts):
        raise _bad("a part has an empty name")


def _resize(x: Tensor, size: int) -> Tensor:
    """Bilinear, pixel centres aligned, never smoothing: a linear function of every sample."""
    return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)


def _bad(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason="INVALID_PARTS", field="parts")
