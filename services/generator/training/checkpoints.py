"""Checkpoints of a training: tensors beside a record, atomic, checked by digest, the last two kept.

::

    folder = Checkpoints(out)
    folder.save(trainer.state(), Record(identity=..., stage=0, pictures=64_000, ...))
    found = folder.newest(identity)      # the newest intact one, or None
    trainer.load(found.tensors())

A checkpoint is ``checkpoint-<stage>-<pictures>.safetensors`` with a ``.json`` of the same name, which is
written last and holds the digest of the tensors and its own: what was cut off by a crash or a full disk
is passed over. Weights that outlive a checkpoint (the best of a stage) lie in
``weights-<digest>.safetensors``; those that no kept checkpoint names are removed.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unitscope.errors import DataLossError, FailedPreconditionError, ResourceExhaustedError
from unitscope.models.cards import FileEntry, canonical_json, file_entry

KEPT = 2
"""Checkpoints that stay: the newest, and one to fall back on."""

_NAME = re.compile(r"checkpoint-(\d{2})-(\d{12})\.json")
_MAX_RECORD_BYTES = 64 << 20


class Identity(BaseModel):
    """What a training depends on; a checkpoint of another one is not resumed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    classes: tuple[str, ...]
    settings: dict[str, Any]

    def differences(self, other: Identity) -> list[str]:
        """What is not equal, in words: ``batch is 16 here and 32 in the checkpoint``."""
        found = []
        if self.data != other.data:
            found.append(
                f"the data are others ({self.data[:12]} here and {other.data[:12]} in the checkpoint)"
            )
        if self.classes != other.classes:
            found.append(
                f"there are {len(self.classes)} classes here and {len(other.classes)} in the checkpoint"
            )
        ours, theirs = _flat(self.settings), _flat(other.settings)
        for name in sorted(ours.keys() | theirs.keys()):
            one, two = ours.get(name, "not set"), theirs.get(name, "not set")
            if one != two:
                found.append(f"{name} is {one} here and {two} in the checkpoint")
        return found


class Record(BaseModel):
    """All of a checkpoint that is no tensor.

    Attributes:
        identity: Of the training.
        stage: Index of the stage.
        pictures: Real pictures seen in this stage.
        seconds: Time trained so far, over all runs.
        history: Figures of all evaluations so far, as the session wrote them.
        weights: Files of weights by what they are, e.g. ``best-0``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    identity: Identity
    stage: int = Field(ge=0, le=99)
    pictures: int = Field(ge=0)
    seconds: float = Field(ge=0)
    history: tuple[dict[str, Any], ...] = ()
    weights: dict[str, str] = Field(default_factory=dict)


class _Stored(BaseModel):
    """The JSON file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    record: Record
    tensors: FileEntry
    sha256: str


