"""Mapping networks without classes, as ours with one class: FFHQ-like checkpoints, and StyleGAN3's own.

Without classes the first layer of the mapping network reads z alone; ours reads z and an embedding of
the class (`services.generator.network.Mapping`). The two are one function where the weights that the
embedding meets are zero. The first layer then has twice the inputs, and since a layer's weights are scaled
by one over the root of their number when they are used, those of z are stored times the root of two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from services.generator.importing.limits import refuse
from services.generator.importing.tensors import Weights

_FIRST = "mapping.fc0.weight"
_MEANS = "mapping.w_avg"
_EMBEDDING = "mapping.embed"


def has_no_classes(weights: Mapping[str, Weights]) -> bool:
    """Whether these are the weights of a generator without classes."""
    return _FIRST in weights and not any(name.startswith(_EMBEDDING) for name in weights)


def with_one_class(weights: Mapping[str, Weights]) -> dict[str, Weights]:
    """The same generator with one class, whose embedding has no effect; equal but for rounding.

    Raises:
        InvalidArgumentError: The mapping network is none of this kind (reason WRONG_SHAPE).
    """
    first, means = weights[_FIRST], weights.get(_MEANS)
    if len(first.shape) != 2 or means is None or means.shape not in ((first.shape[0],), (1, first.shape[0])):
        stated = means.shape if means else "absent"
        raise refuse(
            "WRONG_SHAPE",
            f"{_MEANS} is {stated} and {_FIRST} {first.shape}; without classes, a mean of w and a matrix "
            "that writes w are needed",
        )
    z_dim = first.shape[1]
    padded = np.concatenate([first.load() * np.float32(np.sqrt(2)), np.zeros_like(first.load())], axis=1)
    return {
        **weights,
        _FIRST: _made(_FIRST, padded, first.precision),
        _MEANS: _made(_MEANS, means.load().reshape(1, -1), means.precision),
        f"{_EMBEDDING}.weight": _made(f"{_EMBEDDING}.weight", np.ones((1, 1), np.float32)),
        f"{_EMBEDDING}_proj.weight": _made(f"{_EMBEDDING}_proj.weight", np.ones((z_dim, 1), np.float32)),
        f"{_EMBEDDING}_proj.bias": _made(f"{_EMBEDDING}_proj.bias", np.zeros(z_dim, np.float32)),
    }


def _made(name: str, values: npt.NDArray[Any], precision: str = "float32") -> Weights:
    """Weights that are in memory; what was converted stays known by the precision of its source."""
    return Weights(name, values.shape, precision, values.astype(np.float32))
