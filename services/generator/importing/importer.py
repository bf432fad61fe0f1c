"""From an official checkpoint to a model of the registry, all or nothing."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from services.generator.configurations import official_name, parameter_count
from services.generator.importing.architecture import FoundNetwork
from services.generator.importing.limits import Limits, printable
from services.generator.importing.scratch import scratch_folder
from services.generator.importing.source import open_source, read_network
from services.generator.importing.tensors import Weights
from unitscope.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError
from unitscope.models.cards import WEIGHTS_FILE, FileEntry, ModelCard
from unitscope.models.lineage import with_lineage
from unitscope.models.registry import ModelReference

PACK = "stylegan-xl"
"""The pack of models that are given a bare name."""


def import_stylegan_xl(
    file: Path,
    root: Path,
    *,
    name: str,
    classes: Sequence[str] = (),
    description: str = "",
    license_name: str = "unknown",
    limits: Limits | None = None,
) -> ModelCard:
    """Writes ``<root>/<name>/{card.json, model.safetensors}``.

    Args:
        file: An official checkpoint (``.pkl``).
        root: The registry's folder.
        name: ``<pack>/<model>``; a bare name goes into the pack ``stylegan-xl``.
        classes: Names of the classes in their order; by default their numbers.
        description: What the model is.
        license_name: Licence of the weights.
        limits: What the file may ask for.

    Returns:
        The card that was written.

    Raises:
        InvalidArgumentError: The file is refused (each cause has its reason), or the names of the
            classes are of another number (CLASS_COUNT).
        NotFoundError: There is no such file.
        AlreadyExistsError: There is a model of that name (reason MODEL_EXISTS).
        FailedPreconditionError: The registry's folder cannot be written, or is full
            (REGISTRY_NOT_WRITABLE).
    """
    full_name = ModelReference.parse(name if "/" in name else f"{PACK}/{name}", "name").name
    folder = root.joinpath(*full_name.split("/"))
    if folder.exists():
        raise _exists(full_name)
    limits = limits or Limits()
    data = open_source(file, limits)
    network = read_network(data, limits)
    labels = tuple(classes) or tuple(str(i) for i in range(network.spec.num_classes))
    if len(labels) != network.spec.num_classes:
        raise InvalidArgumentError(
            f"{len(labels)} names of classes were given; the network has {network.spec.num_classes} classes",
            reason="CLASS_COUNT",
            field="classes",
        )
    source = FileEntry(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    try:
        root.mkdir(parents=True, exist_ok=True)
        with scratch_folder(root) as scratch:
            # Deeper than models lie, so that no listing sees half of one.
            made = scratch / "new" / "model"
            made.mkdir(parents=True)
            weights = write_safetensors(made / WEIGHTS_FILE, network.weights)
            card = _card(network, full_name, labels, weights, description, license_name)
            card = card.model_copy(update={"training": _origin(network, file, source)})
            card = with_lineage(card, made)
            card.save(made)
            folder.parent.mkdir(exist_ok=True)
            made.rename(folder)
    except OSError as error:
        if folder.exists():
            raise _exists(full_name) from error
        raise FailedPreconditionError(
            f"the model cannot be written to {root}: {error.strerror or error}; nothing of it is left there",
            reason="REGISTRY_NOT_WRITABLE",
        ) from error
    return card


def write_safetensors(path: Path, tensors: Mapping[str, Weights]) -> FileEntry:
    """Writes float32 tensors in the safetensors format, one at a time: no second copy of all in memory.

    Format: the length of a header as u64, the header as JSON (padded by spaces to 8 bytes), the values.

    Returns:
        Size and digest of the file.

    Raises:
        InvalidArgumentError: A tensor holds NaN or infinity (reason NON_FINITE_WEIGHTS).
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, tensor in tensors.items():
        end = position + 4 * math.prod(tensor.shape)
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with path.open("xb") as file:
        chunks = (tensor.load().reshape(-1).view(np.uint8).data for tensor in tensors.values())
        for chunk in (len(text).to_bytes(8, "little"), text):
            digest.update(chunk)
            file.write(chunk)
        for values in chunks:
            digest.update(values)
            file.write(values)
        size = file.tell()
    return FileEntry(sha256=digest.hexdigest(), size=size)


def _card(
    network: FoundNetwork,
    name: str,
    classes: Sequence[str],
    weights: FileEntry,
    description: str,
    license_name: str,
) -> ModelCard:
    spec = network.spec
    published = official_name(spec)
    said = f"layers as in the published {published}" if published else "a configuration of its own"
    return ModelCard(
        name=name,
        kind="generator",
        description=description
        or f"StyleGAN-XL generator of {spec.resolution}-pixel pictures, imported from a checkpoint; {said}.",
        license=license_name,
        architecture={"name": "stylegan-xl", "spec": spec.to_dict()},
        classes=tuple(classes),
        files={WEIGHTS_FILE: weights},
        metrics={"parameters": parameter_count(spec)},
    )


def _origin(network: FoundNetwork, file: Path, source: FileEntry) -> dict[str, object]:
    """Where the weights came from."""
    return {
        "imported_from": file.name,
        "source_sha256": source.sha256,
        "source_bytes": source.size,
        "source_class": printable(network.kind, 120),
        "source_precision": sorted({tensor.precision for tensor in network.weights.values()}),
    }


def _exists(name: str) -> AlreadyExistsError:
    return AlreadyExistsError(
        f"there is a model {name!r} already; remove it, or choose another name",
        reason="MODEL_EXISTS",
        field="name",
    )
