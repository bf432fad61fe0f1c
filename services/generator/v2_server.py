"""A small server of the Open Inference Protocol v2, for machines where no Triton binary can run.

It offers what UnitScope's own clients use, upon the same backend as Triton: server and model
readiness and metadata, and inference with raw contents. Its server metadata carry the name
``unitscope-v2``, so that a report can say which server rendered it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2, service_pb2_grpc

from services.generator.asked import Asked
from services.generator.backend import GeneratorBackend, as_tensor, network_spec
from services.generator.network import to_uint8
from services.generator.parts.cards import parts_of, usable
from services.generator.parts.network import PartsNetwork
from services.generator.parts.store import load_parts
from services.generator.repository import Interface, Tensor, signature
from services.generator.settings import Precision
from unitscope.errors import InvalidArgumentError, NotFoundError
from unitscope.models.cards import ModelCard
from unitscope.models.registry import Registry
from unitscope.models.v2 import (
    MAX_BATCH,
    gradient_model,
    hidden_model,
    mapping_model,
    parts_model,
    synthesis_model,
)
from unitscope.version import package_version

NAME = "unitscope-v2"
SERVICE = "inference.GRPCInferenceService"

_TYPES: Mapping[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("u1"),
}

Arrays = Mapping[str, npt.NDArray[Any]]
Run = Callable[[Arrays, Asked], tuple[npt.NDArray[Any], ...]]
"""Of the inputs, and of what the request asks for beside them."""


@dataclass(frozen=True)
class Served:
    """One V2 model: its interface, and the function behind it, which gives one array an output."""

    interface: Interface
    run: Run


def served_models(
    registry: Registry,
    cards: Sequence[ModelCard],
    device: str = "cpu",
    threads: int = 0,
    parts: Sequence[ModelCard] | None = None,
    gradients: bool = False,
    precision: Precision = "auto",
    hidden: bool = False,
) -> dict[str, Served]:
    """Loads generators and their parts models, which share their generator's weights.

    Args:
        registry: Where they lie.
        cards: The generators.
        device: "cpu" or "cuda".
        threads: Threads of the tensor library, for the whole process; 0 leaves them alone.
        parts: The parts models; by default all that `usable` finds.
        gradients: Whether to serve the gradient of each; it shares the weights.
        precision: As `plan_execution` takes it.
        hidden: Whether to serve projections of hidden features of each; it shares the weights.

    Returns:
        The V2 models by name.

    Raises:
        UnitScopeError: As `GeneratorBackend.load` and `Registry.verified` say.
    """
    found: dict[str, Served] = {}
    known = usable(registry, cards) if parts is None else parts
    for card in cards:
        backend = GeneratorBackend.load(card, registry.verified(card), device, threads, precision)
        own = parts_of(card, known)
        runs = {
            mapping_model(card): _mapping(backend),
            synthesis_model(card): _synthesis(backend),
            gradient_model(card): _gradient(backend),
            hidden_model(card): _hidden(backend),
        }
        for model in own:
            network = load_parts(model, registry.verified(model), card).to(device)
            runs[parts_model(card, model)] = _parts(backend, network)
        for name, interface in signature(card, network_spec(card), own, gradients, hidden).items():
            found[name] = Served(interface, runs[name])
    return found


def _mapping(backend: GeneratorBackend) -> Run:
    return lambda x, _: (backend.map(x["z"], x["class"][:, 0], x["truncation"][:, 0]),)


def _synthesis(backend: GeneratorBackend) -> Run:
    def run(x: Arrays, asked: Asked) -> tuple[npt.NDArray[Any], ...]:
        pictures = backend.render_float_tensors(as_tensor(x["w"]), asked.reduce)
        return to_uint8(pictures).cpu().numpy(), pictures.permute(0, 2, 3, 1).cpu().numpy()

    return run


def _gradient(backend: GeneratorBackend) -> Run:
    return lambda x, _: (backend.vjp(x["w"], x["cotangent"]),)


def _hidden(backend: GeneratorBackend) -> Run:
    def run(x: Arrays, asked: Asked) -> tuple[npt.NDArray[Any], ...]:
        w, projections = as_tensor(x["w"]), as_tensor(x["projections"])
        found = backend.project_tensors(w, projections, asked.layer, asked.pool, asked.reduce)
        return tuple(tensor.cpu().numpy() for tensor in found)

    return run


def _parts(backend: GeneratorBackend, network: PartsNetwork) -> Run:
    return lambda x, _: backend.render_parts(x["w"], network)


class V2Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """The protocol upon loaded generators."""

    def __init__(self, models: Mapping[str, Served]) -> None:
        """Takes the models by name."""
        self._models = models
        self._lock = threading.Lock()

    def ServerLive(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Always."""
        return service_pb2.ServerLiveResponse(live=True)

    def ServerReady(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Always: models are loaded before the port is open."""
        return service_pb2.ServerReadyResponse(ready=True)

    def ServerMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Says that this is not Triton."""
        return service_pb2.ServerMetadataResponse(name=NAME, version=package_version())

    def ModelReady(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Whether there is such a model."""
        return service_pb2.ModelReadyResponse(ready=request.name in self._models)

    def ModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Inputs and outputs; the batch is -1, as with Triton."""
        interface = self._model(request.name).interface
        kind = service_pb2.ModelMetadataResponse.TensorMetadata
        inputs, outputs = (
            [kind(name=item[0], datatype=item[1], shape=interface.shape(item)) for item in io]
            for io in (interface.inputs, interface.outputs)
        )
        return service_pb2.ModelMetadataResponse(
            name=request.name, versions=["1"], platform=NAME, inputs=inputs, outputs=outputs
        )

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """One inference, with raw contents in both directions."""
        model = self._model(request.model_name)
        arrays = _read(request, model.interface)
        wanted = _wanted(request, model.interface.outputs)
        asked = Asked.of({key: _parameter(value) for key, value in request.parameters.items()})
        # The tensor library is not to be entered by several threads with one network.
        try:
            with self._lock:
                results = model.run(arrays, asked)
        except InvalidArgumentError as error:
            raise _bad(error.reason, error.message) from error
        answer = service_pb2.ModelInferResponse(
            model_name=request.model_name, model_version="1", id=request.id
        )
        for (name, data_type, _), result in zip(model.interface.outputs, results, strict=True):
            if name in wanted:
                answer.outputs.add(name=name, datatype=data_type, shape=result.shape)
                answer.raw_output_contents.append(np.ascontiguousarray(result).tobytes())
        return answer

    def _model(self, name: str) -> Served:
        model = self._models.get(name)
        if model is None:
            raise NotFoundError(
                f"MODEL_NOT_FOUND: there is no model {name!r} here; there are: " + ", ".join(self._models),
                reason="MODEL_NOT_FOUND",
                model=name,
            )
        return model


def _parameter(value: Any) -> Any:
    """What a request's parameter holds; None where nothing."""
    kind = value.WhichOneof("parameter_choice")
    return getattr(value, kind) if kind else None


def _read(request: Any, interface: Interface) -> dict[str, npt.NDArray[Any]]:
    """The request's tensors as arrays; checks type, shape and length."""
    inputs = interface.inputs
    given = {tensor.name: i for i, tensor in enumerate(request.inputs)}
    if set(given) != {name for name, _, _ in inputs} or len(given) != len(request.inputs):
        needed = ", ".join(name for name, _, _ in inputs)
        raise _bad("WRONG_INPUTS", f"the inputs {sorted(given)} came; needed are {needed}")
    if len(request.raw_input_contents) != len(request.inputs):
        raise _bad("WRONG_INPUTS", "every input must come as raw contents, in the order of inputs")
    arrays = {}
    for item in inputs:
        name, place = item[0], given[item[0]]
        tensor, data = request.inputs[place], request.raw_input_contents[place]
        arrays[name] = _array(name, item[1], interface.shape(item), tensor, data)
    if not 1 <= len(arrays[inputs[0][0]]) <= MAX_BATCH:
        name, rows = inputs[0][0], len(arrays[inputs[0][0]])
        raise _bad("BATCH_OUT_OF_RANGE", f"{name} has {rows} rows; 1 to {MAX_BATCH} are allowed")
    if interface.batched and len({len(array) for array in arrays.values()}) != 1:
        raise _bad("WRONG_TENSOR_SHAPE", "all inputs must have the same number of rows")
    return arrays


def _wanted(request: Any, outputs: Sequence[Tensor]) -> set[str]:
    """Names of the outputs that the request asks for; all where it names none."""
    known = {name for name, _, _ in outputs}
    asked = {tensor.name for tensor in request.outputs} or known
    if unknown := asked - known:
        raise _bad(
            "WRONG_OUTPUTS", f"there is no output {min(unknown)!r}; there are {', '.join(sorted(known))}"
        )
    return asked


def _array(name: str, data_type: str, shape: Sequence[int], tensor: Any, data: bytes) -> npt.NDArray[Any]:
    actual = list(tensor.shape)
    if tensor.datatype != data_type:
        raise _bad("WRONG_TENSOR_TYPE", f"{name} is {tensor.datatype}; {data_type} is needed")
    fits = len(actual) == len(shape) and all(
        n >= 0 and want in (-1, n) for n, want in zip(actual, shape, strict=True)
    )
    # No rows at all are told apart from rows of nothing.
    if not fits or 0 in actual[1:]:
        raise _bad("WRONG_TENSOR_SHAPE", f"{name} has the shape {actual}; {list(shape)} is needed")
    dtype = _TYPES[data_type]
    if math.prod(actual) * dtype.itemsize != len(data):
        raise _bad("WRONG_TENSOR_LENGTH", f"{name} brings {len(data)} bytes for the shape {actual}")
    return np.frombuffer(data, dtype).reshape(actual)


def _bad(reason: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"{reason}: {message}", reason=reason)
