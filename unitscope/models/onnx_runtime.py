"""onnxruntime, imported where it is needed and told to report nothing to anybody.

Official builds send usage data to their maker unless told otherwise (its ``Privacy.md``); a laboratory's
models are nobody else's business::

    session = onnxruntime().InferenceSession(path, providers=["CPUExecutionProvider"])
"""

from __future__ import annotations

import importlib
import os
from typing import Any


def onnxruntime() -> Any:
    """The module, untyped.

    Raises:
        ImportError: It is not installed; it comes with ``unitscope[onnx]``.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return importlib.import_module("onnxruntime")
