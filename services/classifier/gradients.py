"""Products of cotangents with the Jacobian of a classifier, by automatic differentiation.

A client knows a loss L of logits or features and its derivative by each of them (the cotangent); the
classifier turns that into the derivative of L by features or pixels. Rows do not mix, so each row of a batch
may have a loss of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from services.classifier.networks import Layers, Network
from unitscope.errors import FailedPreconditionError
from unitscope.models.cards import LayerCard


def check_differentiable(network: Network, name: str) -> None:
    """Refuses a network that no gradient goes through.

    Raises:
        FailedPreconditionError: Reason GRADIENT_NOT_AVAILABLE.
    """
    if not network.differentiable:
        raise _unavailable(name, "its file is run by onnxruntime, which computes no gradients")


def pull_to_features(
    network: Network, features: Tensor, cotangent: Tensor, layer: LayerCard, name: str
) -> tuple[Tensor, Tensor]:
    """Pulls a cotangent of the logits back to a layer's features.

    Args:
        network: In evaluation mode.
        features: `(batch, units)`.
        cotangent: `(batch, classes)`.
        layer: A layer with a head.
        name: The classifier's, for messages.

    Returns:
        Logits `(batch, classes)` and the cotangent of the features `(batch, units)`.

    Raises:
        FailedPreconditionError: A step has no derivative (reason GRADIENT_NOT_AVAILABLE).
    """
    with torch.enable_grad():
        leaf = features.detach().clone().requires_grad_()
        # A copy, because programs may work in place on what they are given.
        logits = network.head(leaf.clone(), layer)
        gradient = _pull([logits], [cotangent], leaf, name)
    return logits.detach(), gradient


def pull_to_images(
    network: Network,
    prepare: Callable[[Tensor], Tensor],
    images: Tensor,
    cotangents: tuple[Tensor, Tensor],
    layers: Layers,
    name: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Pulls cotangents of features and logits back to pixels.

    Args:
        network: In evaluation mode.
        prepare: From pixels to what the network reads; differentiable.
        images: Pixels in [0, 255], `(batch, height, width, 3)`.
        cotangents: Of the features `(batch, units)` and of the logits `(batch, classes)`.
        layers: The layers whose features, side by side, are meant.
        name: The classifier's, for messages.

    Returns:
        The cotangent of the pixels `(batch, height, width, 3)`, features and logits.

    Raises:
        FailedPreconditionError: A step has no derivative (reason GRADIENT_NOT_AVAILABLE).
    """
    with torch.enable_grad():
        leaf = images.detach().float().clone().requires_grad_()
        features, logits, _ = network.read(prepare(leaf), layers)
        gradient = _pull([features, logits], list(cotangents), leaf, name)
    return gradient, features.detach(), logits.detach()


def _pull(outputs: list[Tensor], cotangents: list[Tensor], leaf: Tensor, name: str) -> Tensor:
    """The cotangent of the leaf."""
    if any(not output.requires_grad for output in outputs):
        raise _unavailable(name, "a step of it has no derivative")
    try:
        (found,) = torch.autograd.grad(outputs, leaf, cotangents)
    except RuntimeError as error:
        raise _unavailable(name, f"automatic differentiation says: {str(error)[:200]}") from error
    gradient: Tensor = found
    return gradient


def _unavailable(name: str, why: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"no gradient goes through {name}: {why}; import the classifier from torch.export or torchvision, "
        "or use an analysis without gradients",
        reason="GRADIENT_NOT_AVAILABLE",
        field="model",
        model=name,
    )
