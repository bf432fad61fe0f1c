"""The classifier service as functions of arrays."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
import numpy as np
from numpy.typing import NDArray

from unitscope.errors import InternalError, InvalidArgumentError
from unitscope.rpc.channel import invoke, open_channel
from unitscope.rpc.status import from_rpc_error
from unitscope.rpc.tensors import from_tensor, to_tensor
from unitscope.v1 import classifier_pb2, classifier_pb2_grpc, tensor_pb2
from workers.clients.batches import Pending, spans

PEER = "the classifier"
MAX_ROWS = 256
HEAD_ROWS = 1_024
"""The most rows of features that the service takes at once."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ImageGradient:
    """How a loss changes with the pixels of pictures.

    Attributes:
        pixels: float32 (batch, height, width, 3), the derivative by pixels in [0, 255].
        features: float32 (batch, units) of the layer.
        logits: float32 (batch, classes).
    """

    pixels: Floats
    features: Floats
    logits: Floats


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
            features = _answered(response.features, (rows, None), "features")
            return features, _answered(response.logits, (rows, None), "logits")

        return Pending(result)

    def head(self, features: Floats) -> Floats:
        """Logits (batch, classes) of features (batch, units) of the layer.

        Raises:
            UnitScopeError: What the service raised, e.g. that the layer has no head.
        """
        parts = []
        for part in spans(len(features), features[:1].nbytes, HEAD_ROWS):
            request = classifier_pb2.EvaluateHeadRequest(
                model=self._model, features=to_tensor(features[part]), layer=self._layer
            )
            response = invoke(self._stub.EvaluateHead, request, self._seconds, PEER)
            rows = part.stop - part.start
            parts.append(_answered(response.logits, (rows, None), "logits"))
        return np.concatenate(parts)

    def head_gradient(self, features: Floats, cotangent: Floats) -> tuple[Floats, Floats]:
        """Pulls cotangents of the logits back to features of the layer.

        Args:
            features: (batch, units).
            cotangent: (batch, classes), the derivative of each row's loss by its logits.

        Returns:
            Logits (batch, classes), and the derivative by the features (batch, units).

        Raises:
            UnitScopeError: What the service raised, e.g. that no gradient goes through the classifier
                (reason GRADIENT_NOT_AVAILABLE).
        """
        logits, gradients = [], []
        for part in spans(len(features), features[:1].nbytes + cotangent[:1].nbytes, HEAD_ROWS):
            request = classifier_pb2.HeadGradientRequest(
                model=self._model,
                features=to_tensor(features[part]),
                layer=self._layer,
                logits_cotangent=to_tensor(cotangent[part]),
            )
            response = invoke(self._stub.HeadGradient, request, self._seconds, PEER)
            rows = part.stop - part.start
            logits.append(_answered(response.logits, (rows, None), "logits"))
            gradients.append(_answered(response.features_cotangent, (rows, None), "features_cotangent"))
        return np.concatenate(logits), np.concatenate(gradients)

    def image_gradient(
        self,
        images: NDArray[np.uint8] | Floats,
        logits_cotangent: Floats | None = None,
        features_cotangent: Floats | None = None,
    ) -> ImageGradient:
        """Pulls cotangents of logits, of the layer's features, or of both back to pixels.

        Args:
            images: uint8, or float32 in [0, 255], (batch, height, width, 3).
            logits_cotangent: (batch, classes), the derivative of each row's loss by its logits.
            features_cotangent: (batch, units), likewise by its features.

        Raises:
            UnitScopeError: What the service raised; as `head_gradient`.
        """
        found = []
        # The answer has four bytes for each value of a picture, whatever it came as.
        for part in spans(len(images), 4 * images[:1].size, MAX_ROWS):
            request = classifier_pb2.ImageGradientRequest(
                model=self._model, images=to_tensor(images[part]), layer=self._layer
            )
            if logits_cotangent is not None:
                request.logits_cotangent.CopyFrom(to_tensor(logits_cotangent[part]))
            if features_cotangent is not None:
                request.features_cotangent.CopyFrom(to_tensor(features_cotangent[part]))
            response = invoke(self._stub.ImageGradient, request, self._seconds, PEER)
            rows = part.stop - part.start
            shape = (rows, *images.shape[1:])
            found.append(
                (
                    _answered(response.images_cotangent, shape, "images_cotangent"),
                    _answered(response.features, (rows, None), "features"),
                    _answered(response.logits, (rows, None), "logits"),
                )
            )
        return ImageGradient(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _answered(tensor: tensor_pb2.Tensor, shape: tuple[int | None, ...], field: str) -> Floats:
    """A tensor of an answer; what is wrong with it is the service's fault, not that of what was asked."""
    try:
        found: Floats = from_tensor(tensor, np.float32, shape, field)
    except InvalidArgumentError as error:
        raise InternalError(
            f"{PEER} answered what cannot be used: {error.message}; see its log, and what its model makes of "
            "such pictures",
            reason="WRONG_ANSWER",
        ) from error
    return found
