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
================  =============================================  =====================================

``image`` is ``float_image`` (in [-1, 1]) clipped and rounded to 0..255. Synthesis takes the request
parameter ``reduce``, an integer that divides H and W: each square of so many pixels a side, clipped,
becomes their mean, and H and W of both outputs are divided by it.

``cotangent`` is dL/dx of any loss L of the picture x = ``float_image`` as it is before clipping and
rounding; ``w_cotangent`` is dL/dw. The gradient model is there only where the generator was told to serve
it (UNITSCOPE_GENERATOR_GRADIENTS).
"""

from __future__ import annotations

from unitscope.models.cards import ModelCard

MAX_BATCH = 64
"""The largest batch of one request."""

REDUCE = "reduce"
"""The request parameter of synthesis that asks for smaller pictures."""


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


def _stem(card: ModelCard) -> str:
    return f"{card.name.replace('/', '-')}-{card.short_digest}"
