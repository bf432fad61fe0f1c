"""The card of a model: everything about it that is not a weight.

A model is a folder with ``card.json`` and ``model.safetensors``. Its digest covers what decides its
numbers (kind, architecture, classes, input, layers and the sha256 of its files) and not what is said
about it (metrics, training, description), so that a card can be corrected without becoming another model.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from unitscope.errors import DataLossError, FailedPreconditionError

CARD_FILE = "card.json"
WEIGHTS_FILE = "model.safetensors"
MAX_CARD_BYTES = 4 << 20

ModelKind = Literal["classifier", "generator", "linker", "parts", "ruler"]
"""``parts`` labels the regions of what one generator renders; a ``ruler`` judges analyses of a pack."""


class _Card(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    later: ClassVar[frozenset[str]] = frozenset()
    """Fields that came after the first cards: left out where they have their default, so that the digest
    of a model that was there before stays what it was."""

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        for name in self.later:
            if getattr(self, name) == type(self).model_fields[name].default:
                values.pop(name, None)
        return values


class InputSpec(_Card):
    """How a classifier wants its images.

    They are resized, scaled to [0, 1], and become (x - mean) / std. Resizing is with antialiasing: to
    (height, width) whatever the proportions, or, where `shorter_edge` is given, so that the shorter edge
    gets that length, after which the centre is cut out.
    """

    later = frozenset({"shorter_edge", "interpolation", "channels"})

    height: int = Field(ge=1, le=4096)
    width: int = Field(ge=1, le=4096)
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    shorter_edge: int = Field(default=0, ge=0, le=4096)
    """Pixels of the shorter edge before the centre is cut out; 0: no cutting."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    channels: Literal["rgb", "bgr"] = "rgb"
    """The order in which the network wants the channels; mean and std are in that order too."""

    @model_validator(mode="after")
    def _can_be_cut_out(self) -> InputSpec:
        if self.shorter_edge and self.shorter_edge < max(self.height, self.width):
            raise ValueError(
                f"shorter_edge is {self.shorter_edge}; at least {max(self.height, self.width)} is needed to "
                f"cut {self.height} x {self.width} pixels out"
            )
        if not all(value > 0 for value in self.std):
            raise ValueError(f"std is {self.std}; each value must be above 0")
        return self


class LayerCard(_Card):
    """A layer that features can be read from.

    What a layer gives is ``(batch, units)``, or by `layout` ``(batch, units, height, width)``,
    ``(batch, height, width, units)`` or, of a transformer, ``(batch, tokens, units)``.
    """

    later = frozenset({"layout", "token", "grid"})

    name: str
    units: int = Field(ge=1)
    nonnegative: bool
    has_head: bool = False
    """Whether the rest of the classifier can be evaluated from this layer's features."""
    module: str = ""
    """The module or tensor whose output it is, where the architecture is not our own."""
    layout: Literal["channels_first", "channels_last", "tokens"] = "channels_first"
    token: Literal["mean", "class"] = "mean"
    """Which feature is taken of tokens: the mean of the patches', or the first token, the class token."""
    grid: tuple[int, int] | None = None
    """Rows and columns of the patches, which are the last tokens; needed for maps."""


