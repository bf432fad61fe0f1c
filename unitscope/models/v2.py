"""Names that a generator goes by on an Open Inference Protocol v2 server.

What V2 cannot say (resolution, number of latents, classes, digest) is on the model's card; the names
carry the short digest, so that a client cannot take one generator for another.

================  =============================================  =====================================
model             inputs                                         outputs
================  =============================================  =====================================
``...-mapping``   ``z`` FP32 [B, z_dim], ``class`` INT64 [B, 1],  ``w`` FP32 [B, w_dim]
                  ``truncation`` FP32 [B, 1]
``...-synthesis`` ``w`` FP32 [B, 1 or num_ws, w_dim]             ``image`` UINT8 [B, H, W, 3],
                                                                 ``float_image`` FP32 [B, H, W, 3]
``...-parts-...`` ``w`` FP32 [B, 1 or num_ws, w_dim]             ``image`` UINT8 [B, H, W, 3],
                                                                 ``labels`` UINT8 [B, H, W]
``...-gradient``  ``w`` FP32 [B, 1 or num_ws, w_dim],            ``w_cotangent`` FP32, of w's shape
                  ``cotangent`` FP32 [B, H, W, 3]
``...-hidden``    ``w`` FP32 [B, 1 or num_ws, w_dim],            ``image`` UINT8 [B, H, W, 3],
                  ``projections`` FP32 [K, channels]             ``projected`` FP32 [B, K, S, S]
================  =============================================  =====================================

``image`` is ``float_image`` (in [-1, 1]) clipped and rounded to 0..255. Synthesis takes the request
parameter ``reduce``, an integer that divides H and W: each square of so many pixels a side, clipped,
becomes their mean, and H and W of both outputs are divided by it.

``cotangent`` is dL/dx of any loss L of the picture x = ``float_image`` as it is before clipping and
rounding; ``w_cotangent`` is dL/dw. The gradient model is there only where the generator was told to serve
it (UNITSCOPE_GENERATOR_GRADIENTS).

The hidden model renders like synthesis (``reduce`` included) and reduces what one layer wrote in that very
pass. The request parameter ``layer`` names it; ``projections`` has a row for every direction and a column
for every channel of the layer, K at most `MAX_PROJECTIONS`. ``projected[b, k]`` is the sum of the layer's
channels weighted by row k, at every sample of the S x S canvas, margins included (the card's
``layers[].out_size``); with the parameter ``pool`` true it is the mean over the canvas, and S is 1. One
answer holds at most `MAX_PROJECTED_BYTES` of it. A request's projections are its own: a server never joins
two requests for this model. It is there only where the generator was told to serve it
(UNITSCOPE_GENERATOR_HIDDEN).
"""

from __future__ import annotations

from unitscope.models.cards import ModelCard

MAX_BATCH = 64
"""The largest batch of one request."""

REDUCE = "reduce"
"""The request parameter of synthesis that asks for smaller pictures."""

LAYER = "layer"
"""The request parameter of the hidden model that names the layer."""

POOL = "pool"
"""The request parameter of the hidden model that asks for means over the canvas."""

MAX_PROJECTIONS = 256
"""The most projections of one request."""

MAX_PROJECTED_BYTES = 48 << 20
"""The most that one answer holds of what was projected: a message of our servers also takes the pictures."""


def mapping_model(card: ModelCard) -> str:
    """The V2 name of the generator's mapping network: z, class, truncation -> w."""
    return f"{_stem(card)}-mapping"


def synthesis_model(card: ModelCard) -> str:
    """The V2 name of the generator's synthesis network: w or w+ -> image."""
    return f"{_stem(card)}-synthesis"


def parts_model(generator: ModelCard, parts: ModelCard) -> str:
    """The V2 name of the generator with a parts model: w or w+ -> image and labels, in one pass."""
    return f"{_stem(generator)}-parts-{parts.short_digest}"


def gradient_model(card: ModelCard) -> str:
    """The V2 name of the generator's gradient: w or w+, cotangent of the picture -> cotangent of w."""
    return f"{_stem(card)}-gradient"


def hidden_model(card: ModelCard) -> str:
    """The V2 name of the generator with hidden features: w or w+, projections -> image and projected."""
    return f"{_stem(card)}-hidden"


def _stem(card: ModelCard) -> str:
    return f"{card.name.replace('/', '-')}-{card.short_digest}"
