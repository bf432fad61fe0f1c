"""Imports torchvision, also beside a build of torch that its compiled operators do not fit.

With a CPU build of torch the import of torchvision's wheel fails at ``operator torchvision::nms does
not exist``, since its meta registrations expect operators of a library that was not loaded. Declaring
the two missing schemas is enough for models and transforms; the operators themselves stay unavailable.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType
from typing import Any

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[Any] = []
"""Kept alive: a library that is collected takes its schemas with it."""


@cache
def torchvision_models() -> ModuleType:
    """Returns the module ``torchvision.models``.

    Raises:
        ImportError: torchvision is not installed, or fails for another reason.
    """
    try:
        return importlib.import_module("torchvision.models")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise ImportError(f"torchvision cannot be imported: {error}") from error
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    _libraries.append(library)
    return importlib.import_module("torchvision.models")
