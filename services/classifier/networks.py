"""From a card to a network that can be read at its declared layers.

Architectures of modules are ``avatarnet``, our own, and ``torchvision``, any of its classification models
by name; they are built here. ``export`` (`services.classifier.program`) and ``onnx``
(`services.classifier.onnx_network`) come as files. All become a `Network`, which speaks of layers by their
cards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from services.classifier.avatarnet import AvatarNet
from services.classifier.layouts import features_and_maps, joined
from services.classifier.torchvision_compat import torchvision_models
from unitscope.errors import FailedPreconditionError
from unitscope.models.cards import LayerCard, ModelCard

Outputs = tuple[Tensor, Tensor, Tensor | None]
"""Features ``(batch, units)``, logits ``(batch, classes)``, maps ``(batch, units, h, w)`` or None."""

Layers = Sequence[LayerCard]
"""At least one; the features of several stand one after the other, and they have no maps."""


BATCH = 32
"""Rows that a network is given at once, unless its file fixes another number."""


class Network(Protocol):
    """A network in evaluation mode whose inputs are normalised already."""

    batch: int
    """Rows that it is always given, padded where there are fewer."""

    differentiable: bool
    """Whether automatic differentiation can go through it."""

    def to(self, device: torch.device) -> None:
        """Moves the weights to where they will be used."""

    def read(self, images: Tensor, layers: Layers) -> Outputs:
        """Evaluates ``float32 (batch, 3, h, w)`` whole, once; features and maps are those of `layers`."""

    def head(self, features: Tensor, layer: LayerCard) -> Tensor:
        """Logits of the features of a layer that has a head, ``(batch, units)`` to ``(batch, classes)``."""

    def places(self) -> dict[str, bool]:
        """The modules or tensors that can be layers; whether all that reaches the logits passes each."""

    def outputs(self, images: Tensor, places: Sequence[str]) -> dict[str, Tensor]:
        """What places give for images, as it is; those that are no tensor, or run twice, are left out."""

    def penultimate(self) -> str | None:
        """The place that the last linear step reads; None where nothing linear is last."""

    def resolved(self, place: str) -> str:
        """The place that is meant, where a place may be named in several ways."""

    def modules(self) -> dict[str, str]:
        """What a place is part of, for people."""


class HookedNetwork:
    """Any module whose last step is one linear layer, read by forward hooks.

    A layer with a module is that module's output, averaged over space where it has maps; a layer
    without one is the input of the head.
    """

    batch = BATCH
    differentiable = True

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

    def to(self, device: torch.device) -> None:
        """See `Network`."""
        _move(self.module, device)

    def read(self, images: Tensor, layers: Layers) -> Outputs:
        """See `Network`. Not for two threads at once: the hooks are on the module."""
        logits, seen = self._hooked(images, [layer.module for layer in layers])
        for layer in layers:
            if layer.module not in seen:
                raise _invalid(
                    f"layer {layer.name}: {layer.module or 'the head'} must run once and give one tensor"
                )
        outputs = [features_and_maps(seen[layer.module], layer) for layer in layers]
        features, maps = joined(outputs)
        return features, logits, maps

    def places(self) -> dict[str, bool]:
        """See `Network`: modules; the empty name is what the head reads."""
        return {"": True} | {name: False for name, _ in self.module.named_modules() if name}

    def outputs(self, images: Tensor, places: Sequence[str]) -> dict[str, Tensor]:
        """See `Network`."""
        return self._hooked(images, places)[1]

    def penultimate(self) -> str | None:
        """See `Network`: what the head reads."""
        return ""

    def resolved(self, place: str) -> str:
        """See `Network`."""
        return place

    def modules(self) -> dict[str, str]:
        """See `Network`."""
        return {name: type(part).__name__ for name, part in self.module.named_modules() if name}

    def _hooked(self, images: Tensor, places: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits, and the output of each place that ran once and gave one tensor."""
        seen: dict[str, list[Any]] = {place: [] for place in places}
        handles = [self._hook(place, found) for place, found in seen.items()]
        try:
            logits: Tensor = self.module(images)
        finally:
            for handle in handles:
                handle.remove()
        return logits, {
            place: found[0]
            for place, found in seen.items()
            if len(found) == 1 and isinstance(found[0], Tensor)
        }

    def _hook(self, place: str, found: list[Any]) -> RemovableHandle:
        """Has the place's output put into a list, as it is before a later step works on it in place."""

        def keep(output: Any) -> None:
            found.append(output.clone() if isinstance(output, Tensor) else output)

        if not place:
            return self._head.register_forward_pre_hook(lambda _m, inputs: keep(inputs[0]))
        target = dict(self.module.named_modules()).get(place)
        if target is None:
            raise _invalid(f"there is no module {place!r}")
        handle: RemovableHandle = target.register_forward_hook(lambda _m, _i, output: keep(output))
        return handle

    def head(self, features: Tensor, layer: LayerCard) -> Tensor:
        """See `Network`."""
        logits: Tensor = self._head(features)
        return logits


