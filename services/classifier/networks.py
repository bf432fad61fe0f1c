"""From a card to a network that can be read at its declared layers.

Two kinds of architecture are known: ``avatarnet``, our own, and ``torchvision``, any of its
classification models by name. Both become a `Network`, which speaks of layers by their cards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from services.classifier.avatarnet import AvatarNet
from services.classifier.torchvision_compat import torchvision_models
from unitscope.errors import FailedPreconditionError
from unitscope.models.cards import LayerCard, ModelCard

Outputs = tuple[Tensor, Tensor, Tensor | None]
"""Features ``(batch, units)``, logits ``(batch, classes)``, maps ``(batch, units, h, w)`` or None."""

Layers = Sequence[LayerCard]
"""At least one; the features of several stand one after the other, and they have no maps."""


class Network(Protocol):
    """A network in evaluation mode whose inputs are normalised already."""

    module: nn.Module

    def read(self, images: Tensor, layers: Layers) -> Outputs:
        """Evaluates ``float32 (batch, 3, h, w)`` whole, once; features and maps are those of `layers`."""

    def head(self, features: Tensor) -> Tensor:
        """Logits of penultimate features, ``(batch, units)`` to ``(batch, classes)``."""


class HookedNetwork:
    """Any module whose last step is one linear layer, read by forward hooks.

    A layer with a module is that module's output, averaged over space where it has maps; a layer
    without one is the input of the head.
    """

    def __init__(self, module: nn.Module, head: str) -> None:
        """Finds the head.

        Raises:
            FailedPreconditionError: There is no linear layer of that name (reason INVALID_CARD).
        """
        self.module = module
        found = dict(module.named_modules()).get(head)
        if not isinstance(found, nn.Linear):
            known = [n for n, m in module.named_modules() if isinstance(m, nn.Linear)]
            raise _invalid(f"the head {head!r} is no linear layer; such are: {known[-5:]}")
        self._head = found

    def read(self, images: Tensor, layers: Layers) -> Outputs:
        """See `Network`. Not for two threads at once: the hooks are on the module."""
        logits, seen = self._hooked(images, layers)
        features, maps = _joined([_pooled(output, layer) for output, layer in zip(seen, layers, strict=True)])
        return features, logits, maps

    def output(self, images: Tensor, layer: LayerCard) -> Tensor:
        """The layer's output as it is, whatever its card declares of it."""
        return self._hooked(images, [layer])[1][0]

    def _hooked(self, images: Tensor, layers: Layers) -> tuple[Tensor, list[Tensor]]:
        """Logits, and the output of each layer."""
        seen: list[list[Any]] = [[] for _ in layers]
        handles = [self._hook(layer, found) for layer, found in zip(layers, seen, strict=True)]
        try:
            logits: Tensor = self.module(images)
        finally:
            for handle in handles:
                handle.remove()
        for layer, found in zip(layers, seen, strict=True):
            if len(found) != 1 or not isinstance(found[0], Tensor):
                raise _invalid(
                    f"layer {layer.name}: {layer.module or 'the head'} must run once and give one tensor"
                )
        return logits, [found[0] for found in seen]

    def _hook(self, layer: LayerCard, found: list[Any]) -> RemovableHandle:
        """Has the layer's output put into a list."""
        if not layer.module:
            return self._head.register_forward_pre_hook(lambda _m, inputs: found.append(inputs[0]))
        target = dict(self.module.named_modules()).get(layer.module)
        if target is None:
            raise _invalid(f"layer {layer.name}: there is no module {layer.module!r}")
        handle: RemovableHandle = target.register_forward_hook(lambda _m, _i, output: found.append(output))
        return handle

    def head(self, features: Tensor) -> Tensor:
        """See `Network`."""
        logits: Tensor = self._head(features)
        return logits


class AvatarNetwork:
    """`AvatarNet` with its two layers: ``penultimate``, and the maps of its ``trunk``."""

    def __init__(self, module: AvatarNet) -> None:
        """Takes the network."""
        self.module: nn.Module = module
        self._net = module

    def read(self, images: Tensor, layers: Layers) -> Outputs:
        """See `Network`."""
        for layer in layers:
            if layer.module not in ("", "trunk"):
                raise _invalid(f"layer {layer.name}: an avatarnet has no module {layer.module!r}")
        maps = self._net.feature_maps(images)
        penultimate = torch.relu(self._net.units(maps.flatten(1)))
        logits = self._net.head(penultimate)
        outputs = [_pooled(maps if layer.module else penultimate, layer) for layer in layers]
        features, spatial = _joined(outputs)
        return features, logits, spatial

    def head(self, features: Tensor) -> Tensor:
        """See `Network`."""
        return self._net.head(features)


def build(card: ModelCard) -> Network:
    """Builds a card's network with random weights, in evaluation mode.

    Raises:
        FailedPreconditionError: The architecture is not known (reason UNKNOWN_ARCHITECTURE) or what
            the card says of it makes no sense (INVALID_CARD).
    """
    architecture = dict(card.architecture)
    name = architecture.pop("name", None)
    if name == "avatarnet":
        network: Network = AvatarNetwork(_avatarnet(card, architecture))
    elif name == "torchvision":
        head = str(architecture.get("head", ""))
        network = HookedNetwork(
            torchvision_model(str(architecture.get("model", "")), len(card.classes)), head
        )
    else:
        raise FailedPreconditionError(
            f"{card.name} has the architecture {name!r}; 'avatarnet' and 'torchvision' are served",
            reason="UNKNOWN_ARCHITECTURE",
            model=card.name,
        )
    network.module.eval().requires_grad_(False)
    return network


def torchvision_model(name: str, num_classes: int) -> nn.Module:
    """A torchvision classification model by name, with random weights.

    Raises:
        FailedPreconditionError: There is none of that name (reason UNKNOWN_ARCHITECTURE).
    """
    models = torchvision_models()
    if name not in models.list_models(module=models):
        raise FailedPreconditionError(
            f"torchvision has no classification model {name!r}; it has e.g. 'resnet50' and "
            "'efficientnet_b0' (torchvision.models.list_models() names them all)",
            reason="UNKNOWN_ARCHITECTURE",
            architecture=name,
        )
    module: nn.Module = models.get_model(name, weights=None, num_classes=num_classes)
    return module


def last_linear(module: nn.Module) -> str:
    """The name of the last linear layer, which classification models end in; '' where none is."""
    names = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    return names[-1] if names else ""


def _avatarnet(card: ModelCard, arguments: dict[str, Any]) -> AvatarNet:
    try:
        return AvatarNet(len(card.classes), units=int(arguments["units"]), width=int(arguments["width"]))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _invalid(f"{card.name}: an avatarnet needs 'units' and 'width': {error!r}") from error


def _pooled(output: Tensor, layer: LayerCard) -> tuple[Tensor, Tensor | None]:
    """Features and maps of a layer's output."""
    if output.dim() not in (2, 4) or output.shape[1] != layer.units:
        raise _invalid(
            f"layer {layer.name} gives an output of shape {tuple(output.shape)}; its card declares "
            f"{layer.units} units: (batch, units) or (batch, units, height, width)"
        )
    return (output, None) if output.dim() == 2 else (output.mean(dim=(2, 3)), output)


def _joined(outputs: list[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
    """Features and maps of several layers: the features side by side, and no maps."""
    if len(outputs) == 1:
        return outputs[0]
    return torch.cat([features for features, _ in outputs], dim=1), None


def _invalid(message: str) -> FailedPreconditionError:
    return FailedPreconditionError(message, reason="INVALID_CARD")
