"""The generator on its Open Inference Protocol v2 server, as functions of arrays."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient import grpc as v2
from tritonclient.utils import InferenceServerException

from unitscope.errors import (
    BY_STATUS,
    DeadlineError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    UnitScopeError,
)
from unitscope.models import ModelCard
from unitscope.models.v2 import (
    LAYER,
    MAX_BATCH,
    POOL,
    REDUCE,
    gradient_model,
    hidden_model,
    mapping_model,
    parts_model,
    synthesis_model,
)
from unitscope.rpc.status import unavailable
from unitscope.rpc.tls import channel_credentials, channel_options
from unitscope.settings import TlsSettings
from unitscope.signals import catalogue, logs, traces
from workers.clients.batches import Pending, spans

PEER = "the generator"
_REASON = re.compile(r"\b([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+): (.*)", re.DOTALL)
_UNHEALTHY = ("not healthy", "unknown model", "no available versions", "is not ready")

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Renderer:
    """The server that renders: its name, e.g. ``triton``, and version."""

    name: str
    version: str


class GeneratorClient:
    """One generator. Batches of any length are cut to what a request may carry."""

    def __init__(self, address: str, card: ModelCard, call_seconds: float = 120.0) -> None:
        """Binds a model.

        Args:
            address: ``host:port`` of the V2 server's gRPC endpoint.
            card: The generator's card; its digest is part of the names asked for.
            call_seconds: Deadline of each call.
        """
        # gRPC's default back-off reaches two minutes: a restarted server would be noticed too late.
        options: list[tuple[str, int | str]] = [
            ("grpc.max_reconnect_backoff_ms", 2_000),
            ("grpc.initial_reconnect_backoff_ms", 200),
        ]
        limits = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        # Over all addresses of a name: those of several Triton pods behind a headless service.
        options.append(("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'))
        tls = TlsSettings()
        self._client = v2.InferenceServerClient(
            address,
            creds=channel_credentials(tls),
            channel_args=[*options, *limits, *channel_options(address, tls)],
        )
        self._card = card
        self._mapping = mapping_model(card)
        self._synthesis = synthesis_model(card)
        self._seconds = call_seconds

    def close(self) -> None:
        """Closes the channel."""
        self._client.close()

    def map(self, z: Floats, classes: NDArray[np.int64], truncation: float) -> Floats:
        """Latents w (batch, w_dim) of z (batch, z_dim) and classes (batch,).

        Args:
            z: Standard normal deviates.
            classes: Indices of the generator's classes.
            truncation: From 0, the class's mean w, to 1.

        Raises:
            UnitScopeError: What the server raised, or that it does not answer.
        """
        pending = []
        for part in spans(len(z), z[:1].nbytes, MAX_BATCH):
            rows = part.stop - part.start
            inputs: dict[str, NDArray[Any]] = {
                "z": np.ascontiguousarray(z[part], np.float32),
                "class": np.ascontiguousarray(classes[part], np.int64)[:, None],
                "truncation": np.full((rows, 1), truncation, np.float32),
            }
            pending.append(self._infer_one(self._mapping, inputs, "w"))
        return np.concatenate([part.result() for part in pending])

    def render(self, w: Floats, reduce: int = 1) -> NDArray[np.uint8]:
        """Images uint8 (batch, height, width, 3) of w (batch, w_dim) or w+ (batch, num_ws, w_dim).

        Args:
            w: Latents.
            reduce: Each square of so many pixels a side becomes one, their mean; a divisor of the
                resolution. It spares sending them, not rendering them.
        """
        slices = spans(len(w), w[:1].nbytes, MAX_BATCH)
        pending = [self.render_async(w[part], reduce) for part in slices]
        return np.concatenate([part.result() for part in pending])

    def render_async(self, w: Floats, reduce: int = 1) -> Pending[NDArray[np.uint8]]:
        """Like `render` for at most `v2.MAX_BATCH` rows, without waiting."""
        parameters = {REDUCE: reduce} if reduce != 1 else None
        pending = self._infer(self._synthesis, {"w": _layers(w)}, ("image",), parameters=parameters)
        return Pending(lambda: pending.result()[0])

    def vjp(self, w: Floats, cotangent: Floats) -> Floats:
        """The derivative of a loss by w, from its derivative by the picture; see `vjp_async`."""
        slices = spans(len(w), w[:1].nbytes + cotangent[:1].nbytes, MAX_BATCH)
        pending = [self.vjp_async(w[part], cotangent[part]) for part in slices]
        return np.concatenate([part.result() for part in pending])

    def vjp_async(self, w: Floats, cotangent: Floats) -> Pending[Floats]:
        """Pulls cotangents of at most `v2.MAX_BATCH` pictures back to w, without waiting.

        Args:
            w: (batch, w_dim) or w+ (batch, num_ws, w_dim).
            cotangent: dL/dx float32 (batch, height, width, 3) for the picture x in floating point,
                nominally in [-1, 1], neither clipped nor rounded: 127.5 dL/dp for pixels p in [0, 255].

        Returns:
            dL/dw, float32 of the shape of `w`.

        Raises:
            NotFoundError: From `result`: the generator does not serve gradients (reason
                GRADIENT_NOT_SERVED).
        """
        arrays = {"w": _layers(w), "cotangent": np.ascontiguousarray(cotangent, np.float32)}
        absent = NotFoundError(
            f"{PEER} {self._card.name} does not serve gradients; start it with "
            "UNITSCOPE_GENERATOR_GRADIENTS=true",
            reason="GRADIENT_NOT_SERVED",
            generator=self._card.name,
        )
        pending = self._infer(gradient_model(self._card), arrays, ("w_cotangent",), absent)
        return Pending(lambda: pending.result()[0].reshape(w.shape))

    def render_parts(self, w: Floats, parts: ModelCard) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Images, as `render` gives them, and labels of w; see `render_parts_async`."""
        slices = spans(len(w), w[:1].nbytes, MAX_BATCH)
        pending = [self.render_parts_async(w[part], parts) for part in slices]
        images, labels = zip(*(part.result() for part in pending), strict=True)
        return np.concatenate(images), np.concatenate(labels)

    def render_parts_async(
        self, w: Floats, parts: ModelCard
    ) -> Pending[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """Renders at most `v2.MAX_BATCH` rows and labels their pixels in one pass, without waiting.

        Args:
            w: (batch, w_dim) or w+ (batch, num_ws, w_dim).
            parts: The card of a parts model of this generator.

        Returns:
            Images uint8 (batch, height, width, 3), equal to those of `render`, and labels uint8
            (batch, height, width), indices into ``parts.classes``.

        Raises:
            NotFoundError: From `result`: the generator does not serve this parts model (reason
                PARTS_MODEL_NOT_SERVED).
        """
        arrays = {"w": _layers(w)}
        absent = NotFoundError(
            f"{PEER} {self._card.name} does not serve the parts model {parts.name} "
            f"({parts.short_digest}); restart the generator so that it serves the new parts model "
            "(its log says why it left one out)",
            reason="PARTS_MODEL_NOT_SERVED",
            field="parts",
            model=parts.name,
            generator=self._card.name,
        )
        outputs = ("image", "labels")
        pending = self._infer(parts_model(self._card, parts), arrays, outputs, absent)

        def result() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
            images, labels = pending.result()
            return images, labels

        return Pending(result)

    def render_projected(
        self, w: Floats, layer: str, projections: Floats, pool: bool = False, reduce: int = 1
    ) -> tuple[NDArray[np.uint8], Floats]:
        """Images, as `render` gives them, and hidden features of the same pass reduced by directions.

        Args:
            w: (batch, w_dim) or w+ (batch, num_ws, w_dim).
            layer: A layer's name on the generator's card, e.g. "L13_52_1024".
            projections: float32 (k, channels): weights of the layer's channels, at most
                `v2.MAX_PROJECTIONS` rows.
            pool: Whether to average over the layer's canvas, margins included.
            reduce: Of the images, as in `render`.

        Returns:
            uint8 (batch, height, width, 3), and float32 (batch, k, size, size) over the layer's canvas, or
            (batch, k) if pooled.

        Raises:
            NotFoundError: The generator does not serve hidden features (reason HIDDEN_NOT_SERVED).
            InvalidArgumentError: The layer does not exist (UNKNOWN_LAYER), the projections are none of it
                (WRONG_TENSOR_SHAPE, NON_FINITE_PROJECTIONS), or those of one picture are beyond what an
                answer holds (TOO_MANY_FEATURES).
        """
        projections = np.ascontiguousarray(projections, np.float32)
        asked = {LAYER: layer, POOL: pool, REDUCE: reduce}
        absent = NotFoundError(
            f"{PEER} {self._card.name} does not serve hidden features; start it with "
            "UNITSCOPE_GENERATOR_HIDDEN=true",
            reason="HIDDEN_NOT_SERVED",
            generator=self._card.name,
        )
        size = 1 if pool else self._canvas(layer)
        row_bytes = w[:1].nbytes + 4 * len(projections) * size**2
        pending = [
            self._infer(
                hidden_model(self._card),
                {"w": _layers(w[part]), "projections": projections},
                ("image", "projected"),
                absent,
                asked,
            )
            for part in spans(len(w), row_bytes, MAX_BATCH)
        ]
        images, projected = zip(*(part.result() for part in pending), strict=True)
        found = np.concatenate(projected)
        return np.concatenate(images), found[:, :, 0, 0] if pool else found

    def _canvas(self, layer: str) -> int:
        """The edge of a layer's canvas; 1 where there is no such layer, which the server says."""
        layers = self._card.architecture["spec"]["layers"]
        return next((int(item["out_size"]) for item in layers if item["name"] == layer), 1)

    def renderer(self) -> Renderer:
        """Which server renders.

        Raises:
            UnitScopeError: It does not answer.
        """
        try:
            metadata = self._client.get_server_metadata(client_timeout=self._seconds)
        except InferenceServerException as error:
            raise from_v2_error(error) from None
        return Renderer(metadata.name, metadata.version)

    def _infer_one(self, model: str, arrays: dict[str, NDArray[Any]], output: str) -> Pending[Any]:
        pending = self._infer(model, arrays, (output,))
        return Pending(lambda: pending.result()[0])

    def _infer(
        self,
        model: str,
        arrays: dict[str, NDArray[Any]],
        outputs: Sequence[str],
        absent: UnitScopeError | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> Pending[list[NDArray[Any]]]:
        """Asks for outputs by name; `absent` is what a server without this model stands for, if given."""
        inputs = []
        for name, array in arrays.items():
            inputs.append(v2.InferInput(name, list(array.shape), _type(array)))
            inputs[-1].set_data_from_numpy(array)
        rows = len(next(iter(arrays.values())))
        answered = threading.Event()
        answer: list[Any] = []

        def receive(result: Any, error: InferenceServerException | None) -> None:
            answer.append(error if error is not None else result)
            traces.end_call(call, error)
            answered.set()

        call = traces.start_call("inference.GRPCInferenceService/ModelInfer")
        if "image" in outputs:
            catalogue.RENDERS.add(rows)
        try:
            self._client.async_infer(
                model,
                inputs,
                receive,
                headers=dict([*logs.to_metadata(), *traces.to_metadata(call)]),
                outputs=[v2.InferRequestedOutput(name) for name in outputs],
                client_timeout=self._seconds,
                parameters=parameters,
            )
        except InferenceServerException as error:
            receive(None, error)

        def result() -> list[NDArray[Any]]:
            # The call has a deadline of its own; the margin is for its answer to arrive.
            if not answered.wait(self._seconds + 5):
                raise DeadlineError(f"{PEER} did not answer within {self._seconds:g} s")
            if isinstance(answer[0], InferenceServerException):
                if absent is not None and _status(answer[0]) == "NOT_FOUND":
                    raise absent
                raise from_v2_error(answer[0]) from None
            return [_of_rows(name, answer[0].as_numpy(name), rows) for name in outputs]

        return Pending(result)


def from_v2_error(error: InferenceServerException) -> UnitScopeError:
    """The error that a failed V2 call stands for.

    Triton has no status for what a model raises, so our backend writes ``REASON: message``; a python
    backend whose process died calls itself unhealthy, which passes once it is restarted.
    """
    message = str(error.message() or "no message")
    status = _status(error)
    if status == "UNAVAILABLE" or any(text in message for text in _UNHEALTHY):
        return unavailable(PEER, message)
    named = _REASON.search(message)
    if named is not None:
        return InvalidArgumentError(named[2].strip(), reason=named[1])
    if status in ("INVALID_ARGUMENT", "INVALID_ARG"):
        return InvalidArgumentError(f"{PEER}: {message}", reason="INVALID_INPUT")
    cls = BY_STATUS.get(status, InternalError)
    return cls(f"{PEER}: {message}")


def _status(error: InferenceServerException) -> str:
    """The name of the gRPC status; empty where the client itself failed."""
    return str(error.status() or "").removeprefix("StatusCode.")


def _of_rows(name: str, found: NDArray[Any] | None, rows: int) -> NDArray[Any]:
    """What was answered, if it has a row for each that was asked about: others would be taken for theirs."""
    if found is None or len(found) != rows:
        raise InternalError(
            f"{PEER} answered {'no' if found is None else len(found)} rows of {name!r} to {rows}: its server "
            "does not speak as its model's card says; see its log",
            reason="WRONG_ANSWER",
        )
    return found


def _layers(w: Floats) -> Floats:
    """Adds the axis of layers where it is missing."""
    return np.ascontiguousarray(w if w.ndim == 3 else w[:, None], np.float32)


def _type(array: NDArray[Any]) -> str:
    return {"float32": "FP32", "int64": "INT64"}[array.dtype.name]
