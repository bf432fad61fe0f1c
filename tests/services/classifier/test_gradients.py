"""Gradients of the classifier service: against finite differences, over a real channel, and refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from services.classifier.__main__ import make_server
from services.classifier.classifier import Classifier
from services.classifier.declaring import Declaration
from services.classifier.importer import import_export, import_onnx
from services.classifier.loading import load_classifier
from tests.services.classifier.exported import EDGE, NETWORKS
from tests.support.tiny_pack import CLASSES, CLASSIFIER, UNITS
from unitscope.errors import FailedPreconditionError, InvalidArgumentError, UnitScopeError
from unitscope.models.registry import Registry
from unitscope.rpc import invoke
from unitscope.rpc.tensors import from_tensor, to_tensor
from unitscope.settings import MEBIBYTE, ModelSettings, ServerSettings
from unitscope.v1 import classifier_pb2, classifier_pb2_grpc
from workers.clients import ClassifierClient

RNG = np.random.default_rng(12)
IMAGES = RNG.uniform(40, 210, (3, 20, 28, 3)).astype(np.float32)
FEATURES = RNG.random((35, UNITS), dtype=np.float32)
LOGITS_COTANGENT = RNG.standard_normal((35, len(CLASSES))).astype(np.float32)


def directional(classifier: Classifier, images: np.ndarray, way: np.ndarray, pulls: tuple[Any, Any]) -> Any:
    """The change of the loss along `way`, by central differences over half a pixel step."""
    values = []
    for sign in (1, -1):
        found = classifier.image_gradient(images + sign * way / 2, *pulls)
        values.append((found.logits * pulls[0]).sum(1) + (found.features * pulls[1]).sum(1))
    return values[0] - values[1]


def cotangents(classifier: Classifier, rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    widths = (len(classifier.card.classes), classifier.card.layer().units)
    first, second = (rng.standard_normal((rows, width)).astype(np.float32) for width in widths)
    return first, second


def check_images(classifier: Classifier, images: np.ndarray) -> None:
    pulls = cotangents(classifier, len(images))
    found = classifier.image_gradient(images, *pulls)
    # Along the gradient itself, where the change is largest beside float32's noise, and kinks weigh least.
    peak = np.abs(found.pixels).max((1, 2, 3), keepdims=True)
    way = 0.2 * found.pixels / peak
    predicted = (found.pixels * way).sum((1, 2, 3))
    np.testing.assert_allclose(directional(classifier, images, way, pulls), predicted, rtol=0.03)
    assert (predicted > 0).all()


def test_the_gradient_by_pixels_is_that_of_finite_differences(classifier: Classifier) -> None:
    check_images(classifier, IMAGES)


def test_the_gradient_by_features_is_exact_for_a_linear_head(registry: Registry) -> None:
    classifier = load_classifier(registry.resolve(CLASSIFIER), registry)
    logits, gradient = classifier.head_gradient(FEATURES, LOGITS_COTANGENT)
    np.testing.assert_array_equal(logits, classifier.head(FEATURES))
    way = np.random.default_rng(2).standard_normal(FEATURES.shape).astype(np.float32)
    change = (classifier.head(FEATURES + way) - logits).astype(np.float64)
    np.testing.assert_allclose((gradient * way).sum(1), (change * LOGITS_COTANGENT).sum(1), atol=1e-3)
    assert np.abs(gradient).max() > 0.1


@pytest.mark.parametrize("name", NETWORKS)
def test_exported_programs_have_gradients(export_files: dict[str, Path], tmp_path: Path, name: str) -> None:
    card = import_export(export_files[name], tmp_path, Declaration("pack/net"))
    classifier = load_classifier(card, Registry(tmp_path))
    images = np.random.default_rng(13).uniform(40, 210, (3, EDGE, EDGE, 3)).astype(np.float32)
    check_images(classifier, images)
    features = classifier.read(np.zeros((2, EDGE, EDGE, 3), np.uint8)).features
    _, gradient = classifier.head_gradient(features, cotangents(classifier, 2)[0])
    assert gradient.shape == features.shape
    assert np.abs(gradient).max() > 0


def test_onnx_models_are_refused_with_the_reason(onnx_files: dict[str, Path], tmp_path: Path) -> None:
    card = import_onnx(onnx_files["residual"], tmp_path, Declaration("pack/net"))
    classifier = load_classifier(card, Registry(tmp_path))
    pulls = cotangents(classifier, 1)
    features = np.zeros((1, card.layer().units), np.float32)
    for call in (
        lambda: classifier.head_gradient(features, pulls[0]),
        lambda: classifier.image_gradient(np.zeros((1, EDGE, EDGE, 3), np.uint8), *pulls),
    ):
        with pytest.raises(FailedPreconditionError, match="onnxruntime") as caught:
            call()
        assert caught.value.reason == "GRADIENT_NOT_AVAILABLE"


@pytest.fixture(scope="module")
def address(registry: Registry) -> Iterator[str]:
    settings = ServerSettings(listen="127.0.0.1:0", drain_seconds=0, max_message_bytes=MEBIBYTE)
    server = make_server(ModelSettings(root=registry.root), settings)
    yield server.start()
    server.stop()


def test_the_client_gets_what_the_classifier_computes(address: str, registry: Registry) -> None:
    classifier = load_classifier(registry.resolve(CLASSIFIER), registry)
    client = ClassifierClient(address, CLASSIFIER, "")
    logits, gradient = client.head_gradient(FEATURES, LOGITS_COTANGENT)
    expected = classifier.head_gradient(FEATURES, LOGITS_COTANGENT)
    np.testing.assert_array_equal(logits, expected[0])
    np.testing.assert_array_equal(gradient, expected[1])
    # More rows than one request may have.
    many = np.tile(FEATURES, (40, 1))
    np.testing.assert_array_equal(client.head(many)[-35:], classifier.head(FEATURES))
    np.testing.assert_array_equal(
        client.head_gradient(many, np.tile(LOGITS_COTANGENT, (40, 1)))[1][-35:], gradient
    )
    pulls = cotangents(classifier, 3)
    whole = client.image_gradient(IMAGES, *pulls)
    np.testing.assert_array_equal(whole.pixels, classifier.image_gradient(IMAGES, *pulls).pixels)
    parts = [client.image_gradient(IMAGES, pulls[0]), client.image_gradient(IMAGES, None, pulls[1])]
    np.testing.assert_allclose(parts[0].pixels + parts[1].pixels, whole.pixels, atol=1e-6)
    rounded = np.rint(IMAGES).astype(np.uint8)
    of_bytes = client.image_gradient(rounded, pulls[0])
    of_floats = client.image_gradient(rounded.astype(np.float32), pulls[0])
    np.testing.assert_array_equal(of_bytes.pixels, of_floats.pixels)
    np.testing.assert_array_equal(of_bytes.features, client.read(rounded)[0])
    client.close()


def _tensor(array: np.ndarray) -> Any:
    return to_tensor(array.astype(np.float32))


BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("no cotangent", {}, "NO_COTANGENT", "logits_cotangent, features_cotangent or both"),
    (
        "too few logits",
        {"logits_cotangent": _tensor(LOGITS_COTANGENT[:3, :2])},
        "WRONG_TENSOR_SHAPE",
        "(3, 4) is needed",
    ),
    (
        "fewer rows than images",
        {"logits_cotangent": _tensor(LOGITS_COTANGENT[:2])},
        "WRONG_TENSOR_SHAPE",
        "(3, any) is needed",
    ),
    (
        "features of another layer",
        {"features_cotangent": _tensor(FEATURES[:3]), "layer": "penultimate+maps"},
        "WRONG_TENSOR_SHAPE",
        "(3, 64) is needed",
    ),
    (
        "an infinite cotangent",
        {"logits_cotangent": _tensor(np.full((3, 4), np.inf))},
        "NON_FINITE_LOGITS_COTANGENT",
        "first in row 0",
    ),
    (
        "pixels in [-1, 1]",
        {"images": _tensor(IMAGES / 127.5 - 1)},
        "PIXEL_OUT_OF_RANGE",
        "0 to 255 is needed",
    ),
    ("no pixels", {"images": _tensor(IMAGES[:, :, :0])}, "IMAGE_SIZE_OUT_OF_RANGE", "20 x 0 pixels"),
    (
        "an answer too large",
        {"images": to_tensor(np.zeros((1, 300, 300, 3), np.uint8))},
        "MESSAGE_TOO_LARGE",
        "send fewer images at once",
    ),
]


@pytest.mark.parametrize(("fields", "reason", "says"), [pytest.param(*row[1:], id=row[0]) for row in BAD])
def test_bad_gradient_requests_are_refused(
    channel: grpc.Channel, fields: dict[str, Any], reason: str, says: str
) -> None:
    stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
    request = classifier_pb2.ImageGradientRequest(
        **{"model": CLASSIFIER, "images": to_tensor(IMAGES), **fields}
    )
    with pytest.raises(UnitScopeError) as caught:
        invoke(stub.ImageGradient, request, 30)
    assert caught.value.reason == reason
    assert says in caught.value.message


def test_a_layer_without_head_has_no_head_gradient(channel: grpc.Channel) -> None:
    stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
    request = classifier_pb2.HeadGradientRequest(
        model=CLASSIFIER, features=_tensor(FEATURES), logits_cotangent=_tensor(LOGITS_COTANGENT), layer="maps"
    )
    with pytest.raises(FailedPreconditionError) as caught:
        invoke(stub.HeadGradient, request, 30)
    assert caught.value.reason == "LAYER_HAS_NO_HEAD"
    request.layer = ""
    request.ClearField("logits_cotangent")
    with pytest.raises(InvalidArgumentError) as refused:
        invoke(stub.HeadGradient, request, 30)
    assert refused.value.violations[0][0] == "logits_cotangent"
    request.logits_cotangent.CopyFrom(_tensor(LOGITS_COTANGENT))
    logits = from_tensor(invoke(stub.HeadGradient, request, 30).logits, np.float32, (35, 4), "logits")
    assert np.isfinite(logits).all()
