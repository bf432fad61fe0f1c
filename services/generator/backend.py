"""Runs a generator in fixed, padded batches: the one class behind every server that renders.

A picture depends on its own w alone, to the last bit: the batch always has as many rows, since a
tensor library picks its kernels, and with them the last bits, by the shape it is given. How many, and
in which precision, is decided in `services.generator.execution`::

    backend = GeneratorBackend.load(card, folder)
    w = backend.map(z, classes, truncation=0.7)       # float32 (batch, w_dim)
    pictures = backend.render(w)                      # uint8 (batch, height, width, 3)
    pictures, labels = backend.render_parts(w, parts)     # the same pictures; uint8 (batch, height, width)
    small = backend.render(w, reduce=2)               # the same, averaged over squares of 2 x 2 pixels
    gradient = backend.vjp(w, cotangent)              # float32, of w's shape
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor

from services.generator.captured import Recorded
from services.generator.execution import BATCH, Execution, plan_execution
from services.generator.gradient import vjp
from services.generator.hidden import Keeper, Projector
from services.generator.layers import Form
from services.generator.network import StyleGanXl, reduced, to_uint8
from services.generator.parts.network import Collector, PartsNetwork
from services.generator.settings import Precision
from services.generator.specs import NetworkSpec
from services.generator.weights import check_weights
from unitscope.errors import FailedPreconditionError, InvalidArgumentError
from unitscope.models.cards import WEIGHTS_FILE, ModelCard

Floats = npt.NDArray[np.float32]


class GeneratorBackend:
    """A generator with its weights, on one device. Not for several threads at once."""

    def __init__(
        self,
        network: StyleGanXl,
        device: str = "cpu",
        form: Form = "fast",
        execution: Execution | None = None,
    ) -> None:
        """Takes a network whose weights are loaded; `execution` follows from network and device."""
        self.spec = network.spec
        self.execution = execution or plan_execution(network.spec, device)
        self._device = torch.device(self.execution.device)
        self.network = network.eval().requires_grad_(False).to(self._device)
        self.network.synthesis.lay_out(self.execution.channels_last)
        self._form: Form = form
        self._render = Recorded(self.network.synthesis, form, self.execution)

    @classmethod
    def load(
        cls,
        card: ModelCard,
        folder: Path,
        device: str = "cpu",
        threads: int = 0,
        precision: Precision = "auto",
    ) -> Self:
        """Loads a generator from its folder, whose files were checked already.

        Args:
            card: The generator's card.
            folder: Where its weights lie.
            device: "cpu" or "cuda".
            threads: Threads of the tensor library, for the whole process; 0 leaves them alone.
            precision: As `plan_execution` takes it.

        Raises:
            FailedPreconditionError: Weights and card do not fit (reason INVALID_WEIGHTS), or the
                architecture is another (UNKNOWN_ARCHITECTURE).
        """
        if threads:
            torch.set_num_threads(threads)
        spec = network_spec(card)
        check_weights(card, spec, folder)
        network = StyleGanXl(spec)
        network.load_state_dict(load_file(folder / WEIGHTS_FILE))
        return cls(network, execution=plan_execution(network.spec, device, precision))

    def map(self, z: Floats, classes: npt.NDArray[np.int64], truncation: Any = 1.0) -> Floats:
        """Maps latents to w.

        Args:
            z: float32 ``(batch, z_dim)``, standard normal.
            classes: int64 ``(batch,)``, from 0 to the number of classes - 1.
            truncation: One number in [0, 1] for all, or float32 ``(batch,)``: 1 keeps w, 0 gives the
                mean of its class.

        Returns:
            float32 ``(batch, w_dim)``.

        Raises:
            InvalidArgumentError: As `check_latents` says.
        """
        count = len(z)
        psi = np.broadcast_to(np.asarray(truncation, np.float32), (count,)).copy()
        w = self.map_tensors(as_tensor(z), as_tensor(classes), torch.from_numpy(psi))
        found: Floats = w.cpu().numpy()
        return found

    def render(self, w: Floats, reduce: int = 1) -> npt.NDArray[np.uint8]:
        """Renders pictures.

        Args:
            w: float32 ``(batch, w_dim)``, ``(batch, 1, w_dim)`` or, with one w for the input and
                every layer, ``(batch, num_ws, w_dim)``.
            reduce: Every square of so many pixels a side becomes one, their mean: less to carry, not
                less to compute. A divisor of the resolution.

        Returns:
            uint8 ``(batch, resolution / reduce, resolution / reduce, 3)``.

        Raises:
            InvalidArgumentError: As `check_w` and `check_reduce` say.
        """
        pictures: npt.NDArray[np.uint8] = self.render_tensors(as_tensor(w), reduce).cpu().numpy()
        return pictures

    def vjp(self, w: Floats, cotangent: Floats) -> Floats:
        """The derivative by w of a loss whose derivative by the picture is known.

        Args:
            w: As `render` takes it.
            cotangent: float32 ``(batch, resolution, resolution, 3)``: dL/dx for the picture x in
                floating point, nominally in [-1, 1], before it is clipped and rounded. A loss of pixels
                p in [0, 255] has dL/dx = 127.5 dL/dp, where rounding is passed over; clients that
                want the gradient of clipped pixels set the cotangent to 0 where p is 0 or 255.

        Returns:
            dL/dw, float32 of the shape of `w`; of a w that goes to every layer, their sum.

        Raises:
            InvalidArgumentError: As `check_w` and `check_cotangent` say.
        """
        found: Floats = self.vjp_tensors(as_tensor(w), as_tensor(cotangent)).cpu().numpy()
        return found

    def render_parts(
        self, w: Floats, parts: PartsNetwork
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Renders pictures and labels their pixels, in one pass.

        Args:
            w: As `render` takes it.
            parts: A parts network of this generator, on its device.

        Returns:
            uint8 ``(batch, resolution, resolution, 3)``, equal to what `render` gives, and uint8
            ``(batch, resolution, resolution)``, indices into ``parts.parts``.

        Raises:
            InvalidArgumentError: As `check_w` says.
            FailedPreconditionError: The network reads another generator (PARTS_OF_ANOTHER_GENERATOR).
        """
        pictures, labels = self.render_parts_tensors(as_tensor(w), parts)
        return pictures.cpu().numpy(), labels.cpu().numpy()

    @torch.inference_mode()
    def features(
        self, w: Floats, layers: Sequence[str]
    ) -> tuple[npt.NDArray[np.uint8], dict[str, npt.NDArray[np.float32]]]:
        """Renders pictures and keeps what named layers write, in one pass.

        Args:
            w: As `render` takes it.
            layers: Names of layers in the spec.

        Returns:
            uint8 ``(batch, resolution, resolution, 3)``, equal to what `render` gives, and by layer
            float32 ``(batch, channels, size, size)``, its canvas with the margins.

        Raises:
            InvalidArgumentError: As `check_w` and `hidden.Keeper` say.
        """
        keeper, pictures = Keeper(self.spec, layers, len(w)), []
        with self.execution.rendering():
            for ws in self._ws(as_tensor(w)):
                pictures.append(to_uint8(self.network.synthesis(ws, self._form, keeper)))
        return torch.cat(pictures)[: len(w)].cpu().numpy(), keeper.features()

    def project(
        self, w: Floats, layer: str, projections: Floats, pool: bool = False, reduce: int = 1
    ) -> tuple[npt.NDArray[np.uint8], Floats]:
        """Renders pictures and projects what one layer writes, in one pass.

        Args:
            w: As `render` takes it.
            layer: The layer's name in the spec.
            projections: float32 ``(k, channels)``, weights of the layer's channels.
            pool: Whether to average over the canvas, margins included.
            reduce: Of the pictures, as in `render`.

        Returns:
            uint8 pictures, equal to what `render` gives, and float32 ``(batch, k, size, size)`` over the
            layer's canvas, or ``(batch, k, 1, 1)``.

        Raises:
            InvalidArgumentError: As `check_w`, `check_reduce` and `hidden.check_projections` say.
        """
        found = self.project_tensors(as_tensor(w), as_tensor(projections), layer, pool, reduce)
        pictures, projected = (tensor.cpu().numpy() for tensor in found)
        return pictures, projected

    @torch.inference_mode()
    def map_tensors(self, z: Tensor, classes: Tensor, truncation: Tensor) -> Tensor:
        """`map` on tensors: z ``(batch, z_dim)``, the others ``(batch,)``, on any device."""
        check_latents(self.spec, z, classes, truncation)
        parts = zip(_batches(z), _batches(classes), _batches(truncation), strict=True)
        found = [self.network.mapping(*(t.to(self._device) for t in part)) for part in parts]
        return torch.cat(found)[: len(z)]

    @torch.inference_mode()
    def render_tensors(self, w: Tensor, reduce: int = 1) -> Tensor:
        """`render` on tensors, on any device."""
        return to_uint8(self.render_float_tensors(w, reduce))

    @torch.inference_mode()
    def render_float_tensors(self, w: Tensor, reduce: int = 1) -> Tensor:
        """Pictures in floating point, which `to_uint8` rounds to those of `render`.

        Args:
            w: As `render` takes it, on any device.
            reduce: As in `render`; pictures that are reduced are clipped before.

        Returns:
            float32 ``(batch, 3, resolution / reduce, resolution / reduce)``, nominally in [-1, 1].
        """
        check_reduce(self.spec, reduce)
        with self.execution.rendering():
            found = [reduced(self._render(ws), reduce) for ws in self._ws(w)]
        return torch.cat(found)[: len(w)]

    def vjp_tensors(self, w: Tensor, cotangent: Tensor) -> Tensor:
        """`vjp` on tensors, on any device."""
        check_cotangent(self.spec, w, cotangent)
        rows = self.execution.gradient_batch
        synthesis, recompute = self.network.synthesis, self.execution.recompute
        found = []
        with self.execution.exact():
            for ws, part in zip(self._ws(w, rows), _batches(cotangent, rows), strict=True):
                gradient = vjp(synthesis, ws, part.to(self._device), self._form, recompute)
                several = w.dim() == 3 and w.shape[1] == self.spec.num_ws
                found.append(gradient if several else gradient.sum(dim=1, keepdim=True))
        return torch.cat(found)[: len(w)].reshape(w.shape)

    @torch.inference_mode()
    def project_tensors(
        self, w: Tensor, projections: Tensor, layer: str, pool: bool | None = False, reduce: int = 1
    ) -> tuple[Tensor, Tensor]:
        """`project` on tensors, on any device."""
        check_w(self.spec, w)
        check_reduce(self.spec, reduce)
        projector = Projector(self.spec, layer, projections, len(w), pool)
        pictures = []
        with self.execution.rendering():
            for ws in self._ws(w):
                picture = self.network.synthesis(ws, self._form, projector)
                pictures.append(to_uint8(reduced(picture, reduce)))
        return torch.cat(pictures)[: len(w)], projector.projected()

    @torch.inference_mode()
    def render_parts_tensors(self, w: Tensor, parts: PartsNetwork) -> tuple[Tensor, Tensor]:
        """`render_parts` on tensors, on any device."""
        if parts.spec != self.spec:
            raise FailedPreconditionError(
                "the parts network was made for another generator; train one on this generator",
                reason="PARTS_OF_ANOTHER_GENERATOR",
            )
        pictures, labels = [], []
        with self.execution.rendering():
            for ws in self._ws(w):
                collector = Collector(parts)
                pictures.append(to_uint8(self.network.synthesis(ws, self._form, collector)))
                labels.append(parts.labels(collector.hidden()))
        return torch.cat(pictures)[: len(w)], torch.cat(labels)[: len(w)]

    def _ws(self, w: Tensor, rows: int = 0) -> Iterator[Tensor]:
        """Padded batches of w+ of so many rows, by default those of rendering, on the device; checks w."""
        check_w(self.spec, w)
        for part in _batches(w[:, None] if w.dim() == 2 else w, rows or self.execution.batch):
            # Laid out in memory alike whether one w came or one for every layer.
            yield part.to(self._device).expand(-1, self.spec.num_ws, -1).contiguous()


