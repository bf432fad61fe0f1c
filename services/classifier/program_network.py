"""Runs an exported program, step by step, and reads the tensors between the steps."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from services.classifier.graphs import bottlenecks, needed
from services.classifier.layouts import RANKS, features_and_maps, joined
from services.classifier.networks import BATCH, Layers, Outputs
from services.classifier.operators import MAKERS, aten_name, function_of, gives_number
from services.classifier.program import Here, Program, Step, Value
from unitscope.errors import FailedPreconditionError, InvalidArgumentError
from unitscope.models.cards import LayerCard

MAX_TENSOR_BYTES = 4 << 30
"""The largest tensor that a program may make of one batch."""


_FAILURES = (
    RuntimeError,
    TypeError,
    ValueError,
    LookupError,
    ArithmeticError,
    AssertionError,
    AttributeError,
)
"""What operators raise for arguments that make no sense; their checks are asserts at times."""


class ProgramNetwork:
    """A `Network` of an exported program. What no image decides is computed once."""

    differentiable = True

    def __init__(
        self, program: Program, tensors: Mapping[str, Tensor], size: tuple[int, int], rows: int = BATCH
    ) -> None:
        """Checks the program against its tensors, on shapes alone, and computes what is constant.

        Args:
            program: The steps.
            tensors: Parameters, buffers and constants by name.
            size: Height and width of the images.
            rows: Images at once, where the program leaves that free.

        Raises:
            InvalidArgumentError: A tensor is missing, or a step does not fit what it reads (reason
                INVALID_PROGRAM); a tensor would be too large (PROGRAM_TOO_LARGE); it gives no
                logits ``(batch, classes)`` (NOT_A_CLASSIFIER).
        """
        self._program = program
        self.batch = program.shape[0] or rows
        if any(n not in (None, m) for n, m in zip(program.shape[2:], size, strict=True)):
            raise _invalid(f"it was exported for images of {program.shape[2:]} pixels, not {size}")
        missing = sorted(set(program.bound.values()) - set(tensors))
        if missing:
            raise _invalid(f"it has no tensor {missing[0]!r}")
        self._bound = {name: tensors[key] for name, key in program.bound.items()}
        self._device = torch.device("cpu")
        self._edges = [(step.outputs, step.inputs) for step in program.steps]
        self._active = _active(program)
        self._shapes, self._numbers = self._dry_run(size)
        logits = self._shapes.get(program.target)
        if logits is None or len(logits) != 2 or logits[0] != self.batch:
            raise InvalidArgumentError(
                f"the program gives {logits}, not logits (batch, classes)",
                reason="NOT_A_CLASSIFIER",
                field="file",
            )
        self.classes = logits[1]
        self._fixed: dict[str, Any] = {}
        self.to(self._device)

    @property
    def bound_names(self) -> list[str]:
        """Names of the tensors that it uses."""
        return sorted(set(self._program.bound.values()))

    def to(self, device: torch.device) -> None:
        """See `Network`."""
        self._device = device
        self._bound = {name: _placed(tensor, device) for name, tensor in self._bound.items()}
        self._fixed = {**self._numbers, **self._bound}
        for step in self._program.steps:
            if not self._active & set(step.outputs) and not gives_number(step.target):
                self._run(step, self._fixed)

    def read(self, images: Tensor, layers: Layers) -> Outputs:
        """See `Network`."""
        for layer in layers:
            if layer.module not in self._shapes:
                raise FailedPreconditionError(
                    f"layer {layer.name}: the program has no tensor {layer.module!r}", reason="INVALID_CARD"
                )
        target = self._program.target
        seen = self._evaluate(self._program.source, images, [target, *(layer.module for layer in layers)])
        features, maps = joined([features_and_maps(seen[layer.module], layer) for layer in layers])
        return features, seen[target], maps

    def head(self, features: Tensor, layer: LayerCard) -> Tensor:
        """See `Network`."""
        target = self._program.target
        return self._evaluate(layer.module, features, [target])[target]

    def places(self) -> dict[str, bool]:
        """See `Network`: names of tensors."""
        edges = [edge for edge in self._edges if self._active & set(edge[0])]
        passed = set(bottlenecks(edges, self._program.source, self._program.target))
        names = (name for step in self._program.steps for name in step.outputs if name in self._shapes)
        return {
            name: name in passed
            for name in names
            if len(self._shapes[name]) in RANKS and self._shapes[name][0] == self.batch
        }

    def outputs(self, images: Tensor, places: Sequence[str]) -> dict[str, Tensor]:
        """See `Network`."""
        known = [place for place in places if place in self._shapes]
        return self._evaluate(self._program.source, images, known)

    def resolved(self, place: str) -> str:
        """See `Network`: a tensor by name, or what a module of the original model gives."""
        if place in self._shapes:
            return place
        inside = [
            step.outputs[0]
            for step in self._program.steps
            if step.outputs[0] in self._shapes
            and (step.module == place or step.module.startswith(f"{place}."))
        ]
        return inside[-1] if inside else place

    def modules(self) -> dict[str, str]:
        """See `Network`."""
        return {name: step.module for step in self._program.steps for name in step.outputs}

    def penultimate(self) -> str | None:
        """See `Network`: what the last linear step reads."""
        for step in reversed(self._program.steps):
            if self._program.target in step.outputs:
                linear = any(f".{name}." in step.target for name in ("linear", "addmm", "mm", "matmul"))
                reads = [name for name in step.inputs if name in self._active]
                return reads[0] if linear and len(reads) == 1 else None
        return None

    def _dry_run(self, size: tuple[int, int]) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
        """Shapes of what images decide, and numbers computed from sizes, without computing any tensor."""
        values: dict[str, Any] = {name: tensor.to("meta") for name, tensor in self._bound.items()}
        values[self._program.source] = torch.empty(self.batch, 3, *size, device="meta")
        device, self._device = self._device, torch.device("meta")
        for step in self._program.steps:
            self._run(step, values)
        self._device = device
        shapes = {name: tuple(value.shape) for name, value in values.items() if name in self._active}
        numbers = {name: v for name, v in values.items() if isinstance(v, int | float) and name}
        return shapes, numbers

    def _evaluate(self, start: str, value: Tensor, wanted: Collection[str]) -> dict[str, Tensor]:
        """Runs the steps from `start` to what is wanted; keeps no more than is needed."""
        steps = [index for index in self._path(start, wanted) if self._active & set(self._edges[index][0])]
        last = {name: index for index in steps for name in self._edges[index][1]}
        values: dict[str, Any] = {**self._fixed, start: value}
        for index in steps:
            step = self._program.steps[index]
            self._run(step, values)
            for name in (*self._edges[index][1], *step.outputs):
                if last.get(name, -1) <= index and name in self._active and name not in wanted:
                    values.pop(name, None)
        return {name: values[name] for name in wanted}

    def _path(self, start: str, wanted: Collection[str]) -> list[int]:
        return sorted({index for name in wanted for index in needed(self._edges, start, name)})

    def _run(self, step: Step, values: dict[str, Any]) -> None:
        """Runs one step, and adds what it gives to the values."""
        try:
            kwargs = {key: self._filled(value, values) for key, value in step.kwargs.items()}
            if aten_name(step.target) in MAKERS:
                kwargs["device"] = self._device
            result = function_of(step.target)(*(self._filled(value, values) for value in step.args), **kwargs)
            results = list(result) if step.many else [result]
            given = dict(zip(step.outputs, results, strict=True))
        except _FAILURES as error:
            raise _invalid(f"the step {step.outputs} ({step.target}) fails: {error}"[:400]) from error
        for name, value in given.items():
            if isinstance(value, Tensor) and math.prod(value.shape) * value.itemsize > MAX_TENSOR_BYTES:
                raise InvalidArgumentError(
                    f"the step {name!r} makes a tensor of shape {tuple(value.shape)}; at most "
                    f"{MAX_TENSOR_BYTES} bytes are allowed for {self.batch} images",
                    reason="PROGRAM_TOO_LARGE",
                    field="file",
                )
            values[name] = value

    def _filled(self, argument: Any, values: Mapping[str, Any]) -> Any:
        if isinstance(argument, Value):
            return values[argument.name]
        if isinstance(argument, Here):
            return self._device
        return [self._filled(item, values) for item in argument] if isinstance(argument, list) else argument


def _active(program: Program) -> set[str]:
    """Names of the tensors that images decide."""
    found = {program.source}
    for step in program.steps:
        if not gives_number(step.target) and found & set(step.inputs):
            found.update(name for name in step.outputs if name)
    return found


def _placed(tensor: Tensor, device: torch.device) -> Tensor:
    order = torch.channels_last if tensor.dim() == 4 else torch.preserve_format
    return tensor.to(device=device, memory_format=order)


def _invalid(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"the program cannot run: {message}", reason="INVALID_PROGRAM", field="file")
