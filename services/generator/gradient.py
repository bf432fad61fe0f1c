"""The product of a cotangent with the Jacobian of synthesis: what gradients through the picture need.

A client knows a loss L of the picture and its derivative by every pixel (the cotangent); the generator
turns that into the derivative of L by w. Neither needs the other's network::

    w_cotangent = vjp(network.synthesis, ws, cotangent)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from services.generator.layers import Form
from services.generator.network import Synthesis


def vjp(
    synthesis: Synthesis, ws: Tensor, cotangent: Tensor, form: Form = "fast", recompute: bool = False
) -> Tensor:
    """Pulls a cotangent of the picture back to w+.

    Args:
        synthesis: The synthesis network.
        ws: One w for the input and every layer, `(batch, num_ws, w_dim)`.
        cotangent: dL/dx for the float picture x, as `Synthesis.forward` gives it (nominally in [-1, 1],
            neither clipped nor rounded), with its channels last: `(batch, height, width, 3)`.
        form: As in `Synthesis.forward`.
        recompute: Whether to keep the layers' canvases alone and compute each layer again on the way
            back: less memory, half again as much time.

    Returns:
        dL/dw for every w of `ws`, float32 `(batch, num_ws, w_dim)`.
    """
    with torch.enable_grad():
        leaf = ws.detach().clone().requires_grad_()
        picture = _recomputed(synthesis, leaf, form) if recompute else synthesis(leaf, form)
        (found,) = torch.autograd.grad(picture, leaf, cotangent.permute(0, 3, 1, 2).contiguous())
    gradient: Tensor = found
    return gradient


def _recomputed(synthesis: Synthesis, ws: Tensor, form: Form) -> Tensor:
    """`Synthesis.forward`, with every layer as a checkpoint."""
    x = synthesis.fourier(ws[:, 0])
    for i, layer in enumerate(synthesis.layers(), start=1):
        x = checkpoint(layer, x, ws[:, i], form, use_reentrant=False, preserve_rng_state=False)
    return x.float() * synthesis.spec.output_scale
