"""Our own V2 server as a program, with health, reflection and Info; and the self-test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from tritonclient.grpc import service_pb2_grpc

from services.generator.backend import GeneratorBackend, network_spec
from services.generator.execution import plan_execution
from services.generator.parts.cards import usable
from services.generator.settings import Precision
from services.generator.v2_server import SERVICE, V2Servicer, served_models
from unitscope.models.cards import ModelCard
from unitscope.models.registry import Registry
from unitscope.models.v2 import MAX_BATCH
from unitscope.rpc import Server, ServiceEntry
from unitscope.settings import ModelSettings, ServerSettings
from unitscope.v1 import info_pb2
from unitscope.version import package_version

PORT = 7403


def make_server(
    cards: Sequence[ModelCard],
    models: ModelSettings,
    settings: ServerSettings,
    gradients: bool = False,
    precision: Precision = "auto",
    hidden: bool = False,
) -> Server:
    """The server with its models loaded, not yet started."""
    device = _device()
    plans = [plan_execution(network_spec(card), device, precision) for card in cards]
    registry = Registry(models.root)
    parts = usable(registry, cards)
    served = served_models(registry, cards, device, models.threads, parts, gradients, precision, hidden)
    servicer = V2Servicer(served)
    entry = ServiceEntry(
        SERVICE,
        lambda server: service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server),
    )
    answer = info_pb2.GetInfoResponse(
        service="generator",
        version=package_version(),
        models=[
            info_pb2.ModelInfo(name=card.name, digest=card.digest, kind=card.kind)
            for card in (*cards, *parts)
        ],
        limits={
            "max_message_bytes": settings.max_message_bytes,
            "max_batch": MAX_BATCH,
            "internal_batch": max(plan.batch for plan in plans),
        },
        runtime={
            "torch": torch.__version__,
            "device": device,
            "precision": plans[0].precision,
            "threads": str(torch.get_num_threads()),
        },
    )
    return Server("generator", PORT, [entry], lambda: answer, settings)


def self_test(card: ModelCard, models: ModelSettings) -> str:
    """Loads a generator, renders the mean of its first class, and says what came out."""
    folder = Registry(models.root).verified(card)
    backend = GeneratorBackend.load(card, folder, _device(), models.threads)
    z = np.zeros((1, backend.spec.z_dim), np.float32)
    picture = backend.render(backend.map(z, np.zeros(1, np.int64), 0.0))[0]
    return f"ok, {picture.shape[1]} x {picture.shape[0]} pixels, mean {picture.mean():.1f}"


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
