"""Protobuf in, protobuf out; everything else is in `services.classifier.classifier`."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import numpy as np

from services.classifier.classifier import Reading
from services.classifier.pool import Pool
from unitscope.errors import CancelledError, InvalidArgumentError, ResourceExhaustedError
from unitscope.rpc.tensors import from_tensor, to_tensor
from unitscope.signals import catalogue
from unitscope.v1 import classifier_pb2, classifier_pb2_grpc

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
        catalogue.ROWS.add(len(images), method="ExtractFeatures")
        reading = classifier.read(images, request.layer, maps=request.feature_maps, between=_alive(context))
        self._check_size(reading)
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

    def _check_size(self, reading: Reading) -> None:
        size = reading.features.nbytes + reading.logits.nbytes
        size += 0 if reading.maps is None else reading.maps.nbytes
        if size > self._max_bytes - 1024:
            raise ResourceExhaustedError(
                f"the answer has {size} bytes; a message has at most {self._max_bytes}: "
                "send fewer images at once, or ask without feature_maps",
                reason="MESSAGE_TOO_LARGE",
                size=size,
                limit=self._max_bytes,
            )


def _alive(context: grpc.ServicerContext) -> Callable[[], None]:
    """Gives up between batches when nobody waits for the answer any more."""

    def check() -> None:
        if not context.is_active():
            raise CancelledError("the caller has gone, or its deadline has passed")

    return check