class FileEntry(_Card):
    """One file of the model."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class ModelCard(_Card):
    """The card.

    Attributes:
        name: ``<pack>/<model>``; a linker's is ``linkers/<short digest>``.
        architecture: ``{"name": ..., ...}``: all that is needed to build the network before its weights
            are loaded. For a generator ``{"name": "stylegan-xl", "spec": {...}}``, for a parts model
            ``{"name": "feature-parts", "generator": {"name", "digest"}, ...}``.
        training: command, seed, data, time: how to make it again.
        classes: Names of the classes; of a parts model those of the parts, in the order of the labels.
        metrics: figure by name; nested mappings allowed.
    """

    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*/[a-z0-9][a-z0-9._-]*$")
    kind: ModelKind
    description: str
    license: str
    architecture: dict[str, Any]
    classes: tuple[str, ...] = ()
    input: InputSpec | None = None
    layers: tuple[LayerCard, ...] = ()
    files: dict[str, FileEntry]
    training: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The sha256 of the model's identity, in hexadecimal."""
        return identity_digest(self)

    @property
    def short_digest(self) -> str:
        """The first 12 characters of the digest."""
        return self.digest[:12]

    def layer(self, name: str = "") -> LayerCard:
        """The declared layer of that name; the first one (the penultimate layer) where it is empty.

        Several layers joined by ``+`` are one layer whose units are theirs, one after the other; it has
        no head.

        Raises:
            FailedPreconditionError: The card declares no such layer.
        """
        joined = self.layers_of(name)
        if len(joined) == 1:
            return joined[0]
        return LayerCard(
            name=name,
            units=sum(layer.units for layer in joined),
            nonnegative=all(layer.nonnegative for layer in joined),
        )

    def layers_of(self, name: str = "") -> tuple[LayerCard, ...]:
        """The declared layers that a name joins by ``+``, in their order.

        Raises:
            FailedPreconditionError: The card does not declare one of them, or one is named twice.
        """
        names = name.split("+")
        found = tuple(self._declared(part) for part in names)
        if len({layer.name for layer in found}) < len(found):
            raise FailedPreconditionError(
                f"{name!r} names a layer twice; name each of them once, e.g. "
                + "+".join(dict.fromkeys(names)),
                reason="LAYER_NAMED_TWICE",
                field="layer",
                model=self.name,
                layer=name,
            )
        return found

    def unit_layer(self, unit: int, name: str = "") -> LayerCard:
        """The declared layer that a unit of a layer, or of several joined ones, belongs to."""
        joined = self.layers_of(name)
        for layer in joined[:-1]:
            if unit < layer.units:
                return layer
            unit -= layer.units
        return joined[-1]

    def _declared(self, name: str) -> LayerCard:
        for layer in self.layers:
            if not name or layer.name == name:
                return layer
        known = ", ".join(layer.name for layer in self.layers) or "none"
        raise FailedPreconditionError(
            f"{self.name} declares no layer {name!r}; its layers are: {known}",
            reason="LAYER_NOT_FOUND",
            field="layer",
            model=self.name,
            layer=name,
        )

    def save(self, folder: Path) -> None:
        """Writes ``card.json`` into the folder."""
        text = json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
        (folder / CARD_FILE).write_text(text, encoding="utf-8")

    @classmethod
    def parse(cls, data: bytes, origin: str) -> ModelCard:
        """Reads a card from the bytes of ``card.json``.

        Raises:
            FailedPreconditionError: It is no valid card; the message names `origin`.
        """
        if len(data) > MAX_CARD_BYTES:
            raise FailedPreconditionError(
                f"{origin}: {len(data)} bytes; a card has at most {MAX_CARD_BYTES}",
                reason="INVALID_CARD",
            )
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise FailedPreconditionError(
                f"{origin} is no valid model card: {where}: {first['msg']}",
                reason="INVALID_CARD",
                card=origin,
            ) from error


def identity_digest(card: ModelCard) -> str:
    """The sha256 over kind, architecture, classes, input, layers and files, as canonical JSON."""
    identity = card.model_dump(
        mode="json",
        include={"kind", "architecture", "classes", "input", "layers", "files"},
    )
    return hashlib.sha256(canonical_json(identity)).hexdigest()


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys and no spaces: the bytes that digests are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def file_entry(path: Path) -> FileEntry:
    """Size and sha256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(sha256=digest, size=path.stat().st_size)


def verify_files(card: ModelCard, folder: Path) -> None:
    """Checks every file of the model against its card.

    Raises:
        DataLossError: A file is missing or is not the one that the card speaks of.
    """
    for name, entry in card.files.items():
        path = folder / name
        if not path.is_file():
            raise DataLossError(f"{card.name}: {name} is missing beside its card", file=name)
        if file_entry(path) != entry:
            raise DataLossError(
                f"{card.name}: {name} does not match the sha256 on its card; restore the file or "
                "make the card again",
                file=name,
                model=card.name,
            )