def network_spec(card: ModelCard) -> NetworkSpec:
    """The network spec on a generator's card.

    Raises:
        FailedPreconditionError: The architecture is another (reason UNKNOWN_ARCHITECTURE).
        InvalidArgumentError: The spec makes no sense (reason BAD_NETWORK_SPEC).
    """
    architecture = card.architecture
    if architecture.get("name") != "stylegan-xl" or not isinstance(architecture.get("spec"), dict):
        raise FailedPreconditionError(
            f"{card.name} has the architecture {architecture.get('name')!r}; a generator's must be "
            "'stylegan-xl' with a 'spec'",
            reason="UNKNOWN_ARCHITECTURE",
            model=card.name,
        )
    return NetworkSpec.from_dict(architecture["spec"])


def check_latents(spec: NetworkSpec, z: Tensor, classes: Tensor, truncation: Tensor) -> None:
    """Refuses what the mapping network cannot take.

    Raises:
        InvalidArgumentError: A wrong shape (WRONG_TENSOR_SHAPE), NaN or infinity in z (NON_FINITE_Z),
            a class that does not exist (CLASS_OUT_OF_RANGE), or a truncation outside [0, 1]
            (TRUNCATION_OUT_OF_RANGE).
    """
    if z.dim() != 2 or z.shape[1] != spec.z_dim or not len(z):
        raise _wrong_shape("z", z, f"(batch, {spec.z_dim})")
    for name, tensor in (("class", classes), ("truncation", truncation)):
        if tuple(tensor.shape) != (len(z),):
            raise _wrong_shape(name, tensor, f"({len(z)},)")
    _check_finite("z", z)
    outside = (classes < 0) | (classes >= spec.num_classes)
    if bool(outside.any()):
        value = int(classes[outside][0])
        raise InvalidArgumentError(
            f"class {value} does not exist; the generator has the classes 0 to {spec.num_classes - 1}",
            reason="CLASS_OUT_OF_RANGE",
            field="class",
            value=value,
            classes=spec.num_classes,
        )
    inside = (truncation >= 0) & (truncation <= 1)
    if not bool(inside.all()):
        number = float(truncation[~inside][0])
        raise InvalidArgumentError(
            f"truncation is {number:g}; it must lie in [0, 1]",
            reason="TRUNCATION_OUT_OF_RANGE",
            field="truncation",
            value=number,
        )


