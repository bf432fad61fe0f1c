"""Reads ONNX files from elsewhere: bounded, self-contained, and of standard operators alone.

An ONNX file executes nothing by itself. What could reach beyond it is refused: weights in other files (a
path of the author's choosing), operators of other domains (code that a runtime would have to load), and loops
(no end in sight).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unitscope.errors import FailedPreconditionError, InvalidArgumentError

MAX_FILE_BYTES = (2 << 30) - 1
"""What protobuf can hold in one message."""
MAX_NODES = 50_000
_DOMAINS = ("", "ai.onnx")
_REFUSED = frozenset({"Loop", "Scan", "If", "SequenceMap"})
_RANDOM = frozenset({"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli",
                     "Multinomial"})  # fmt: skip
FLOAT = 1
"""TensorProto.FLOAT."""


@dataclass(frozen=True)
class OnnxFile:
    """A checked model.

    Attributes:
        model: The parsed protobuf.
        source: The name of the images.
        shape: Their shape; None where it is free.
        target: The name of the logits.
    """

    model: Any
    source: str
    shape: tuple[int | None, ...]
    target: str

    def edges(self) -> list[tuple[list[str], list[str]]]:
        """What each node gives and reads."""
        return [
            ([name for name in node.output if name], [name for name in node.input if name])
            for node in self.model.graph.node
        ]

    def penultimate(self) -> str:
        """What the last linear node reads; empty where none is the last."""
        constants = {tensor.name for tensor in self.model.graph.initializer}
        constants |= {
            name for node in self.model.graph.node if node.op_type == "Constant" for name in node.output
        }
        wanted = self.target
        for node in reversed(self.model.graph.node):
            if wanted not in node.output:
                continue
            reads = [name for name in node.input if name and name not in constants]
            if node.op_type in ("Gemm", "MatMul") and len(reads) == 1:
                return str(reads[0])
            if node.op_type not in ("Add", "Identity") or len(reads) != 1:
                return ""
            wanted = reads[0]
        return ""


def read_onnx(path: Path) -> OnnxFile:
    """Reads and checks a file.

    Raises:
        InvalidArgumentError: It is no ONNX file (reason INVALID_ONNX), too large (ONNX_TOO_LARGE), keeps
            weights elsewhere (EXTERNAL_DATA), uses operators that are not allowed (OPERATOR_NOT_ALLOWED), or
            is no classifier of images (NOT_A_CLASSIFIER).
        FailedPreconditionError: The package onnx is not installed (reason NOT_INSTALLED).
    """
    try:
        import onnx
    except ImportError as error:
        raise FailedPreconditionError(
            f"ONNX models need {error.name}; install unitscope[onnx]", reason="NOT_INSTALLED"
        ) from error
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise InvalidArgumentError(
                f"{path.name} has {size} bytes; at most {MAX_FILE_BYTES} are read",
                reason="ONNX_TOO_LARGE",
                field="file",
            )
        data = path.read_bytes()
    except OSError as error:
        raise _invalid(f"{path.name} cannot be read: {error.strerror}") from error
    try:
        model = onnx.ModelProto.FromString(data)
    except Exception as error:  # protobuf's own classes, which differ between its implementations
        raise _invalid(f"{path.name} is no ONNX file: {str(error)[:200]}") from error
    _check_graph(model, path.name)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise _invalid(f"{path.name} is no valid ONNX model: {str(error)[:300]}") from error
    return OnnxFile(model, *_ends(model))


def _check_graph(model: Any, name: str) -> None:
    graph = model.graph
    if len(graph.node) == 0 or len(graph.node) > MAX_NODES:
        raise _invalid(f"{name} has {len(graph.node)} nodes; 1 to {MAX_NODES} are read")
    for tensor in _tensors(graph):
        if tensor.external_data or tensor.data_location != 0:
            raise InvalidArgumentError(
                f"{name} keeps the tensor {tensor.name[:80]!r} in another file; save it with all weights "
                "inside "
                "(onnx.save(onnx.load(path), path), or external_data=False in torch.onnx.export)",
                reason="EXTERNAL_DATA",
                field="file",
                tensor=tensor.name[:80],
            )
    if len(model.functions) > 0:
        raise _not_allowed(f"functions of its own ({model.functions[0].name[:80]}); inline them first")
    for node in graph.node:
        if node.domain not in _DOMAINS:
            raise _not_allowed(f"{node.op_type[:80]} of the domain {node.domain[:80]!r}")
        if node.op_type in _REFUSED or any(item.HasField("g") or item.graphs for item in node.attribute):
            raise _not_allowed(f"{node.op_type[:80]}, which holds graphs of its own")
        if node.op_type in _RANDOM:
            raise _not_allowed(f"{node.op_type}, which draws random numbers")


def _tensors(graph: Any) -> Iterator[Any]:
    """All tensors of a graph, also those in attributes."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        for item in node.attribute:
            if item.HasField("t"):
                yield item.t
            yield from item.tensors


def _ends(model: Any) -> tuple[str, tuple[int | None, ...], str]:
    """Names of images and logits, and the shape of the images."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    outputs = list(model.graph.output)
    if len(inputs) != 1 or len(outputs) != 1:
        raise _no_classifier(
            f"{len(inputs)} inputs ({', '.join(value.name for value in inputs[:4])}) and {len(outputs)} "
            "outputs "
            f"({', '.join(value.name for value in outputs[:4])}); one of each is needed, images and logits"
        )
    kind = inputs[0].type.tensor_type
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in kind.shape.dim
    )
    if kind.elem_type != FLOAT or len(shape) != 4 or shape[1] not in (3, None):
        raise _no_classifier(
            f"an input of type {kind.elem_type} and shape {shape}; float (batch, 3, height, width) is needed"
        )
    return inputs[0].name, shape, outputs[0].name


def _no_classifier(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"the model is no classifier of images: it has {message}", reason="NOT_A_CLASSIFIER", field="file"
    )


def _not_allowed(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"the model uses {message}; standard ONNX operators without loops are read",
        reason="OPERATOR_NOT_ALLOWED",
        field="file",
    )


def _invalid(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason="INVALID_ONNX", field="file")
