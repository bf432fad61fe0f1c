"""What our own V2 server has beside the protocol, and what the program says before it serves."""

from __future__ import annotations

from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.generator.__main__ import generators
from services.generator.v2_program import self_test
from tests.support.generator import RunningGenerator
from unitscope.errors import InvalidArgumentError, NotFoundError
from unitscope.models.cards import ModelCard
from unitscope.models.registry import Registry
from unitscope.rpc import invoke, open_channel
from unitscope.settings import ModelSettings
from unitscope.v1 import info_pb2, info_pb2_grpc


def test_it_has_health_reflection_and_info(v2_server: RunningGenerator, parts_card: ModelCard) -> None:
    with open_channel(v2_server.address) as channel:
        request = health_pb2.HealthCheckRequest(service="inference.GRPCInferenceService")
        answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=60)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        listed = next(reflection.ServerReflectionInfo(iter([ask]), timeout=60))
        names = {service.name for service in listed.list_services_response.service}
        assert {"inference.GRPCInferenceService", "unitscope.v1.InfoService"} <= names
        stub = info_pb2_grpc.InfoServiceStub(channel)
        info = invoke(stub.GetInfo, info_pb2.GetInfoRequest(), 60)
    assert info.service == "generator"
    assert [(model.digest, model.kind) for model in info.models] == [
        (v2_server.card.digest, "generator"),
        (parts_card.digest, "parts"),
    ]
    assert info.limits["max_batch"] == 64


def test_the_self_test_renders(pack: Path, card: ModelCard) -> None:
    assert self_test(card, ModelSettings(root=pack)).startswith("ok, 16 x 16 pixels, mean ")


def test_generators_are_chosen_by_name(pack: Path, card: ModelCard, tmp_path: Path) -> None:
    registry = Registry(pack)
    assert generators(registry, []) == [card]
    assert generators(registry, [card.name]) == [card]
    with pytest.raises(InvalidArgumentError, match="is a classifier"):
        generators(registry, ["tiny/classifier"])
    with pytest.raises(NotFoundError, match="set UNITSCOPE_MODELS_ROOT"):
        generators(Registry(tmp_path), [])
