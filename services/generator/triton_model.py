"""The generator inside Triton's python backend; imported there only.

Tensors cross the border as DLPack in both directions: it is the path without copies on a GPU, and the
only one that works beside NumPy 2 (the backend's own conversions yield empty tensors there).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import triton_python_backend_utils as pb_utils
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from services.generator.backend import (
    GeneratorBackend,
    check_cotangent,
    check_latents,
    check_reduce,
    check_w,
)
from services.generator.network import to_uint8
from services.generator.parts.store import load_parts
from unitscope.errors import FailedPreconditionError, UnitScopeError
from unitscope.models.cards import CARD_FILE, ModelCard
from unitscope.models.v2 import REDUCE

Inputs = list[Tensor]

Request = tuple[int, Inputs, int]
"""Its place among those that came together, its tensors, and what pictures are to be reduced by."""


class _Model:
    """What all models share: requests are checked one by one and computed together."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def initialize(self, args: dict[str, str]) -> None:
        """Called once by Triton, with the model's configuration."""
        parameters = json.loads(args["model_config"])["parameters"]
        values = {key: value["string_value"] for key, value in parameters.items()}
        folder = Path(values["model_folder"])
        card = ModelCard.parse((folder / CARD_FILE).read_bytes(), str(folder))
        device = values["device"]
        if device == "cuda":
            device = f"cuda:{args['model_instance_device_id']}"
        threads, precision = int(values["threads"]), values["precision"]
        self.backend = GeneratorBackend.load(card, folder, device, threads, precision)
        self.prepare(card, device, values)

    def prepare(self, card: ModelCard, device: str, values: dict[str, str]) -> None:
        """Loads what a model needs beside the generator."""

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Called by Triton with the requests of one dynamic batch.

        A bad request gets an error of its own, whose message starts with the reason; the others of
        the batch are answered.
        """
        answers: list[Any] = [None] * len(requests)
        good: list[Request] = []
        for i, request in enumerate(requests):
            try:
                inputs = [_input(request, name) for name in self.inputs]
                reduce = _reduce(request)
                self.check(inputs, reduce)
                good.append((i, inputs, reduce))
            except UnitScopeError as error:
                answers[i] = _failure(error)
        for group in _alike(good):
            joined = [torch.cat(column) for column in zip(*(row for _, row, _ in group), strict=True)]
            sizes = [len(row[0]) for _, row, _ in group]
            columns = [torch.split(result, sizes) for result in self.compute(joined, group[0][2])]
            for (i, _, _), results in zip(group, zip(*columns, strict=True), strict=True):
                tensors = [
                    pb_utils.Tensor.from_dlpack(name, result.contiguous())
                    for name, result in zip(self.outputs, results, strict=True)
                    if name in requests[i].requested_output_names()
                ]
                answers[i] = pb_utils.InferenceResponse(output_tensors=tensors)
        return answers

    def check(self, inputs: Inputs, reduce: int) -> None:
        """Refuses a bad request; `reduce` is what it asks pictures to be reduced by."""
        raise NotImplementedError

    def compute(self, inputs: Inputs, reduce: int) -> tuple[Tensor, ...]:
        """Computes good requests of one `reduce`: one tensor for every output."""
        raise NotImplementedError


class MappingModel(_Model):
    """z, class, truncation -> w."""

    inputs = ("z", "class", "truncation")
    outputs = ("w",)

    def check(self, inputs: Inputs, reduce: int) -> None:
        """See `check_latents`."""
        z, classes, truncation = inputs
        check_latents(self.backend.spec, z, classes.flatten(), truncation.flatten())

    def compute(self, inputs: Inputs, reduce: int) -> tuple[Tensor, ...]:
        """See `GeneratorBackend.map`."""
        z, classes, truncation = inputs
        return (self.backend.map_tensors(z, classes.flatten(), truncation.flatten()),)


class SynthesisModel(_Model):
    """w -> image, in bytes and in floating point; the request may ask for a reduced one."""

    inputs = ("w",)
    outputs = ("image", "float_image")

    def check(self, inputs: Inputs, reduce: int) -> None:
        """See `check_w` and `check_reduce`."""
        check_w(self.backend.spec, inputs[0])
        check_reduce(self.backend.spec, reduce)

    def compute(self, inputs: Inputs, reduce: int) -> tuple[Tensor, ...]:
        """See `GeneratorBackend.render_float_tensors`."""
        pictures = self.backend.render_float_tensors(inputs[0], reduce)
        # A view: it costs nothing where nobody asks for it.
        return to_uint8(pictures), pictures.permute(0, 2, 3, 1)


class GradientModel(_Model):
    """w and the cotangent of its picture -> the cotangent of w."""

    inputs = ("w", "cotangent")
    outputs = ("w_cotangent",)

    def check(self, inputs: Inputs, reduce: int) -> None:
        """See `check_cotangent`."""
        check_cotangent(self.backend.spec, *inputs)

    def compute(self, inputs: Inputs, reduce: int) -> tuple[Tensor, ...]:
        """See `GeneratorBackend.vjp`."""
        return (self.backend.vjp_tensors(*inputs),)


class PartsModel(_Model):
    """w -> image and labels."""

    inputs = ("w",)
    outputs = ("image", "labels")

    def check(self, inputs: Inputs, reduce: int) -> None:
        """See `check_w`."""
        check_w(self.backend.spec, inputs[0])

    def prepare(self, card: ModelCard, device: str, values: dict[str, str]) -> None:
        """Loads the parts model whose digest is part of this model's name."""
        folder = Path(values["parts_folder"])
        parts = ModelCard.parse((folder / CARD_FILE).read_bytes(), str(folder))
        if parts.digest != values["parts_digest"]:
            raise FailedPreconditionError(
                f"{parts.name} was replaced since the generator started; start the generator again"
            )
        self.parts = load_parts(parts, folder, card).to(device)

    def compute(self, inputs: Inputs, reduce: int) -> tuple[Tensor, ...]:
        """See `GeneratorBackend.render_parts`."""
        return self.backend.render_parts_tensors(inputs[0], self.parts)


def _input(request: Any, name: str) -> Tensor:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return from_dlpack(tensor.to_dlpack())


def _reduce(request: Any) -> int:
    """What a request asks pictures to be reduced by; 0, which no model takes, where it is no integer."""
    value = json.loads(request.parameters() or "{}").get(REDUCE, 1)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _alike(good: list[Request]) -> list[list[Request]]:
    """Groups requests whose tensors differ in the batch only, so that they can be joined."""
    groups: dict[Any, list[Request]] = {}
    for item in good:
        groups.setdefault((item[2], *(tuple(t.shape[1:]) for t in item[1])), []).append(item)
    return list(groups.values())


def _failure(error: UnitScopeError) -> Any:
    failure = pb_utils.TritonError(f"{error.reason}: {error.message}", pb_utils.TritonError.INVALID_ARG)
    return pb_utils.InferenceResponse(output_tensors=[], error=failure)
