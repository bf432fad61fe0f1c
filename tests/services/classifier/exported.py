"""Small networks with random weights, and the files that a user would bring of them."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from services.classifier.torchvision_compat import torchvision_models

EDGE = 32
CLASSES = 5


class Residual(nn.Module):
    """Convolutions with steps in place, a residual block, pooling and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        )
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.act = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        out = self.block(x)
        out += x
        out = self.act(out)
        found: Tensor = self.fc(self.dropout(out.mean((2, 3))))
        return found


def residual() -> nn.Module:
    torch.manual_seed(3)
    network = Residual()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    return network.eval().requires_grad_(False)


def transformer() -> nn.Module:
    """torchvision's vision transformer, with 4 x 4 patches and a class token."""
    torch.manual_seed(4)
    network = torchvision_models().vision_transformer.VisionTransformer(
        image_size=EDGE,
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
        num_classes=CLASSES,
    )
    # The head starts as zeros, under which every logit would be right.
    nn.init.normal_(network.heads.head.weight)
    return network.eval().requires_grad_(False)


NETWORKS: dict[str, Callable[[], nn.Module]] = {"residual": residual, "transformer": transformer}


def write_export(network: nn.Module, path: Path, batch: int | None = None) -> Path:
    shapes = None if batch else ({0: torch.export.Dim("batch", min=1)},)
    program = torch.export.export(network, (torch.zeros(batch or 2, 3, EDGE, EDGE),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


def write_onnx(network: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.zeros(2, 3, EDGE, EDGE),), path, dynamo=True, external_data=False, verbose=False,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        )  # fmt: skip
    return path


def edited(
    source: Path, target: Path, change: Callable[[dict[str, Any]], None], member: str = "model.json"
) -> Path:
    """A copy of an archive with one JSON member changed; its members stay stored."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename.endswith(member):
                value = json.loads(data)
                change(value)
                data = json.dumps(value).encode()
            new.writestr(info.filename, data)
    return target


def step(model: dict[str, Any], operator: str) -> dict[str, Any]:
    """The first node of an archive's JSON with that operator."""
    nodes = model["graph_module"]["graph"]["nodes"]
    found: dict[str, Any] = next(node for node in nodes if f".{operator}." in node["target"])
    return found
