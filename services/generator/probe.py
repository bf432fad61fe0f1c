"""Small inferences that tell whether a V2 server really renders."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import tritonclient.grpc as v2
from tritonclient.utils import InferenceServerException

from services.generator.parts.cards import parts_of
from services.generator.repository import Interface, Tensor, signature
from services.generator.specs import NetworkSpec
from unitscope.errors import UnavailableError
from unitscope.models.cards import ModelCard
from unitscope.models.v2 import LAYER, POOL
from unitscope.rpc.tls import channel_credentials, channel_options
from unitscope.settings import TlsSettings

_TYPES = {"FP32": np.float32, "INT64": np.int64}


class Probe:
    """Asks the models of some generators for one row of zeros.

    A row costs what a batch costs. Once all models have answered, each check asks one of them, in
    turn, so that looking after many costs no more than looking after one.
    """

    def __init__(
        self,
        address: str,
        cards: Sequence[ModelCard],
        patience: float = 120.0,
        parts: Sequence[ModelCard] = (),
        gradients: bool = False,
        hidden: bool = False,
    ) -> None:
        """Prepares the requests.

        Args:
            address: ``host:port`` of the server.
            cards: The generators that it serves.
            patience: Deadline of one inference in seconds: it may stand behind others in a queue.
            parts: The parts models that it serves.
            gradients: Whether it serves gradients.
            hidden: Whether it serves projections of hidden features.
        """
        # gRPC's own back-off reaches two minutes: a server that came back would be noticed too late.
        options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]
        tls = TlsSettings()
        self._client = v2.InferenceServerClient(
            address, creds=channel_credentials(tls), channel_args=[*options, *channel_options(address, tls)]
        )
        self._patience = patience
        self._requests: list[tuple[str, list[Any], dict[str, Any]]] = []
        for card in cards:
            spec = NetworkSpec.from_dict(card.architecture["spec"])
            own = signature(card, spec, parts_of(card, parts), gradients, hidden)
            for name, interface in own.items():
                self._requests.append(_request(name, interface, spec))
        self._due = deque(self._requests)

    def ready(self) -> bool:
        """Whether the server says that it is ready, with all its models, which are all due then."""
        self._due = deque(self._requests)
        try:
            return bool(self._client.is_server_ready(client_timeout=2.0)) and all(
                self._client.is_model_ready(name, client_timeout=2.0) for name, _, _ in self._requests
            )
        except InferenceServerException:
            return False

    def check(self) -> None:
        """Makes the inferences that are due; after a failure, all are.

        Raises:
            UnavailableError: One failed (reason RENDERER_NOT_HEALTHY).
        """
        if not self._due:
            self._requests.append(self._requests.pop(0))
            self._due.append(self._requests[0])
        while self._due:
            name, inputs, parameters = self._due[0]
            try:
                self._client.infer(name, inputs, client_timeout=self._patience, parameters=parameters)
            except InferenceServerException as error:
                self._due = deque(self._requests)
                raise UnavailableError(
                    f"{name} does not answer a small inference: {error.message()}",
                    reason="RENDERER_NOT_HEALTHY",
                    model=name,
                ) from error
            self._due.popleft()

    def close(self) -> None:
        """Closes the channel."""
        self._client.close()


def _request(name: str, interface: Interface, spec: NetworkSpec) -> tuple[str, list[Any], dict[str, Any]]:
    """Name, tensors and parameters of a request for one row."""
    if interface.batched:
        return name, [_zeros(item, interface.shape(item)) for item in interface.inputs], {}
    # The hidden model: one projection of the last layer, in one number a picture.
    layer = spec.layers[-1]
    w, projections = interface.inputs
    tensors = [_zeros(w, interface.shape(w)), _zeros(projections, [1, layer.out_channels])]
    return name, tensors, {LAYER: layer.name, POOL: True}


def _zeros(item: Tensor, shape: Sequence[int]) -> Any:
    array = np.zeros([max(n, 1) for n in shape], _TYPES[item[1]])
    tensor = v2.InferInput(item[0], list(array.shape), item[1])
    tensor.set_data_from_numpy(array)
    return tensor