class AvatarNetwork:
    """`AvatarNet` with its two layers: ``penultimate``, and the maps of its ``trunk``."""

    batch = BATCH
    differentiable = True

    def __init__(self, module: AvatarNet) -> None:
        """Takes the network."""
        self.module: nn.Module = module
        self._net = module

    def to(self, device: torch.device) -> None:
        """See `Network`."""
        _move(self.module, device)

    def read(self, images: Tensor, layers: Layers) -> Outputs:
        """See `Network`."""
        for layer in layers:
            if layer.module not in self.places():
                raise _invalid(f"layer {layer.name}: an avatarnet has no module {layer.module!r}")
        seen = self.outputs(images, [layer.module for layer in layers] + [""])
        features, maps = joined([features_and_maps(seen[layer.module], layer) for layer in layers])
        return features, self._net.head(seen[""]), maps

    def places(self) -> dict[str, bool]:
        """See `Network`."""
        return {"": True, "trunk": False}

    def outputs(self, images: Tensor, places: Sequence[str]) -> dict[str, Tensor]:
        """See `Network`."""
        maps = self._net.feature_maps(images)
        seen = {"": torch.relu(self._net.units(maps.flatten(1))), "trunk": maps}
        return {place: seen[place] for place in dict.fromkeys(places)}

    def penultimate(self) -> str | None:
        """See `Network`: what the head reads."""
        return ""

    def resolved(self, place: str) -> str:
        """See `Network`."""
        return place

    def modules(self) -> dict[str, str]:
        """See `Network`."""
        return {name: type(part).__name__ for name, part in self.module.named_modules() if name}

    def head(self, features: Tensor, layer: LayerCard) -> Tensor:
        """See `Network`."""
        return self._net.head(features)


ModuleNetwork: TypeAlias = HookedNetwork | AvatarNetwork


def build(card: ModelCard) -> ModuleNetwork:
    """Builds a card's network with random weights, in evaluation mode.

    Raises:
        FailedPreconditionError: The architecture is not known (reason UNKNOWN_ARCHITECTURE) or what
            the card says of it makes no sense (INVALID_CARD).
    """
    architecture = dict(card.architecture)
    name = architecture.pop("name", None)
    if name == "avatarnet":
        network: ModuleNetwork = AvatarNetwork(_avatarnet(card, architecture))
    elif name == "torchvision":
        head = str(architecture.get("head", ""))
        network = HookedNetwork(
            torchvision_model(str(architecture.get("model", "")), len(card.classes)), head
        )
    else:
        raise FailedPreconditionError(
            f"{card.name} has the architecture {name!r}; 'avatarnet', 'torchvision', 'export' and 'onnx' "
            "are served",
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


def _move(module: nn.Module, device: torch.device) -> None:
    module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def _invalid(message: str) -> FailedPreconditionError:
    return FailedPreconditionError(message, reason="INVALID_CARD")
