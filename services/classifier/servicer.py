"""Protobuf in, protobuf out; everything else is in `services.classifier.classifier`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt

from services.classifier.pool import Pool
from unitscope.errors import CancelledError, InvalidArgumentError, ResourceExhaustedError
from unitscope.rpc.tensors import from_tensor, to_tensor
from unitscope.signals import catalogue
from unitscope.v1 import classifier_pb2, classifier_pb2_grpc, tensor_pb2

SERVICE = "unitscope.v1.ClassifierService"
MAX_BATCH = 1024
"""Images, or rows of features, in one request."""
MAX_EDGE = 4096
"""Longest edge of an image, in pixels."""


class ClassifierServicer(classifier_pb2_grpc.ClassifierServiceServicer):
    """The service upon a pool of classifiers."""

    def __init__(self, pool: Pool, max_message_bytes: int) -> None:
        """Takes the pool and the largest message that may be answered."""
        self._pool = pool
        self._max_bytes = max_message_bytes

    def ExtractFeatures(  # noqa: N802 - gRPC's name
        self, request: classifier_pb2.ExtractFeaturesRequest, context: grpc.ServicerContext
    ) -> classifier_pb2.ExtractFeaturesResponse:
        """Images to features and logits."""
        classifier = self._pool.get(request.model)
        images = from_tensor(request.images, np.uint8, (None, None, None, 3), "images", max_batch=MAX_BATCH)
        _check_edges(images)
        catalogue.ROWS.add(len(images), method="ExtractFeatures")
        reading = classifier.read(images, request.layer, maps=request.feature_maps, between=_alive(context))
        maps = 0 if reading.maps is None else reading.maps.nbytes
        self._check_size(
            reading.features.nbytes + reading.logits.nbytes + maps,
            "send fewer images at once, or ask without feature_maps",
        )
        return classifier_pb2.ExtractFeaturesResponse(
            features=to_tensor(reading.features),
            logits=to_tensor(reading.logits),
            feature_maps=None if reading.maps is None else to_tensor(reading.maps),
            model_digest=classifier.card.digest,
        )

    def EvaluateHead(  # noqa: N802 - gRPC's name
        self, request: classifier_pb2.EvaluateHeadRequest, context: grpc.ServicerContext
    ) -> classifier_pb2.EvaluateHeadResponse:
        """Features to logits."""
        classifier = self._pool.get(request.model)
        units = classifier.card.layer(request.layer).units
        features = from_tensor(request.features, np.float32, (None, units), "features", max_batch=MAX_BATCH)
        catalogue.ROWS.add(len(features), method="EvaluateHead")
        logits = classifier.head(features, request.layer, between=_alive(context))
        return classifier_pb2.EvaluateHeadResponse(
            logits=to_tensor(logits), model_digest=classifier.card.digest
        )

    def HeadGradient(  # noqa: N802 - gRPC's name
        self, request: classifier_pb2.HeadGradientRequest, context: grpc.ServicerContext
    ) -> classifier_pb2.HeadGradientResponse:
        """Cotangents of logits to cotangents of features."""
        classifier = self._pool.get(request.model)
        units = classifier.card.layer(request.layer).units
        features = from_tensor(request.features, np.float32, (None, units), "features", max_batch=MAX_BATCH)
        cotangent = _cotangent(request.logits_cotangent, len(features), "logits_cotangent")
        catalogue.ROWS.add(len(features), method="HeadGradient")
        logits, gradient = classifier.head_gradient(
            features, cotangent, request.layer, between=_alive(context)
        )
        return classifier_pb2.HeadGradientResponse(
            logits=to_tensor(logits),
            features_cotangent=to_tensor(gradient),
            model_digest=classifier.card.digest,
        )

    def ImageGradient(  # noqa: N802 - gRPC's name
        self, request: classifier_pb2.ImageGradientRequest, context: grpc.ServicerContext
    ) -> classifier_pb2.ImageGradientResponse:
        """Cotangents of logits and features to cotangents of pixels."""
        classifier = self._pool.get(request.model)
        images = _pixels(request.images)
        rows, units = len(images), classifier.card.layer(request.layer).units
        # Before the work: the answer has four bytes for each byte that uint8 images came as.
        answer = 4 * (images.size + rows * (units + len(classifier.card.classes)))
        self._check_size(answer, "send fewer images at once")
        logits = features = None
        if request.HasField("logits_cotangent"):
            logits = _cotangent(request.logits_cotangent, rows, "logits_cotangent")
        if request.HasField("features_cotangent"):
            features = _cotangent(request.features_cotangent, rows, "features_cotangent")
        catalogue.ROWS.add(rows, method="ImageGradient")
        found = classifier.image_gradient(images, logits, features, request.layer, between=_alive(context))
        return classifier_pb2.ImageGradientResponse(
            images_cotangent=to_tensor(found.pixels),
            features=to_tensor(found.features),
            logits=to_tensor(found.logits),
            model_digest=classifier.card.digest,
        )

    def _check_size(self, size: int, advice: str) -> None:
        if size > self._max_bytes - 1024:
            raise ResourceExhaustedError(
                f"the answer has {size} bytes; a message has at most {self._max_bytes}: {advice}",
                reason="MESSAGE_TOO_LARGE",
                size=size,
                limit=self._max_bytes,
            )


def _cotangent(tensor: tensor_pb2.Tensor, rows: int, field: str) -> npt.NDArray[Any]:
    """A finite cotangent with one row for each of the request; its width is the classifier's to check."""
    return from_tensor(tensor, np.float32, (rows, None), field, max_batch=MAX_BATCH)


def _pixels(tensor: tensor_pb2.Tensor) -> npt.NDArray[Any]:
    """Images, uint8 or float32 within the range of uint8."""
    kind = np.float32 if tensor.data_type == tensor_pb2.DATA_TYPE_FLOAT32 else np.uint8
    images = from_tensor(tensor, kind, (None, None, None, 3), "images", max_batch=MAX_BATCH)
    _check_edges(images)
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > 255:
        raise InvalidArgumentError(
            f"images has pixels from {low:g} to {high:g}; 0 to 255 is needed",
            reason="PIXEL_OUT_OF_RANGE",
            field="images",
            low=low,
            high=high,
        )
    return images


def _check_edges(images: npt.NDArray[Any]) -> None:
    height, width = images.shape[1:3]
    if not (1 <= height <= MAX_EDGE and 1 <= width <= MAX_EDGE):
        raise InvalidArgumentError(
            f"images are {height} x {width} pixels; edges of 1 to {MAX_EDGE} are allowed",
            reason="IMAGE_SIZE_OUT_OF_RANGE",
            field="images",
            height=height,
            width=width,
            limit=MAX_EDGE,
        )


def _alive(context: grpc.ServicerContext) -> Callable[[], None]:
    """Gives up between batches when nobody waits for the answer any more."""

    def check() -> None:
        if not context.is_active():
            raise CancelledError("the caller has gone, or its deadline has passed")

    return check
