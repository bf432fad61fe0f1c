"""A tiny pack, its classifier, and a real server over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import torch

from services.classifier.__main__ import make_server
from services.classifier.classifier import Classifier
from services.classifier.declaring import Declaration
from services.classifier.importer import import_torchvision
from services.classifier.loading import load_classifier
from services.classifier.networks import torchvision_model
from tests.services.classifier.exported import NETWORKS, write_export, write_onnx
from tests.support.tiny_pack import CLASSIFIER, write_tiny_pack
from unitscope.models.registry import Registry
from unitscope.rpc import open_channel
from unitscope.settings import MEBIBYTE, ModelSettings, ServerSettings

IMPORTED = "mine/shuffle"
ARCHITECTURE = "shufflenet_v2_x0_5"
LABELS = ("one", "two", "three")


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a small torchvision network, as a training script would leave them."""
    torch.manual_seed(11)
    path = tmp_path_factory.mktemp("weights") / "shuffle.pth"
    torch.save(torchvision_model(ARCHITECTURE, len(LABELS)).state_dict(), path)
    return path


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Registry:
    """The tiny pack, and an imported network beside it."""
    root = write_tiny_pack(tmp_path_factory.mktemp("models"))
    said = Declaration(IMPORTED, classes=LABELS, size=(64, 48), layers={"maps": "conv5"})
    import_torchvision(ARCHITECTURE, weights, root, said)
    return Registry(root)


@pytest.fixture(scope="session", params=[CLASSIFIER, IMPORTED])
def classifier(request: pytest.FixtureRequest, registry: Registry) -> Classifier:
    """Our own architecture, and one of torchvision's."""
    return load_classifier(registry.resolve(request.param), registry)


@pytest.fixture(scope="session")
def channel(registry: Registry) -> Iterator[grpc.Channel]:
    """A channel to a real server."""
    settings = ServerSettings(listen="127.0.0.1:0", drain_seconds=0, max_message_bytes=MEBIBYTE)
    server = make_server(ModelSettings(root=registry.root), settings)
    with open_channel(server.start()) as opened:
        yield opened
    server.stop()


@pytest.fixture(scope="session")
def export_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Programs of torch.export, by the name of their network."""
    folder = tmp_path_factory.mktemp("exported")
    return {name: write_export(make(), folder / f"{name}.pt2") for name, make in NETWORKS.items()}


@pytest.fixture(scope="session")
def onnx_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """ONNX models, by the name of their network."""
    folder = tmp_path_factory.mktemp("onnx")
    return {name: write_onnx(make(), folder / f"{name}.onnx") for name, make in NETWORKS.items()}
