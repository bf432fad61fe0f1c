"""The registry: a folder of packs, ``<root>/<pack>/<model>/{card.json, model.safetensors}``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from unitscope.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from unitscope.models.cards import CARD_FILE, ModelCard, ModelKind, verify_files

_REFERENCE = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9._-]{0,62}/[a-z0-9][a-z0-9._-]{0,62})(@sha256:(?P<digest>[0-9a-f]{12,64}))?"
)


@dataclass(frozen=True)
class ModelReference:
    """A model by name, e.g. ``avatars/clean``, optionally pinned by ``@sha256:`` and 12 to 64 digits."""

    name: str
    digest: str = ""

    @classmethod
    def parse(cls, text: str, field: str = "model") -> ModelReference:
        """Reads a reference.

        Raises:
            InvalidArgumentError: The text is no reference (reason INVALID_MODEL_NAME).
        """
        match = _REFERENCE.fullmatch(text)
        if match is None or ".." in text:
            raise InvalidArgumentError(
                f"{text[:80]!r} is no model name; write <pack>/<model>, e.g. 'avatars/clean', "
                "optionally followed by '@sha256:<digest>'",
                reason="INVALID_MODEL_NAME",
                field=field,
                model=text[:80],
            )
        return cls(match["name"], match["digest"] or "")

    def __str__(self) -> str:
        return f"{self.name}@sha256:{self.digest}" if self.digest else self.name


@dataclass
class Registry:
    """Finds models by reference.

    Cards are read when asked for, so that a model added to the folder is found without a restart.
    """

    root: Path
    _verified: dict[str, str] = field(default_factory=dict, repr=False)

    def cards(self, kind: ModelKind | None = None) -> list[ModelCard]:
        """All cards, in the order of their names."""
        paths = sorted(self.root.glob(f"*/*/{CARD_FILE}"))
        cards = [ModelCard.parse(path.read_bytes(), self._origin(path)) for path in paths]
        return [card for card in cards if kind is None or card.kind == kind]

    def resolve(self, reference: str, kind: ModelKind | None = None, field: str = "model") -> ModelCard:
        """The card that a reference names.

        Raises:
            InvalidArgumentError: No valid reference, or a model of another kind.
            NotFoundError: No such model (reason MODEL_NOT_FOUND); the message lists those there are.
            FailedPreconditionError: The pinned digest is another (reason MODEL_DIGEST_MISMATCH).
        """
        wanted = ModelReference.parse(reference, field)
        path = self.folder(wanted.name) / CARD_FILE
        if not path.is_file():
            known = ", ".join(card.name for card in self.cards(kind)) or "none"
            raise NotFoundError(
                f"there is no model {wanted.name!r} here; there are: {known}",
                reason="MODEL_NOT_FOUND",
                field=field,
                model=wanted.name,
            )
        card = ModelCard.parse(path.read_bytes(), self._origin(path))
        if kind is not None and card.kind != kind:
            raise InvalidArgumentError(
                f"{wanted.name} is a {_noun(card.kind)}; a {_noun(kind)} is needed here",
                reason="WRONG_MODEL_KIND",
                field=field,
                model=wanted.name,
            )
        if not card.digest.startswith(wanted.digest):
            raise FailedPreconditionError(
                f"{wanted.name} has the digest {card.digest[:16]}... here, not {wanted.digest[:16]}...; "
                "drop '@sha256:...' from the name, or install the model you mean",
                reason="MODEL_DIGEST_MISMATCH",
                field=field,
                model=wanted.name,
                expected=wanted.digest,
                actual=card.digest,
            )
        return card

    def verified(self, card: ModelCard) -> Path:
        """The model's folder, its files checked against the card once a process.

        Raises:
            DataLossError: A file is missing or is another.
        """
        folder = self.folder(card.name)
        if self._verified.get(card.name) != card.digest:
            verify_files(card, folder)
            self._verified[card.name] = card.digest
        return folder

    def folder(self, name: str) -> Path:
        """Where a model of that name lies."""
        return self.root.joinpath(*name.split("/"))

    def _origin(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _noun(kind: ModelKind) -> str:
    return "parts model" if kind == "parts" else kind
