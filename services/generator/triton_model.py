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

from services.generator.asked import Asked
from services.generator.backend import (
    GeneratorBackend,
    check_cotangent,
    check_latents,
    check_reduce,
    check_w,
)
from services.generator.hidden import check_projections
from services.generator.network import to_uint8
from services.generator.parts.store import load_parts
from unitscope.errors import FailedPreconditionError, InvalidArgumentError, UnitScopeError
from unitscope.models.cards import CARD_FILE, ModelCard
from unitscope.models.v2 import MAX_BATCH

Inputs = list[Tensor]

Request = tuple[int, Inputs, Asked]
"""Its place among those that came together, its tensors, and what it asks for beside them."""


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
                asked = Asked.of(json.loads(request.parameters() or "{}"))
                self.check(inputs, asked)
                good.append((i, inputs, asked))
            except UnitScopeError as error:
                answers[i] = _failure(error)
        for group in self.groups(good):
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

    def groups(self, good: list[Request]) -> list[list[Request]]:
        """What is computed together: requests whose tensors differ in the batch only, and that ask alike."""
        found: dict[Any, list[Request]] = {}
        for item in good:
            found.setdefault((item[2], *(tuple(t.shape[1:]) for t in item[1])), []).append(item)
        return list(found.values())

    def check(self, inputs: Inputs, asked: Asked) -> None:
        """Refuses a bad request."""
        raise NotImplementedError

    def compute(self, inputs: Inputs, asked: Asked) -> tuple[Tensor, ...]:
        """Computes good requests that ask for the same: one tensor for every output."""
        raise NotImplementedError


class MappingModel(_Model):
    """z, class, truncation -> w."""

    inputs = ("z", "class", "truncation")
    outputs = ("w",)

    def check(self, inputs: Inputs, asked: Asked) -> None:
        """See `check_latents`."""
        z, classes, truncation = inputs
        check_latents(self.backend.spec, z, classes.flatten(), truncation.flatten())

    def compute(self, inputs: Inputs, asked: Asked) -> tuple[Tensor, ...]:
        """See `GeneratorBackend.map`."""
        z, classes, truncation = inputs
        return (self.backend.map_tensors(z, classes.flatten(), truncation.flatten()),)


class SynthesisModel(_Model):
    """w -> image, in bytes and in floating point; the request may ask for a reduced one."""

    inputs = ("w",)
    outputs = ("image", "float_image")

    def check(self, inputs: Inputs, asked: Asked) -> None:
        """See `check_w` and `check_reduce`."""
        check_w(self.backend.spec, inputs[0])
        check_reduce(self.backend.spec, asked.reduce)

    def compute(self, inputs: Inputs, asked: Asked) -> tuple[Tensor, ...]:
        """See `GeneratorBackend.render_float_tensors`."""
        pictures = self.backend.render_float_tensors(inputs[0], asked.reduce)
        # A view: it costs nothing where nobody asks for it.
        return to_uint8(pictures), pictures.permute(0, 2, 3, 1)


class GradientModel(_Model):
    """w and the cotangent of its picture -> the cotangent of w."""

    inputs = ("w", "cotangent")
    outputs = ("w_cotangent",)

    def check(self, inputs: Inputs, asked: Asked) -> None:
        """See `check_cotangent`."""
        check_cotangent(self.backend.spec, *inputs)

    def compute(self, inputs: Inputs, asked: Asked) -> tuple[Tensor, ...]:
        """See `GeneratorBackend.vjp`."""
        return (self.backend.vjp_tensors(*inputs),)


class PartsModel(_Model):
    """w -> image and labels."""

    inputs = ("w",)
    outputs = ("image", "labels")

    def check(self, inputs: Inputs, asked: Asked) -> None:
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

    def compute(self, inputs: Inputs, asked: Asked) -> tuple[Tensor, ...]:
        """See `GeneratorBackend.render_parts`."""
        return self.backend.render_parts_tensors(inputs[0], self.parts)


class HiddenModel(_Model):
    """w and projections of one layer's channels -> image and what was projected.

    Triton does not batch it: projections have no rows that belong to those of w. It therefore neither
    bounds a request's rows nor warms the model up, which both happen here.
    """

    inputs = ("w", "projections")
    outputs = ("image", "projected")

    def prepare(self, card: ModelCard, device: str, values: dict[str, str]) -> None:
        """Renders one row, so that no client waits for kernels to be chosen and built."""
        spec = self.backend.spec
        layer = spec.layers[-1]
        w = torch.zeros(1, spec.w_dim, device=device)
        self.backend.project_tensors(w, torch.zeros(1, layer.out_channels, device=device), layer.name)

    def groups(self, good: list[Request]) -> list[list[Request]]:
        """Every request by itself."""
        return [[item] for item in good]

    def check(self, inputs: Inputs, asked: Asked) -> None:
        """See `check_w`, `check_reduce` and `check_projections`."""
        w, projections = inputs
        if len(w) > MAX_BATCH:
            raise InvalidArgumentError(
                f"w has {len(w)} rows; 1 to {MAX_BATCH} are allowed", reason="BATCH_OUT_OF_RANGE", field="w"
            )
        check_w(self.backend.spec, w)
        check_reduce(self.backend.spec, asked.reduce)
        check_projections(self.backend.spec, asked.layer, projections, len(w), asked.pool)

    def compute(self, inputs: Inputs, asked: Asked) -> tuple[Tensor, ...]:
        """See `GeneratorBackend.project`."""
        w, projections = inputs
        return self.backend.project_tensors(w, projections, asked.layer, asked.pool, asked.reduce)


def _input(request: Any, name: str) -> Tensor:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return from_dlpack(tensor.to_dlpack())


def _failure(error: UnitScopeError) -> Any:
    failure = pb_utils.TritonError(f"{error.reason}: {error.message}", pb_utils.TritonError.INVALID_ARG)
    return pb_utils.InferenceResponse(output_tensors=[], error=failure)
