"""Runs an ONNX model by onnxruntime, and reads the tensors between its nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from services.classifier.graphs import bottlenecks, needed
from services.classifier.layouts import RANKS, features_and_maps, joined
from services.classifier.networks import BATCH, Layers, Outputs
from services.classifier.onnx_file import FLOAT, OnnxFile
from unitscope.errors import FailedPreconditionError, InvalidArgumentError
from unitscope.models.cards import LayerCard
from unitscope.models.onnx_runtime import onnxruntime

_FATAL = 4
"""onnxruntime writes to standard error what it also raises; only the exception is wanted."""


class OnnxNetwork:
    """A `Network` of an ONNX model: a session for each set of layers that is read, one a head."""

    differentiable = False

    def __init__(
        self, file: OnnxFile, size: tuple[int, int], rows: int = BATCH, always: Sequence[str] = ()
    ) -> None:
        """Fixes the shape of the images; loads nothing yet.

        Args:
            file: A checked model.
            size: Height and width of the images.
            rows: Images at once, where the model leaves that free.
            always: Tensors that every session gives, so that none depends on which others are asked for: the
                runtime fuses operators between which nobody reads.

        Raises:
            InvalidArgumentError: The model was made for another size (reason INVALID_ONNX).
            FailedPreconditionError: onnxruntime is not installed (reason NOT_INSTALLED).
        """
        try:
            self._runtime = onnxruntime()
        except ImportError as error:
            raise FailedPreconditionError(
                f"ONNX models need {error.name}; install unitscope[onnx]", reason="NOT_INSTALLED"
            ) from error
        if any(n not in (None, m) for n, m in zip(file.shape[2:], size, strict=True)):
            raise _invalid(f"it takes images of {file.shape[2:]} pixels, not {size}")
        self._file = file
        self._size = size
        self.batch = file.shape[0] or rows
        self._threads = torch.get_num_threads()
        self._providers = ["CPUExecutionProvider"]
        self._always = tuple(always)
        self._sessions: dict[tuple[str, ...], Any] = {}

    def to(self, device: torch.device) -> None:
        """See `Network`: onnxruntime's own device, where its build has one for it."""
        wanted = {"cuda": "CUDAExecutionProvider"}.get(device.type, "")
        own = [wanted] if wanted in self._runtime.get_available_providers() else []
        self._providers = [*own, "CPUExecutionProvider"]
        self._sessions.clear()

    def read(self, images: Tensor, layers: Layers) -> Outputs:
        """See `Network`."""
        for layer in layers:
            if layer.module not in self._names:
                raise FailedPreconditionError(
                    f"layer {layer.name}: the model has no tensor {layer.module!r}", reason="INVALID_CARD"
                )
        seen = self.outputs(images, [self._file.target, *(layer.module for layer in layers)])
        features, maps = joined([features_and_maps(seen[layer.module], layer) for layer in layers])
        return features, seen[self._file.target], maps

    def head(self, features: Tensor, layer: LayerCard) -> Tensor:
        """See `Network`."""
        session = self._session(("", layer.module), lambda: self._head_model(layer))
        return self._run(session, layer.module, features)[0]

    def places(self) -> dict[str, bool]:
        """See `Network`: names of tensors that images decide."""
        edges, active = self._file.edges(), {self._file.source}
        for outputs, inputs in edges:
            if active & set(inputs):
                active.update(outputs)
        passed = set(bottlenecks(edges, self._file.source, self._file.target))
        return {name: name in passed for outputs, _ in edges for name in outputs if name in active}

    def outputs(self, images: Tensor, places: Sequence[str]) -> dict[str, Tensor]:
        """See `Network`: those that are float tensors of as many rows as images."""
        always = (self._file.target, *self._always)
        names = tuple(name for name in dict.fromkeys([*always, *places]) if name in self._names)
        session = self._session(names, lambda: self._whole_model(names))
        values = self._run(session, self._file.source, images.contiguous(), names)
        return {
            name: value
            for name, value in zip(names, values, strict=True)
            if name in places
            and value.dim() in RANKS
            and len(value) == self.batch
            and value.is_floating_point()
        }

    def penultimate(self) -> str | None:
        """See `Network`: what the last linear node reads."""
        return self._file.penultimate() or None

    def resolved(self, place: str) -> str:
        """See `Network`: tensors have one name here."""
        return place

    def modules(self) -> dict[str, str]:
        """See `Network`: the operators, since the file knows no modules."""
        return {name: node.op_type for node in self._file.model.graph.node for name in node.output}

    @cached_property
    def _names(self) -> set[str]:
        return {name for node in self._file.model.graph.node for name in node.output if name}

    def _whole_model(self, names: tuple[str, ...]) -> Any:
        """The model with these tensors as its outputs, for images of one shape."""
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self._file.model)
        shape = model.graph.input[self._position(model)].type.tensor_type.shape
        for dim, value in zip(shape.dim, (self.batch, 3, *self._size), strict=True):
            dim.dim_value = value
        del model.graph.output[:]
        # A name alone is enough: the runtime infers type and shape.
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        return model

    def _head_model(self, layer: LayerCard) -> Any:
        """The nodes from a layer on to the logits."""
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self._file.model)
        kept = [model.graph.node[k] for k in needed(self._file.edges(), layer.module, self._file.target)]
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
        reads = {name for node in copies for name in node.input}
        weights = [
            onnx.TensorProto.FromString(tensor.SerializeToString())
            for tensor in model.graph.initializer
            if tensor.name in reads
        ]
        for field in ("node", "initializer", "input", "value_info"):
            model.graph.ClearField(field)
        model.graph.node.extend(copies)
        model.graph.initializer.extend(weights)
        model.graph.input.append(
            onnx.helper.make_tensor_value_info(layer.module, FLOAT, [self.batch, layer.units])
        )
        return model

    def _position(self, model: Any) -> int:
        return next(k for k, value in enumerate(model.graph.input) if value.name == self._file.source)

    def _session(self, key: tuple[str, ...], model: Callable[[], Any]) -> Any:
        if key not in self._sessions:
            options = self._runtime.SessionOptions()
            options.intra_op_num_threads = self._threads
            options.inter_op_num_threads = 1
            options.log_severity_level = _FATAL
            try:
                self._sessions[key] = self._runtime.InferenceSession(
                    model().SerializeToString(), options, providers=self._providers
                )
            except Exception as error:  # the runtime's own classes, which derive from Exception
                raise _invalid(f"onnxruntime does not load it: {str(error)[:300]}") from error
        return self._sessions[key]

    def _run(
        self, session: Any, name: str, value: Tensor, wanted: Sequence[str] | None = None
    ) -> list[Tensor]:
        try:
            found = session.run(wanted, {name: value.detach().cpu().numpy()})
        except Exception as error:  # as above
            raise _invalid(f"onnxruntime does not run it: {str(error)[:300]}") from error
        return [torch.from_numpy(np.ascontiguousarray(item)) for item in found]


def _invalid(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"the ONNX model cannot run: {message}", reason="INVALID_ONNX", field="file")