@dataclass(frozen=True)
class Checkpoint:
    """One that is there and intact."""

    record: Record
    path: Path

    def tensors(self) -> dict[str, Tensor]:
        """The state of the trainer, on the CPU."""
        return load_file(self.path)


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints in a folder.

    Attributes:
        folder: Made when the first is written.
        warn: Told of a checkpoint that is damaged and passed over.
    """

    folder: Path
    warn: Callable[[str], None] = lambda message: None

    def save(self, tensors: Mapping[str, Tensor], record: Record) -> Path:
        """Writes a checkpoint and removes those that are no longer needed.

        Raises:
            ResourceExhaustedError: The disk is full (reason DISK_FULL); the checkpoints before it stay.
        """
        path = self.folder / f"checkpoint-{record.stage:02}-{record.pictures:012}.safetensors"
        entry = self._write(path, tensors)
        body = {"record": record.model_dump(mode="json"), "tensors": entry.model_dump(mode="json")}
        stored = _Stored.model_validate({**body, "sha256": _digest(body)})
        self._atomically(
            path.with_suffix(".json"), lambda file: file.write_text(stored.model_dump_json(indent=1) + "\n")
        )
        self._prune()
        return path

    def newest(self, identity: Identity | None = None) -> Checkpoint | None:
        """The newest intact checkpoint; None where there is none.

        Args:
            identity: Of the training that wants to resume; None for any.

        Raises:
            FailedPreconditionError: It belongs to another training (reason OTHER_TRAINING); the message
                says what differs.
        """
        for path in reversed(self._records()):
            try:
                found = self._read(path)
            except (DataLossError, OSError) as error:
                self.warn(f"{path.name} is passed over: {error}")
                continue
            differences = identity.differences(found.record.identity) if identity else []
            if differences:
                raise FailedPreconditionError(
                    f"{self.folder} holds checkpoints of another training: {'; '.join(differences[:5])}. "
                    "Name another folder with --out, or start the training with what it was begun with",
                    reason="OTHER_TRAINING",
                    field="out",
                )
            return found
        return None

    def save_weights(self, tensors: Mapping[str, Tensor]) -> str:
        """Writes weights that a record will name; the name of their file.

        Raises:
            ResourceExhaustedError: As `save` says.
        """
        partial = self.folder / ".weights.new"
        entry = self._write(partial, tensors)
        name = f"weights-{entry.sha256[:24]}.safetensors"
        partial.replace(self.folder / name)
        return name

    def weights(self, name: str) -> dict[str, Tensor]:
        """Weights by the name of their file.

        Raises:
            DataLossError: They are missing or damaged (reason DIGEST_MISMATCH).
        """
        path = self.folder / name
        if not path.is_file() or f"weights-{file_entry(path).sha256[:24]}.safetensors" != name:
            raise DataLossError(f"{path} is missing or damaged", file=name)
        return load_file(path)

    def _read(self, path: Path) -> Checkpoint:
        if path.stat().st_size > _MAX_RECORD_BYTES:
            raise DataLossError("its record is too large", file=path.name)
        try:
            stored = _Stored.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise DataLossError("its record cannot be read", file=path.name) from error
        body = {
            "record": stored.record.model_dump(mode="json"),
            "tensors": stored.tensors.model_dump(mode="json"),
        }
        if _digest(body) != stored.sha256:
            raise DataLossError("its record does not match its digest", file=path.name)
        tensors = path.with_suffix(".safetensors")
        if not tensors.is_file() or file_entry(tensors) != stored.tensors:
            raise DataLossError("its tensors are missing or do not match their digest", file=path.name)
        for name in stored.record.weights.values():
            if not (self.folder / name).is_file():
                raise DataLossError(f"{name}, which it names, is missing", file=name)
        return Checkpoint(stored.record, tensors)

    def _records(self) -> list[Path]:
        """JSON files of checkpoints, the newest last."""
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))

    def _prune(self) -> None:
        """Removes what is neither among the last checkpoints nor named by one of them."""
        records = self._records()
        kept = {path.stem for path in records[-KEPT:]}
        named: set[str] = set()
        for path in records[-KEPT:]:
            try:
                named |= set(_Stored.model_validate_json(path.read_bytes()).record.weights.values())
            except (OSError, ValidationError):
                # A damaged one names nothing that could be used.
                continue
        for path in self.folder.iterdir():
            old_checkpoint = path.name.startswith("checkpoint-") and path.stem not in kept
            if old_checkpoint or (path.name.startswith("weights-") and path.name not in named):
                path.unlink(missing_ok=True)

    def _write(self, path: Path, tensors: Mapping[str, Tensor]) -> FileEntry:
        plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        self._atomically(path, lambda file: save_file(plain, file))
        return file_entry(path)

    def _atomically(self, path: Path, write: Callable[[Path], object]) -> None:
        partial = path.with_name(f".{path.name}.partial")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write(partial)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        except (OSError, SafetensorError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ResourceExhaustedError(
                f"a checkpoint cannot be written to {self.folder}: {why}; make room and start the same "
                "command again",
                reason="DISK_FULL",
                field="out",
            ) from error
        finally:
            partial.unlink(missing_ok=True)


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(body)).hexdigest()


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return found
