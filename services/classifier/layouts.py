"""From what a layer gives to features and maps, and which layout a shape speaks for."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unitscope.errors import FailedPreconditionError
from unitscope.models.cards import LayerCard

RANKS = (2, 3, 4)
"""Dimensions that the output of a layer may have."""

UNIT_AXIS = {"channels_first": 1, "channels_last": -1, "tokens": -1}


def features_and_maps(output: Tensor, layer: LayerCard) -> tuple[Tensor, Tensor | None]:
    """Features and maps of a layer's output.

    Args:
        output: ``(batch, units)``, or as the layer's `layout` says.
        layer: The layer's card.

    Returns:
        Features ``(batch, units)``, and maps ``(batch, units, height, width)`` where there are any.

    Raises:
        FailedPreconditionError: The output is not as the card declares (reason INVALID_CARD).
    """
    axis = 1 if output.dim() == 2 else UNIT_AXIS[layer.layout]
    rank = 3 if layer.layout == "tokens" else 4
    if output.dim() not in (2, rank) or output.shape[axis] != layer.units:
        raise _invalid(
            f"layer {layer.name} gives an output of shape {tuple(output.shape)}; its card declares "
            f"{layer.units} units in the layout {layer.layout}"
        )
    if output.dim() == 2:
        return output, None
    if layer.layout == "tokens":
        return _of_tokens(output, layer)
    maps = output if layer.layout == "channels_first" else output.permute(0, 3, 1, 2)
    return maps.mean(dim=(2, 3)), maps


def _of_tokens(tokens: Tensor, layer: LayerCard) -> tuple[Tensor, Tensor | None]:
    """Features and maps of ``(batch, tokens, units)``; the patches are the last tokens."""
    count = tokens.shape[1] if layer.grid is None else math.prod(layer.grid)
    if count > tokens.shape[1]:
        raise _invalid(
            f"layer {layer.name} has {tokens.shape[1]} tokens; its card declares a grid of {layer.grid}"
        )
    patches = tokens[:, tokens.shape[1] - count :]
    features = tokens[:, 0] if layer.token == "class" else patches.mean(dim=1)
    if layer.grid is None:
        return features, None
    return features, patches.transpose(1, 2).reshape(len(tokens), layer.units, *layer.grid)


def declared(layer: LayerCard, output: Tensor, option: str = "") -> LayerCard:
    """The layer with its units, sign and layout, as its output shows them.

    Tokens that are one more than a square are taken for a class token and patches, and the class token for
    the feature; tokens that are a square, for patches, and their mean for the feature.

    Args:
        layer: The layer, by name and module.
        output: What it gives for a few images.
        option: ``channels_last``, ``class`` or ``mean`` where the shape is not to decide.

    Raises:
        FailedPreconditionError: The output is no layer's (reason INVALID_LAYER).
    """
    shape = tuple(output.shape)
    if output.dim() not in RANKS or not output.is_floating_point():
        raise FailedPreconditionError(
            f"{layer.module or layer.name!r} gives an output of shape {shape}; a layer must give "
            "(batch, units), (batch, units, height, width) or (batch, tokens, units)",
            reason="INVALID_LAYER",
            field="layer",
        )
    changes: dict[str, object] = {"nonnegative": bool((output >= 0).all())}
    if output.dim() == 3:
        changes["layout"] = "tokens"
        edge = math.isqrt(shape[1])
        leading = shape[1] - edge * edge
        changes["grid"] = (edge, edge) if leading in (0, 1) else None
        changes["token"] = option or ("class" if leading == 1 else "mean")
    elif output.dim() == 4 and option == "channels_last":
        changes["layout"] = "channels_last"
    layout = str(changes.get("layout", "channels_first"))
    changes["units"] = shape[1] if output.dim() == 2 else shape[UNIT_AXIS[layout]]
    return layer.model_copy(update=changes)


def extent(output: Tensor, layer: LayerCard) -> str:
    """How far a layer reaches, in words: ``7 x 7``, ``197 tokens``, or nothing for plain features."""
    if output.dim() == 3:
        return f"{output.shape[1]} tokens"
    if output.dim() == 4:
        sides = output.shape[1:3] if layer.layout == "channels_last" else output.shape[2:]
        return " x ".join(str(side) for side in sides)
    return ""


def joined(outputs: list[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
    """Features and maps of several layers: the features side by side, and no maps."""
    if len(outputs) == 1:
        return outputs[0]
    return torch.cat([features for features, _ in outputs], dim=1), None


def _invalid(message: str) -> FailedPreconditionError:
    return FailedPreconditionError(message, reason="INVALID_CARD")
