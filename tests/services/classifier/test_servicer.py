"""The service over a real channel: what it answers, and what it refuses."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.classifier.loading import load_classifier
from tests.support.tiny_pack import CLASSES, CLASSIFIER, UNITS
from unitscope.errors import UnitScopeError
from unitscope.models.registry import Registry
from unitscope.rpc import invoke
from unitscope.rpc.tensors import from_tensor, to_tensor
from unitscope.v1 import classifier_pb2, classifier_pb2_grpc, info_pb2, info_pb2_grpc, tensor_pb2

IMAGES = np.random.default_rng(4).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
FEATURES = np.random.default_rng(4).random((5, UNITS), dtype=np.float32)


def _extract(channel: grpc.Channel, **fields: Any) -> classifier_pb2.ExtractFeaturesResponse:
    fields = {"model": CLASSIFIER, "images": IMAGES, **fields}
    if isinstance(fields["images"], np.ndarray):
        fields["images"] = to_tensor(fields["images"])
    stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
    return invoke(stub.ExtractFeatures, classifier_pb2.ExtractFeaturesRequest(**fields), 30)


def _head(channel: grpc.Channel, **fields: Any) -> classifier_pb2.EvaluateHeadResponse:
    fields = {"model": CLASSIFIER, "features": FEATURES, **fields}
    fields["features"] = to_tensor(fields["features"])
    stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
    return invoke(stub.EvaluateHead, classifier_pb2.EvaluateHeadRequest(**fields), 30)


def test_features_and_logits_are_those_of_the_classifier(channel: grpc.Channel, registry: Registry) -> None:
    classifier = load_classifier(registry.resolve(CLASSIFIER), registry)
    answer = _extract(channel)
    expected = classifier.read(IMAGES)
    features = from_tensor(answer.features, np.float32, (5, UNITS), "features")
    logits = from_tensor(answer.logits, np.float32, (5, len(CLASSES)), "logits")
    np.testing.assert_array_equal(features, expected.features)
    np.testing.assert_array_equal(logits, expected.logits)
    assert answer.model_digest == classifier.card.digest
    assert not answer.HasField("feature_maps")
    again = _head(channel, features=features)
    np.testing.assert_array_equal(
        from_tensor(again.logits, np.float32, (5, len(CLASSES)), "logits"), expected.logits
    )


def test_feature_maps_come_when_asked_for(channel: grpc.Channel) -> None:
    answer = _extract(channel, layer="maps", feature_maps=True)
    assert list(answer.feature_maps.shape) == [5, 32, 4, 4]


def test_a_pinned_digest_is_accepted(channel: grpc.Channel, registry: Registry) -> None:
    digest = registry.resolve(CLASSIFIER).digest
    assert _extract(channel, model=f"{CLASSIFIER}@sha256:{digest[:12]}").model_digest == digest


def _typed(data_type: int, shape: tuple[int, ...], data: bytes) -> tensor_pb2.Tensor:
    return tensor_pb2.Tensor(data_type=data_type, shape=shape, data=data)  # type: ignore[arg-type]


NAN = np.where(np.arange(5)[:, None] == 3, np.nan, FEATURES).astype(np.float32)
BAD: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("unknown model", {"model": "tiny/none"}, "NOT_FOUND", "MODEL_NOT_FOUND", "there are: "),
    ("no name", {"model": "../x"}, "INVALID_ARGUMENT", "INVALID_MODEL_NAME", "<pack>/<model>"),
    (
        "wrong digest",
        {"model": f"{CLASSIFIER}@sha256:{'0' * 12}"},
        "FAILED_PRECONDITION",
        "MODEL_DIGEST_MISMATCH",
        "drop '@sha256",
    ),
    (
        "a generator",
        {"model": "tiny/generator"},
        "INVALID_ARGUMENT",
        "WRONG_MODEL_KIND",
        "a classifier is needed",
    ),
    (
        "float images",
        {"images": IMAGES.astype(np.float32)},
        "INVALID_ARGUMENT",
        "WRONG_TENSOR_TYPE",
        "uint8 is needed",
    ),
    (
        "grey images",
        {"images": IMAGES[..., 0]},
        "INVALID_ARGUMENT",
        "WRONG_TENSOR_SHAPE",
        "(any, any, any, 3) is needed",
    ),
    (
        "no images",
        {"images": IMAGES[:0]},
        "INVALID_ARGUMENT",
        "BATCH_OUT_OF_RANGE",
        "1 to 1024",
    ),
    (
        "too many images",
        {"images": np.zeros((1025, 1, 1, 3), np.uint8)},
        "INVALID_ARGUMENT",
        "BATCH_OUT_OF_RANGE",
        "1 to 1024",
    ),
    (
        "images too wide",
        {"images": np.zeros((1, 1, 4097, 3), np.uint8)},
        "INVALID_ARGUMENT",
        "IMAGE_SIZE_OUT_OF_RANGE",
        "edges of 1 to 4096",
    ),
    (
        "images of no height",
        {"images": np.zeros((1, 0, 4, 3), np.uint8)},
        "INVALID_ARGUMENT",
        "IMAGE_SIZE_OUT_OF_RANGE",
        "0 x 4 pixels",
    ),
    (
        "bytes missing",
        {"images": _typed(2, (1, 2, 2, 3), b"12345")},
        "INVALID_ARGUMENT",
        "WRONG_TENSOR_LENGTH",
        "needs 12",
    ),
    (
        "message too large",
        {"images": np.zeros((1, 700, 700, 3), np.uint8)},
        "RESOURCE_EXHAUSTED",
        "MESSAGE_TOO_LARGE",
        "send less at once",
    ),
    (
        "answer too large",
        {"layer": "maps", "feature_maps": True, "images": np.zeros((600, 1, 1, 3), np.uint8)},
        "RESOURCE_EXHAUSTED",
        "MESSAGE_TOO_LARGE",
        "send fewer images at once",
    ),
    (
        "unknown layer",
        {"layer": "soul"},
        "FAILED_PRECONDITION",
        "LAYER_NOT_FOUND",
        "its layers are: penultimate, maps",
    ),
    (
        "no maps",
        {"feature_maps": True},
        "FAILED_PRECONDITION",
        "LAYER_HAS_NO_MAPS",
        "ask without feature_maps",
    ),
    (
        "features with NaN",
        {"features": NAN},
        "INVALID_ARGUMENT",
        "NON_FINITE_FEATURES",
        "first in row 3",
    ),
    (
        "features too narrow",
        {"features": FEATURES[:, :9]},
        "INVALID_ARGUMENT",
        "WRONG_TENSOR_SHAPE",
        "(any, 32) is needed",
    ),
    (
        "a layer without head",
        {"features": FEATURES, "layer": "maps"},
        "FAILED_PRECONDITION",
        "LAYER_HAS_NO_HEAD",
        "they can from: penultimate",
    ),
]


@pytest.mark.parametrize(
    ("fields", "status", "reason", "says"), [pytest.param(*row[1:], id=row[0]) for row in BAD]
)
def test_bad_input_is_refused_with_a_reason(
    channel: grpc.Channel, fields: dict[str, Any], status: str, reason: str, says: str
) -> None:
    call = _head if "features" in fields else _extract
    with pytest.raises(UnitScopeError) as caught:
        call(channel, **fields)
    assert (caught.value.status, caught.value.reason) == (status, reason)
    assert says in caught.value.message
    assert _extract(channel).model_digest, "the server lives"


def test_every_server_has_health_reflection_and_info(channel: grpc.Channel, registry: Registry) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", "unitscope.v1.ClassifierService"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=60)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    listed = next(
        reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([ask]), timeout=60)
    )
    names = {service.name for service in listed.list_services_response.service}
    assert {"unitscope.v1.ClassifierService", "unitscope.v1.InfoService"} <= names
    stub = info_pb2_grpc.InfoServiceStub(channel)
    info = invoke(stub.GetInfo, info_pb2.GetInfoRequest(), 60)
    assert info.service == "classifier"
    found = {model.name: model.digest for model in info.models}
    assert found == {card.name: card.digest for card in registry.cards("classifier")}
    assert info.limits["max_batch"] == 1024
    assert info.runtime["device"] == "cpu"
