"""Real images that activate units most: each image of a folder in the store is read once, for all units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitscope.errors import FailedPreconditionError
from unitscope.jobs.chunks import ChunkResult
from unitscope.jobs.specs import QuantifySpec
from unitscope.store.images import ImageEntry, read_image, read_index
from unitscope.store.pictures import fitted
from workers.analyses.job import Job

MOST = 8
"""Images that are shown of each unit."""
BATCH = 32
THUMBNAIL = 96

Floats = NDArray[np.float32]


def activate(context: Job, spec: QuantifySpec, params: dict[str, Any]) -> ChunkResult:
    """Reads every `of`-th image from the `part`-th on; keeps the `MOST` highest values of each unit.

    Returns:
        ``values`` float32 (kept, units), descending, and ``indices`` int64, places in the folder's index.

    Raises:
        NotFoundError: There is no such folder.
        FailedPreconditionError: It has no images (reason NO_IMAGES).
    """
    entries = read_index(context.store, spec.image_folder)
    if not entries:
        raise FailedPreconditionError(
            f"the image folder {spec.image_folder!r} has no images; add some with `unitscope images add`",
            reason="NO_IMAGES",
            field="spec.quantify.image_folder",
        )
    mine = np.arange(params["part"], len(entries), params["of"])
    wanted = context.card("classifier").input
    size = (wanted.width, wanted.height) if wanted else (224, 224)
    values: list[Floats] = []
    for first in range(0, len(mine), BATCH):
        pictures = [
            fitted(read_image(context.store, spec.image_folder, entries[k]), size)
            for k in mine[first : first + BATCH]
        ]
        features, _ = context.classifier.read(np.stack(pictures))
        values.append(features)
        context.beat()
    if not values:
        return ChunkResult({}, {"images": 0})
    features = np.concatenate(values)
    best = np.argsort(-features, axis=0, kind="stable")[:MOST]
    tensors: dict[str, NDArray[Any]] = {
        "values": np.take_along_axis(features, best, axis=0),
        "indices": mine[best].astype(np.int64),
    }
    return ChunkResult(tensors, {"images": len(mine)})


def most_activating(
    context: Job, spec: QuantifySpec, units: Sequence[int]
) -> dict[int, list[tuple[str, float, NDArray[np.uint8]]]]:
    """Name, value and thumbnail of the images that activate each unit most, the highest first."""
    entries = read_index(context.store, spec.image_folder)
    chunks = [chunk.tensors for _, chunk in context.result("activate") if chunk.record["images"]]
    values = np.concatenate([tensors["values"] for tensors in chunks])
    indices = np.concatenate([tensors["indices"] for tensors in chunks])
    thumbnails: dict[int, NDArray[np.uint8]] = {}
    found = {}
    for unit in units:
        best = np.argsort(-values[:, unit], kind="stable")[:MOST]
        found[unit] = [
            (entries[k].name, float(values[row, unit]), _thumbnail(context, spec, entries, k, thumbnails))
            for row, k in ((row, int(indices[row, unit])) for row in best)
        ]
    return found


def _thumbnail(
    context: Job,
    spec: QuantifySpec,
    entries: Sequence[ImageEntry],
    index: int,
    known: dict[int, NDArray[np.uint8]],
) -> NDArray[np.uint8]:
    if index not in known:
        image = read_image(context.store, spec.image_folder, entries[index])
        known[index] = fitted(image, (THUMBNAIL, THUMBNAIL))
    return known[index]


def confirmed_units(numbers: NDArray[np.int64], confirmed: NDArray[np.bool_]) -> Iterator[int]:
    """Single units of a list of targets that were confirmed: those that have a page of their own."""
    return (int(number) for number in numbers[confirmed] if number >= 0)
