"""Memory that gradients took goes back to the machine, whichever thread asked for them."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Returns what the C library holds free to the system, where it is glibc; elsewhere does nothing.

    Each thread of a server allocates from an arena of its own, which keeps what a gradient's activations
    took, 1.3 GB for 32 images of an EfficientNet-Lite0: as many times as there are threads.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