def check_w(spec: NetworkSpec, w: Tensor) -> None:
    """Refuses what the synthesis network cannot take.

    Raises:
        InvalidArgumentError: A wrong shape (WRONG_TENSOR_SHAPE), NaN or infinity (NON_FINITE_W).
    """
    rows = w[:, None] if w.dim() == 2 else w
    if rows.dim() != 3 or rows.shape[1] not in (1, spec.num_ws) or rows.shape[2] != spec.w_dim:
        raise _wrong_shape("w", w, f"(batch, 1 or {spec.num_ws}, {spec.w_dim})")
    if not len(w):
        raise _wrong_shape("w", w, "at least one row")
    _check_finite("w", w)


def check_reduce(spec: NetworkSpec, reduce: int) -> None:
    """Refuses factors that do not divide the resolution.

    Raises:
        InvalidArgumentError: reason REDUCE_OUT_OF_RANGE.
    """
    if not 1 <= reduce <= spec.resolution or spec.resolution % reduce:
        raise InvalidArgumentError(
            f"reduce is {reduce}; it must be a divisor of the resolution, {spec.resolution}",
            reason="REDUCE_OUT_OF_RANGE",
            field="reduce",
            value=reduce,
            resolution=spec.resolution,
        )


def check_cotangent(spec: NetworkSpec, w: Tensor, cotangent: Tensor) -> None:
    """Refuses what is no cotangent of the pictures of `w`, and a wrong `w`.

    Raises:
        InvalidArgumentError: As `check_w` says; a wrong shape (WRONG_TENSOR_SHAPE), NaN or infinity
            (NON_FINITE_COTANGENT).
    """
    check_w(spec, w)
    size = spec.resolution
    if tuple(cotangent.shape) != (len(w), size, size, 3):
        raise _wrong_shape("cotangent", cotangent, f"({len(w)}, {size}, {size}, 3)")
    _check_finite("cotangent", cotangent)


def _check_finite(name: str, tensor: Tensor) -> None:
    finite = torch.isfinite(tensor.flatten(1)).all(dim=1)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0])
        raise InvalidArgumentError(
            f"{name} holds NaN or infinity, first in row {row}; only finite numbers are allowed",
            reason=f"NON_FINITE_{name.upper()}",
            field=name,
            row=row,
        )


def _wrong_shape(name: str, tensor: Tensor, needed: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{name} has the shape {tuple(tensor.shape)}; {needed} is needed",
        reason="WRONG_TENSOR_SHAPE",
        field=name,
    )


def as_tensor(array: npt.NDArray[Any]) -> Tensor:
    """The array as a tensor of its own."""
    # A copy: arrays that came over the wire are read-only, which torch does not support.
    return torch.from_numpy(np.array(array))


def _batches(rows: Tensor, size: int = BATCH) -> list[Tensor]:
    """Parts of `size` rows; the last one is padded with its own last row."""
    parts = list(torch.split(rows, size))
    missing = size - len(parts[-1])
    if missing:
        parts[-1] = torch.cat([parts[-1], parts[-1][-1:].expand(missing, *rows.shape[1:])])
    return parts
