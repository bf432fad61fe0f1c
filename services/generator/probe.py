"""Small inferences that tell whether a V2 server really renders."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import tritonclient.grpc as v2
from tritonclient.utils import InferenceServerException

from services.generator.parts.cards import parts_of
from services.generator.repository import Tensor, signature
from services.generator.specs import NetworkSpec
from unitscope.errors import UnavailableError
from unitscope.models.cards import ModelCard

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
    ) -> None:
        """Prepares the requests.

        Args:
            address: ``host:port`` of the server.
            cards: The generators that it serves.
            patience: Deadline of one inference in seconds: it may stand behind others in a queue.
            parts: The parts models that it serves.
            gradients: Whether it serves gradients.
        """
        # gRPC's own back-off reaches two minutes: a server that came back would be noticed too late.
        options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]
        self._client = v2.InferenceServerClient(address, channel_args=options)
        self._patience = patience
        self._requests: list[tuple[str, list[Any]]] = []
        for card in cards:
            spec = NetworkSpec.from_dict(card.architecture["spec"])
            for name, (inputs, _) in signature(card, spec, parts_of(card, parts), gradients).items():
                self._requests.append((name, [_zeros(item) for item in inputs]))
        self._due = deque(self._requests)

    def ready(self) -> bool:
        """Whether the server says that it is ready, with all its models, which are all due then."""
        self._due = deque(self._requests)
        try:
            return bool(self._client.is_server_ready(client_timeout=2.0)) and all(
                self._client.is_model_ready(name, client_timeout=2.0) for name, _ in self._requests
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
            name, inputs = self._due[0]
            try:
                self._client.infer(name, inputs, client_timeout=self._patience)
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


def _zeros(item: Tensor) -> Any:
    name, data_type, shape = item
    array = np.zeros([1, *(max(n, 1) for n in shape)], _TYPES[data_type])
    tensor = v2.InferInput(name, list(array.shape), data_type)
    tensor.set_data_from_numpy(array)
    return tensor
