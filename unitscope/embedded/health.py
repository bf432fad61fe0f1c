"""How the supervisor learns that a program is up: by asking it what a client would ask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from unitscope.embedded.guardian import marked
from unitscope.errors import UnitScopeError
from unitscope.models import ModelCard, Registry, v2
from unitscope.rpc import open_channel
from unitscope.rpc.tls import channel_credentials, channel_options
from unitscope.settings import TlsSettings

Probe = Callable[[], bool]
SECONDS = 2.0
FIRST_PICTURE_SECONDS = 30.0


def grpc_health(address: str) -> Probe:
    """Whether a server of ours says that it serves."""

    def probe() -> bool:
        with open_channel(address) as channel:
            request = health_pb2.HealthCheckRequest()
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=SECONDS)
            except grpc.RpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    return probe


def generators(address: str, models: Path) -> Probe:
    """Whether the V2 server is ready and every generator of the registry renders a picture.

    Ready alone is not enough: Triton says so also while the process behind a model is gone.
    """

    def probe() -> bool:
        from tritonclient.grpc import InferenceServerClient
        from tritonclient.utils import InferenceServerException

        tls = TlsSettings()
        client = InferenceServerClient(
            address, creds=channel_credentials(tls), channel_args=channel_options(address, tls) or None
        )
        try:
            if not client.is_server_ready(client_timeout=SECONDS):
                return False
            for card in Registry(models).cards("generator"):
                _render(client, card)
        except (InferenceServerException, UnitScopeError):
            return False
        finally:
            client.close()
        return True

    return probe


def _render(client: object, card: ModelCard) -> None:
    """Asks each network of the generator for one row, all zeros."""
    import numpy as np
    from tritonclient.grpc import InferenceServerClient, InferInput
    from tritonclient.utils import triton_to_np_dtype

    assert isinstance(client, InferenceServerClient)
    for name in (v2.mapping_model(card), v2.synthesis_model(card)):
        metadata = client.get_model_metadata(name, client_timeout=SECONDS)
        inputs = []
        for declared in metadata.inputs:
            shape = [max(1, int(size)) for size in declared.shape]
            tensor = InferInput(declared.name, shape, declared.datatype)
            tensor.set_data_from_numpy(np.zeros(shape, triton_to_np_dtype(declared.datatype)))
            inputs.append(tensor)
        client.infer(name, inputs, client_timeout=FIRST_PICTURE_SECONDS)


def processes(mark: str, count: int) -> Probe:
    """Whether at least that many processes with the mark run, e.g. a worker and its pool."""
    return lambda: len(marked(mark)) >= count
