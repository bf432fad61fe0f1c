"""Published linkers: found in the object store by digest."""

from __future__ import annotations

from unitscope.errors import InvalidArgumentError, NotFoundError
from unitscope.jobs import layout
from unitscope.models.cards import ModelCard
from unitscope.store import ObjectStore

MIN_PREFIX = 12


def find_linker(store: ObjectStore, digest: str) -> ModelCard:
    """The card of the linker whose digest starts with the given 12 to 64 digits.

    Raises:
        InvalidArgumentError: Fewer than 12 digits, or several linkers match.
        NotFoundError: No linker matches (reason LINKER_NOT_FOUND).
    """
    if len(digest) < MIN_PREFIX:
        raise InvalidArgumentError(
            f"{digest!r} is too short for a linker's digest; give 12 to 64 hexadecimal digits",
            reason="INVALID_LINKER",
            field="linker",
        )
    matches = [name for name in store.children(layout.LINKERS) if name.startswith(digest)]
    if len(matches) > 1:
        raise InvalidArgumentError(
            f"{len(matches)} linkers start with {digest}; give more digits",
            reason="INVALID_LINKER",
            field="linker",
        )
    if not matches:
        raise NotFoundError(
            f"there is no linker {digest[:16]}...; 'unitscope capabilities' lists those there are, "
            "and a job of kind 'link' makes one",
            reason="LINKER_NOT_FOUND",
            field="linker",
            linker=digest,
        )
    key = layout.linker_card(matches[0])
    return ModelCard.parse(store.get(key), key)


def list_linkers(store: ObjectStore) -> list[ModelCard]:
    """The cards of all published linkers, in the order of their digests."""
    keys = [layout.linker_card(name) for name in store.children(layout.LINKERS)]
    return [ModelCard.parse(store.get(key), key) for key in keys if store.stat(key) is not None]
