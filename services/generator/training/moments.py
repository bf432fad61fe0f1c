"""Adam's moments as named tensors, without the pickles that torch saves optimisers with."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from unitscope.errors import FailedPreconditionError

Moments = dict[Tensor, dict[str, Tensor]]
"""Adam's state by parameter."""

_KEYS = ("step", "exp_avg", "exp_avg_sq")


def moments(prefix: str, optimiser: torch.optim.Adam, named: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Steps taken and moments of every parameter; nothing of those that took no step yet.

    Args:
        prefix: Goes before every name.
        optimiser: Adam.
        named: Its parameters by name.

    Returns:
        Tensors by `<prefix><parameter>/<key>`, where key is step, exp_avg or exp_avg_sq.
    """
    return {
        f"{prefix}{name}/{key}": optimiser.state[parameter][key]
        for name, parameter in named.items()
        if parameter in optimiser.state
        for key in _KEYS
    }


def read_moments(
    prefix: str,
    named: Mapping[str, nn.Parameter],
    state: Mapping[str, Tensor],
) -> Moments:
    """Reads what `moments` gave; a parameter of which it holds nothing is to start anew.

    Returns:
        What is to become the optimiser's state.

    Raises:
        FailedPreconditionError: A moment has another shape than its parameter (reason WRONG_STATE).
    """
    loaded: Moments = {}
    for name, parameter in named.items():
        found = {key: state[f"{prefix}{name}/{key}"] for key in _KEYS if f"{prefix}{name}/{key}" in state}
        if not found:
            continue
        if set(found) != set(_KEYS) or any(found[key].shape != parameter.shape for key in _KEYS[1:]):
            raise FailedPreconditionError(
                f"the optimiser's state of {name} does not fit a parameter of shape {tuple(parameter.shape)}",
                reason="WRONG_STATE",
                tensor=name,
            )
        # Adam counts steps on the CPU; the moments lie where their parameter lies.
        loaded[parameter] = {
            key: value.clone() if key == "step" else value.to(parameter.device, copy=True)
            for key, value in found.items()
        }
    return loaded
