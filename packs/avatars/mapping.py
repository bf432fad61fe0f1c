"""Builds the mapping network: its weights are constructed so that ``w`` is linear in class and factors.

The network is StyleGAN-XL's: ``z`` and a class embedding, both normalised, through two fully
connected layers with leaky ReLU. Nothing is trained here. Hidden units come in pairs whose
difference is a steep ramp at one edge of a factor's bins (`unitscope.worlds.latents`); the second
layer adds, for every value of a factor and for the class, a sign vector of its own. A positive
offset keeps the last leaky ReLU on its linear side, hence

    w = OFFSET + sum over factors of v[factor, value] + v[class]

except for the few z that lie on a ramp. The sign vectors are rows of one Hadamard matrix: exactly
orthogonal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.generator.network import StyleGanXl
from unitscope.worlds.factors import CLASSES, NAMES, VALUES
from unitscope.worlds.latents import Z_DIM, directions, edges

W_DIM = 256
EMBED_DIM = len(CLASSES)

OFFSET = 4.5
"""Mean of every coordinate of w, up to the sampling of the sign vectors."""

RAMP = 0.01
"""Half the width of the ramp between two bins, in standard deviations of a coordinate of z."""

CLASS_WEIGHT = 1.5
"""Length of a class's vector over that of a factor's value."""

_SCALE = 0.33
_SLOPE, _GAIN = 0.2, math.sqrt(2)
_CODES_SEED = 8


def construct_mapping(network: StyleGanXl) -> None:
    """Set the mapping network's weights in place, and its per-class mean of w.

    Args:
        network: Built from a spec with ``z_dim`` 64, ``w_dim`` 256, 8 classes, ``embed_dim`` 8 and
            2 mapping layers.
    """
    state = {name: torch.zeros_like(value) for name, value in network.mapping.state_dict().items()}
    _class_embedding(state)
    _layers(state, network.spec.mapping_lr_multiplier)
    network.mapping.load_state_dict(state)
    network.mapping.load_state_dict({**state, "w_avg": class_means(network)})
    network.mapping.requires_grad_(False)


@torch.no_grad()
def class_means(network: StyleGanXl, count: int = 20_000, seed: int = 5) -> Tensor:
    """Return the mean w of every class over ``count`` latents, ``float32 (8, 256)``."""
    z = torch.randn((count, Z_DIM), generator=torch.Generator().manual_seed(seed))
    means = [
        network.mapping(z, torch.full((count,), index), 1.0).double().mean(0) for index in range(len(CLASSES))
    ]
    return torch.stack(means).float()


def _class_embedding(state: dict[str, Tensor]) -> None:
    """Class k switches on the k-th block of 8 of the 64 projected coordinates, all with the same value."""
    block = Z_DIM // EMBED_DIM
    state["embed.weight"][: len(CLASSES)] = torch.eye(EMBED_DIM)
    blocks = torch.eye(EMBED_DIM).repeat_interleave(block, dim=0)
    state["embed_proj.weight"].copy_(blocks * math.sqrt(EMBED_DIM))


def _layers(state: dict[str, Tensor], multiplier: float) -> None:
    """Fill both fully connected layers; stored values are divided by the learning-rate multiplier."""
    first = np.zeros((W_DIM, 2 * Z_DIM))
    first_bias = np.zeros(W_DIM)
    second = np.zeros((W_DIM, W_DIM))
    second_bias = np.full(W_DIM, OFFSET)
    codes = _sign_vectors()
    unit = 0
    for index, name in enumerate(NAMES):
        vectors = [next(codes) for _ in VALUES[name]]
        second_bias += vectors[0]
        for place, edge in enumerate(edges(name)):
            step = vectors[place + 1] - vectors[place]
            for side in (0.5, -0.5):
                first[unit, :Z_DIM] = directions()[index] / (2 * RAMP)
                first_bias[unit] = side - edge / (2 * RAMP)
                second[:, unit] = math.copysign(1.0, side) * step / (1 - _SLOPE)
                unit += 1
            # lrelu(p + 1/2) - lrelu(p - 1/2) is the slope, not zero, far below the edge.
            second_bias -= step * _SLOPE / (1 - _SLOPE)
    block = Z_DIM // EMBED_DIM
    for place in range(len(CLASSES)):
        start = Z_DIM + place * block
        # The block's coordinates are sqrt(8) each for this class and 0 for every other.
        first[unit, start : start + block] = 1 / (block * math.sqrt(EMBED_DIM))
        second[:, unit] = CLASS_WEIGHT * next(codes)
        unit += 1
    fill = {
        "fc0.weight": first * math.sqrt(2 * Z_DIM),
        "fc0.bias": first_bias,
        "fc1.weight": second * math.sqrt(W_DIM) / _GAIN / _GAIN,
        "fc1.bias": second_bias / _GAIN,
    }
    for name, value in fill.items():
        state[name].copy_(torch.from_numpy(value / multiplier))


def _sign_vectors() -> Iterator[NDArray[np.float64]]:
    """Yield orthogonal sign vectors ``(256,)``, scaled so that a coordinate of w varies by about 1."""
    hadamard: NDArray[np.float64] = np.ones((1, 1))
    while len(hadamard) < W_DIM:
        hadamard = np.kron(hadamard, np.array([[1.0, 1.0], [1.0, -1.0]]))
    rng = np.random.Generator(np.random.PCG64(_CODES_SEED))
    # Row 0 is constant. Random column signs take away the regular pattern of the rest.
    rows = 1 + rng.permutation(W_DIM - 1)
    signs = rng.choice(np.array([-1.0, 1.0]), size=W_DIM)
    for row in rows:
        yield _SCALE * hadamard[row] * signs
