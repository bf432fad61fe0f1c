"""The classifier service as functions of arrays."""

from __future__ import annotations

import grpc
import numpy as np
from numpy.typing import NDArray

from unitscope.rpc.channel import invoke, open_channel
from unitscope.rpc.status import from_rpc_error
from unitscope.rpc.tensors import from_tensor, to_tensor
from unitscope.v1 import classifier_pb2, classifier_pb2_grpc
from workers.clients.batches import Pending, spans

PEER = "the classifier"
MAX_ROWS = 256

Floats = NDArray[np.float32]


class ClassifierClient:
    """One layer of one classifier, behind a channel that connects when first used."""

    def __init__(self, address: str, model: str, layer: str, call_seconds: float = 120.0) -> None:
        """Binds a model.

        Args:
            address: ``host:port`` of the service.
            model: The model, e.g. ``avatars/clean@sha256:...``.
            layer: A layer that its card declares; empty means the penultimate one.
            call_seconds: Deadline of each call.
        """
        self._channel = open_channel(address)
        self._stub = classifier_pb2_grpc.ClassifierServiceStub(self._channel)
        self._model = model
        self._layer = layer
        self._seconds = call_seconds

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def read(self, images: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Features (batch, units) and logits (batch, classes) of images (batch, height, width, 3).

        Raises:
            UnitScopeError: What the service raised, or that it does not answer.
        """
        row_bytes = images[:1].nbytes
        pending = [self.read_async(images[part]) for part in spans(len(images), row_bytes, MAX_ROWS)]
        parts = [part.result() for part in pending]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def read_async(self, images: NDArray[np.uint8]) -> Pending[tuple[Floats, Floats]]:
        """Like `read` for images that fit one message, without waiting."""
        request = classifier_pb2.ExtractFeaturesRequest(
            model=self._model, images=to_tensor(images), layer=self._layer
        )
        call = self._stub.ExtractFeatures.future(request, timeout=self._seconds)
        rows = len(images)

        def result() -> tuple[Floats, Floats]:
            try:
                response = call.result()
            except grpc.RpcError as error:
                raise from_rpc_error(error, PEER) from None
            features = from_tensor(response.features, np.float32, (rows, None), "features")
            return features, from_tensor(response.logits, np.float32, (rows, None), "logits")

        return Pending(result)

    def head(self, features: Floats) -> Floats:
        """Logits (batch, classes) of features (batch, units) of the layer.

        Raises:
            UnitScopeError: What the service raised, e.g. that the layer has no head.
        """
        parts = []
        for part in spans(len(features), features[:1].nbytes, 4_096):
            request = classifier_pb2.EvaluateHeadRequest(
                model=self._model, features=to_tensor(features[part]), layer=self._layer
            )
            response = invoke(self._stub.EvaluateHead, request, self._seconds, PEER)
            rows = part.stop - part.start
            parts.append(from_tensor(response.logits, np.float32, (rows, None), "logits"))
        return np.concatenate(parts)
