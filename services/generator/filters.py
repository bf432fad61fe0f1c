"""Design of the low-pass filters between layers (StyleGAN3, arXiv 2106.12423, appendix C.1)."""

from __future__ import annotations

import torch
from scipy.signal import firwin
from torch import Tensor

from unitscope.errors import InvalidArgumentError


def design_lowpass(taps: int, cutoff: float, half_width: float, rate: float) -> Tensor | None:
    """Designs a separable low-pass filter by the Kaiser window method.

    Args:
        taps: Length of the filter; 1 is the identity.
        cutoff: Cutoff frequency, cycles per unit of length.
        half_width: Half the width of the transition band, same unit.
        rate: Sampling rate that the filter runs at, samples per unit of length.

    Returns:
        Taps that sum to 1, float32 `(taps,)`, or None for the identity.

    Raises:
        InvalidArgumentError: No filter has these values (reason `BAD_FILTER`).
    """
    if taps < 1:
        raise InvalidArgumentError(
            f"a filter of {taps} taps does not exist; 1 or more are needed",
            reason="BAD_FILTER",
            field="taps",
        )
    if taps == 1:
        return None
    if not 0 < cutoff < rate / 2 or half_width <= 0:
        raise InvalidArgumentError(
            f"cutoff {cutoff} must lie between 0 and {rate / 2}, and half_width {half_width} must be above 0",
            reason="BAD_FILTER",
            field="cutoff",
        )
    kernel = firwin(numtaps=taps, cutoff=cutoff, width=2 * half_width, fs=rate)
    return torch.as_tensor(kernel, dtype=torch.float32)
