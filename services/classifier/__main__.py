"""The program: ``python -m services.classifier``."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
import typer

from services.classifier.networks import BATCH
from services.classifier.pool import Pool
from services.classifier.servicer import MAX_BATCH, MAX_EDGE, SERVICE, ClassifierServicer
from unitscope import signals
from unitscope.errors import UnitScopeError
from unitscope.models.registry import Registry
from unitscope.rpc import Server, ServiceEntry
from unitscope.rpc.exposure import check_server
from unitscope.settings import ModelSettings, ServerSettings
from unitscope.v1 import classifier_pb2_grpc, info_pb2
from unitscope.version import package_version

PORT = 7401


def make_server(models: ModelSettings, settings: ServerSettings) -> Server:
    """The server, not yet started."""
    if models.threads:
        torch.set_num_threads(models.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pool = Pool(Registry(models.root), device)
    servicer = ClassifierServicer(pool, settings.max_message_bytes)
    entry = ServiceEntry(
        SERVICE,
        lambda server: classifier_pb2_grpc.add_ClassifierServiceServicer_to_server(servicer, server),
    )

    def info() -> info_pb2.GetInfoResponse:
        return info_pb2.GetInfoResponse(
            service="classifier",
            version=package_version(),
            models=[
                info_pb2.ModelInfo(name=card.name, digest=card.digest, kind=card.kind)
                for card in pool.registry.cards("classifier")
            ],
            limits={
                "max_message_bytes": settings.max_message_bytes,
                "max_batch": MAX_BATCH,
                "max_image_edge": MAX_EDGE,
                "internal_batch": BATCH,
            },
            runtime={
                "torch": torch.__version__,
                "device": device,
                "threads": str(torch.get_num_threads()),
            },
        )

    return Server("classifier", PORT, [entry], info, settings)


def check(models: ModelSettings) -> None:
    """Loads every classifier of the registry and reads one grey picture with each."""
    pool = Pool(Registry(models.root), capacity=1)
    for card in pool.registry.cards("classifier"):
        size = (1, card.input.height, card.input.width, 3) if card.input else (1, 64, 64, 3)
        reading = pool.get(card.name).read(np.full(size, 128, np.uint8))
        finite = bool(np.isfinite(reading.logits).all())
        typer.echo(f"{card.name} {card.short_digest}: {'ok' if finite else 'logits not finite'}")
        if not finite:
            raise typer.Exit(1)


def main(
    self_test: Annotated[
        bool, typer.Option("--check", help="Load every classifier, read one picture, and exit.")
    ] = False,
) -> None:
    """Serve the classifiers of a model registry over gRPC.

    Settings are read from the environment (UNITSCOPE_SERVER_*, UNITSCOPE_MODELS_*). Example:

    UNITSCOPE_MODELS_ROOT=models UNITSCOPE_SERVER_LISTEN=127.0.0.1:7401 python -m services.classifier
    """
    models = ModelSettings()
    try:
        signals.begin("classifier", serves=not self_test)
        if self_test:
            check_server("classifier", ServerSettings())
            check(models)
        else:
            make_server(models, ServerSettings()).run()
            signals.end()
    except UnitScopeError as error:
        typer.echo(error.message, err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
