"""The user's own images: the table `inversions`, their pictures as zips, and those that the report shows."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unitscope.jobs.chunks import ChunkResult
from unitscope.jobs.planning.counterfactual import OWN_IMAGES
from unitscope.jobs.specs import CounterfactualSpec
from unitscope.tables import INVERSIONS
from workers.analyses.counterfactual.naming import base_picture
from workers.analyses.job import Job
from workers.analyses.linked import Solution
from workers.outputs import OutputFile, pack_images, unpack_images
from workers.report.counterfactual.data import Inverted

PICTURES = ("photo", "linked", "inverted")
MAX_SHOWN = 64
"""Own images that are offered to a report; it shows what its size allows of them."""

Row = Mapping[str, Any]


def own_chunks(context: Job, spec: CounterfactualSpec) -> Iterator[tuple[str, ChunkResult]]:
    """Chunks that hold images of one's own, with the name of the zip of their pictures."""
    if not spec.image_folder:
        return
    for params, chunk in context.result("base"):
        context.beat()
        if params["class"] == OWN_IMAGES and len(chunk.tensors["seeds"]):
            yield f"images/own-{params['first']:05d}.zip", chunk


def inversion_rows(context: Job, spec: CounterfactualSpec, solution: Solution) -> pa.Table:
    """The table `inversions`: one row for each of one's own images."""
    classes = context.card("classifier").classes
    tables = [INVERSIONS.build({column.name: [] for column in INVERSIONS.columns})]
    for shard, chunk in own_chunks(context, spec):
        tensors, kept = chunk.tensors, set(chunk.record["kept"])
        rows = range(len(tensors["seeds"]))
        # Where searches start from the linker's picture, that is what "logits" and "latents" are of.
        logits = tensors.get("inverted_logits", tensors["logits"])
        refined = tensors.get("inverted_refined", np.full(len(rows), chunk.record["refined"]))
        distances = tensors.get("inverted_plausibility")
        if distances is None:
            distances = solution.distances(tensors["latents"])
        body = {
            "image": chunk.record["names"],
            "seed": tensors["seeds"],
            "read_as": [classes[k] for k in tensors["photo_logits"].argmax(1)],
            "inverted_as": [classes[k] for k in logits.argmax(1)],
            "linked_error": tensors["linked_error"],
            "error": tensors["inverted_error"],
            "feature_error": tensors["feature_error"],
            "refined": refined.astype(bool),
            "plausibility": distances.astype(np.float64),
            "image_shard": [shard if k in kept else None for k in rows],
            "image_folder": [_folder(k) if k in kept else None for k in rows],
        }
        tables.append(INVERSIONS.build(body))
    return pa.concat_tables(tables)


def own_pictures(context: Job, spec: CounterfactualSpec) -> Iterator[OutputFile]:
    """Zips of what was kept: the image, the linker's picture of it, and the inverted one."""
    for name, chunk in own_chunks(context, spec):
        kept = [int(k) for k in chunk.record["kept"]]
        images = {
            f"{_folder(k)}/{kind}.png": seen for k in kept for kind, seen in _pictures(chunk, k).items()
        }
        if images:
            yield OutputFile(name, "application/zip", pack_images(images))


def shown_inversions(context: Job, spec: CounterfactualSpec, rows: Sequence[Row]) -> Iterator[Inverted]:
    """Those of the table's rows whose pictures were kept, the first ones."""
    shown = first = 0
    for _, chunk in own_chunks(context, spec):
        for k in chunk.record["kept"]:
            if shown < MAX_SHOWN:
                shown += 1
                yield Inverted(row=rows[first + k], **_pictures(chunk, int(k)))
        first += len(chunk.tensors["seeds"])


def _folder(place: int) -> str:
    return f"image-{place:04d}"


def _pictures(chunk: ChunkResult, k: int) -> dict[str, NDArray[np.uint8]]:
    """One image's pictures by the names of `PICTURES`."""
    data = chunk.tensors["pictures"].tobytes()
    names = [base_picture(k, kind) for kind in PICTURES]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if names[-1] not in archive.namelist():
            # Searches start from the inverted picture, so that it is the base image itself.
            names[-1] = base_picture(k)
    return dict(zip(PICTURES, unpack_images(data, names), strict=True))
