"""Converts weights of torchvision architectures into a model of the registry, once.

The only place of this service that reads anything but safetensors; it reads plain state dicts with
``torch.load(weights_only=True)``, which executes nothing::

    import_torchvision("resnet50", Path("resnet50.pth"), Path("models"), name="mine/resnet50", classes=names)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from services.classifier.networks import HookedNetwork, last_linear, torchvision_model
from unitscope.errors import AlreadyExistsError, InvalidArgumentError
from unitscope.models.cards import (
    CARD_FILE,
    WEIGHTS_FILE,
    InputSpec,
    LayerCard,
    ModelCard,
    file_entry,
)
from unitscope.models.registry import ModelReference

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_WRAPPERS = ("state_dict", "model", "model_state_dict")
_PREFIXES = ("module.", "model.")


def import_torchvision(
    architecture: str,
    weights: Path,
    root: Path,
    *,
    name: str,
    classes: Sequence[str],
    size: tuple[int, int] = (224, 224),
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
    maps: Mapping[str, str] | None = None,
    description: str = "",
    license_name: str = "unknown",
) -> ModelCard:
    """Writes ``<root>/<name>/{card.json, model.safetensors}``.

    The layer ``penultimate`` is what the last linear layer reads; further layers are declared by the
    module whose output they are. Units and signs are measured on noise with the imported weights.

    Args:
        architecture: A classification model of torchvision, e.g. ``resnet50``.
        weights: A state dict, ``.safetensors`` or what ``torch.save`` wrote.
        root: The registry's folder.
        name: ``<pack>/<model>``.
        classes: Names of the classes, in the order of the logits.
        size: Height and width of the images that the network wants.
        mean: Mean of each channel, of images in [0, 1].
        std: Standard deviation of each channel.
        maps: Further layers: name -> module, e.g. ``{"maps": "layer4"}``.
        description: What the model is.
        license_name: Licence of the weights.

    Returns:
        The card that was written.

    Raises:
        InvalidArgumentError: The file is no state dict of that architecture (INVALID_WEIGHTS).
        FailedPreconditionError: No such architecture or module.
        AlreadyExistsError: There is a model of that name (reason MODEL_EXISTS).
    """
    folder = root.joinpath(*ModelReference.parse(name, "name").name.split("/"))
    if (folder / CARD_FILE).exists():
        raise AlreadyExistsError(
            f"there is a model {name!r} already; remove it, or choose another name",
            reason="MODEL_EXISTS",
            field="name",
        )
    module = torchvision_model(architecture, len(classes)).eval()
    _load(module, read_state_dict(weights), f"{architecture} with {len(classes)} classes")
    head = last_linear(module)
    network = HookedNetwork(module, head)
    layers = [_measured(network, LayerCard(name="penultimate", units=1, nonnegative=False), size)]
    layers[0] = layers[0].model_copy(update={"has_head": True})
    for layer, path in (maps or {}).items():
        declared = LayerCard(name=layer, units=1, nonnegative=False, module=path)
        layers.append(_measured(network, declared, size))
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_distinct(module.state_dict()), folder / WEIGHTS_FILE)
    card = ModelCard(
        name=name,
        kind="classifier",
        description=description or f"torchvision's {architecture} with imported weights.",
        license=license_name,
        architecture={"name": "torchvision", "model": architecture, "head": head},
        classes=tuple(classes),
        input=InputSpec(height=size[0], width=size[1], mean=mean, std=std),
        layers=tuple(layers),
        files={WEIGHTS_FILE: file_entry(folder / WEIGHTS_FILE)},
        training={"imported_from": weights.name, "source_sha256": file_entry(weights).sha256},
    )
    card.save(folder)
    return card


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Reads a state dict without executing anything, also one wrapped as training scripts do.

    Raises:
        InvalidArgumentError: The file is none (reason INVALID_WEIGHTS).
    """
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has errors of its own, from pickle's to zip's
        raise _invalid(f"{path.name} cannot be read as a state dict: {str(error)[:200]}") from error
    for key in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise _invalid(f"{path.name} holds no state dict: a mapping of names to tensors is needed")
    state: dict[str, Tensor] = dict(found)
    for prefix in _PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _load(module: nn.Module, state: dict[str, Tensor], expected: str) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise _invalid(f"the weights are not those of {expected}: {str(error)[:400]}") from error


@torch.inference_mode()
def _measured(network: HookedNetwork, layer: LayerCard, size: tuple[int, int]) -> LayerCard:
    """The layer with its number of units, and whether they are ever negative, as seen on noise."""
    noise = torch.randn(4, 3, *size, generator=torch.Generator().manual_seed(0))
    output = network.output(noise, layer)
    if output.dim() not in (2, 4):
        raise _invalid(
            f"module {layer.module!r} gives an output of shape {tuple(output.shape)}; a layer must "
            "give (batch, units) or (batch, units, height, width)"
        )
    nonnegative = bool((output >= 0).all())
    return layer.model_copy(update={"units": output.shape[1], "nonnegative": nonnegative})


def _distinct(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies, since safetensors refuses tensors that share memory."""
    return {name: value.detach().clone().contiguous() for name, value in state.items()}


def _invalid(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason="INVALID_WEIGHTS", field="weights")
