"""Models travel through the object store: pushed from one registry, pulled into others.

::

    models/<pack>/<model>/<digest>/<file>        create-only
    models/<pack>/<model>/<digest>/card.json     create-only, written last: the model is there once this is

A pulled model is checked file by file against its card, and the card against the digest in its key,
before it takes its place in the registry::

    pull(store, "lab/resnet@sha256:1f2e3d4c5b6a", Path("/models"))
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from unitscope.errors import DataLossError, InvalidArgumentError, NotFoundError
from unitscope.models.cards import CARD_FILE, ModelCard, file_entry, verify_files
from unitscope.models.registry import ModelReference, Registry
from unitscope.store import ObjectStore

MODELS = "models/"


def push(store: ObjectStore, registry: Registry, reference: str) -> tuple[ModelCard, bool]:
    """Puts a model of the registry into the store.

    Args:
        store: Where to.
        registry: Where from; the model's files are checked against its card first.
        reference: ``<pack>/<model>``, optionally with ``@sha256:<digest>``.

    Returns:
        Its card, and whether it was not there yet. The card of a model that is there stays as it is.

    Raises:
        UnitScopeError: The registry has no such model, its files are not those of its card, or the store
            cannot be written to.
        DataLossError: The store holds other bytes under a file's key.
    """
    card = registry.resolve(reference)
    folder, prefix = registry.verified(card), _prefix(card)
    for name, entry in card.files.items():
        if store.create(prefix + name, (folder / name).read_bytes()):
            continue
        found = store.stat(prefix + name)
        if found is None or found.size != entry.size:
            raise DataLossError(
                f"the store holds another {prefix}{name} than {card.name} has; remove it there, push again",
                key=prefix + name,
            )
    return card, store.create(prefix + CARD_FILE, (folder / CARD_FILE).read_bytes())


def pull(store: ObjectStore, reference: str, root: Path) -> tuple[ModelCard, bool]:
    """Brings a model of the store into a folder of packs, verified.

    A model of that name with another digest is replaced; one with the same digest is verified and stays,
    unless its files are damaged.

    Args:
        store: Where from.
        reference: ``<pack>/<model>``, with ``@sha256:<12 to 64 digits>`` where the store has several.
        root: The folder of packs; it is made where it is missing.

    Returns:
        Its card, and whether anything was fetched.

    Raises:
        InvalidArgumentError: No reference, or the store has several such models (AMBIGUOUS_MODEL).
        NotFoundError: The store has no such model (MODEL_NOT_FOUND).
        DataLossError: What the store gave is not the model of that digest. Nothing was replaced.
    """
    wanted = ModelReference.parse(reference)
    digest = _digest(store, wanted)
    target = Registry(root).folder(wanted.name)
    present = _present(target, digest)
    if present is not None:
        return present, False
    # On the same file system, so that it takes its place at once; too deep for a registry to see.
    scratch = root / f".pull-{os.getpid()}"
    draft, former = scratch / "new" / "model", scratch / "new" / "former"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        card = _fetch(store, wanted.name, digest, draft)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rename(former)
        draft.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return card, True


def _prefix(card: ModelCard) -> str:
    return f"{MODELS}{card.name}/{card.digest}/"


def _digest(store: ObjectStore, wanted: ModelReference) -> str:
    """The whole digest of the one model of the store that a reference means."""
    prefix = f"{MODELS}{wanted.name}/"
    found = [
        name
        for name in store.children(prefix)
        if name.startswith(wanted.digest) and store.stat(f"{prefix}{name}/{CARD_FILE}") is not None
    ]
    if len(found) > 1:
        raise InvalidArgumentError(
            f"the store has {len(found)} models {wanted}; name one of them, e.g. "
            f"{wanted.name}@sha256:{found[0][:12]}",
            reason="AMBIGUOUS_MODEL",
            field="model",
            model=str(wanted),
        )
    if not found:
        raise NotFoundError(
            f"the store has no model {wanted}; 'unitscope models push {wanted.name}' puts one there",
            reason="MODEL_NOT_FOUND",
            field="model",
            model=str(wanted),
        )
    return found[0]


def _present(folder: Path, digest: str) -> ModelCard | None:
    """The card of an undamaged model of that digest in the folder; None where there is none."""
    path = folder / CARD_FILE
    if not path.is_file():
        return None
    card = ModelCard.parse(path.read_bytes(), str(path))
    if card.digest != digest:
        return None
    try:
        verify_files(card, folder)
    except DataLossError:
        return None
    return card


def _fetch(store: ObjectStore, name: str, digest: str, folder: Path) -> ModelCard:
    """Writes a model of the store into an empty folder, and checks all of it."""
    prefix = f"{MODELS}{name}/{digest}/"
    data = store.get(prefix + CARD_FILE)
    card = ModelCard.parse(data, prefix + CARD_FILE)
    if (card.name, card.digest) != (name, digest):
        raise DataLossError(
            f"{prefix}{CARD_FILE} is the card of {card.name}@sha256:{card.digest[:12]}; the store was "
            "tampered with or is damaged",
            key=prefix + CARD_FILE,
        )
    for file, entry in card.files.items():
        path = folder / file
        # A card names files, and might name others: nothing is written outside the folder.
        if path.parent != folder or file == CARD_FILE:
            raise DataLossError(f"{prefix}{CARD_FILE} names a file {file!r}", key=prefix + CARD_FILE)
        with path.open("wb") as out:
            for piece in store.stream(prefix + file):
                out.write(piece)
        if file_entry(path) != entry:
            raise DataLossError(
                f"{prefix}{file} does not have the sha256 on its card; push the model again under another "
                "bucket or prefix",
                key=prefix + file,
            )
    (folder / CARD_FILE).write_bytes(data)
    return card
