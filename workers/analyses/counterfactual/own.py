"""The user's own images as base images: cut to the generator's picture, then inverted to w."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from unitscope.errors import FailedPreconditionError
from unitscope.jobs.chunks import ChunkResult
from unitscope.jobs.specs import CounterfactualSpec
from unitscope.store.images import ImageEntry, read_image, read_index
from unitscope.store.pictures import fitted
from workers.analyses.counterfactual.looking import Floats, Images, Tensors, measured, models_of, zipped
from workers.analyses.counterfactual.naming import base_picture, kept_images
from workers.analyses.job import Job
from workers.analyses.linked import Linked
from workers.counterfactual.inversion import Inversion, invert


def own_images(context: Job, spec: CounterfactualSpec) -> tuple[ImageEntry, ...]:
    """The images that the job works on: the first of the folder, as many as were asked for.

    Raises:
        NotFoundError: There is no such folder (reason IMAGES_NOT_FOUND).
        FailedPreconditionError: It has no images (reason NO_IMAGES).
    """
    entries = read_index(context.store, spec.image_folder)
    if not entries:
        raise FailedPreconditionError(
            f"the image folder {spec.image_folder!r} has no images; add some with `unitscope images add`",
            reason="NO_IMAGES",
            field="spec.counterfactual.image_folder",
        )
    return entries[: spec.seeds]


def invert_images(
    context: Job, spec: CounterfactualSpec, linked: Linked, params: dict[str, Any]
) -> ChunkResult:
    """Inverts a block of the user's images; there are none beyond the folder's end.

    Searches with ``start: own`` start from the inverted image and the features that are read in it; with
    ``start: linked`` from the image's own features, hence from the linker's picture, as published.

    Raises:
        NotFoundError: There is no such folder, or an image is gone.
        FailedPreconditionError: The folder is empty (reason NO_IMAGES).
        UnitScopeError: A service refused or does not answer.
    """
    first, last = params["first"], params["first"] + params["count"]
    entries = own_images(context, spec)[first:last]
    renderer = context.generator.renderer()
    record = {
        "names": [entry.name for entry in entries],
        "refined": False,
        "kept": [],
        "renderer": f"{renderer.name} {renderer.version}",
    }
    if not entries:
        return ChunkResult(_nothing(context, linked), record)
    photos = _photos(context, spec, entries)
    solution = linked.solution
    found = invert(models_of(context, linked), photos, std=solution.std, furthest=solution.distance_limit)
    features, latents, logits = found.features, found.latents, found.logits
    if spec.start == "linked":
        context.beat()
        features, logits = context.classifier.read(photos)
        latents = found.linked_latents
    kept = min(kept_images(spec, params), len(entries))
    measures, pictures = measured(context, latents, kept)
    for k in range(kept):
        pictures[base_picture(k, "photo")] = photos[k]
        pictures[base_picture(k, "linked")] = found.linked_images[k]
        if spec.start == "linked":
            pictures[base_picture(k, "inverted")] = found.images[k]
    tensors: Tensors = {
        "features": features,
        "latents": latents,
        "logits": logits,
        "measures": measures,
        "seeds": np.arange(first, first + len(entries), dtype=np.int64),
        **_errors(found),
    }
    record |= {"refined": bool(found.refined.any()), "kept": list(range(kept))}
    return ChunkResult(tensors | zipped(pictures), record)


def _errors(found: Inversion) -> Tensors:
    """How well the images are shown, and what is read in their inversions, wherever searches start."""
    return {
        "linked_error": found.linked_error.astype(np.float32),
        "inverted_error": found.error.astype(np.float32),
        "feature_error": found.feature_error.astype(np.float32),
        "photo_logits": found.photo_logits,
        "inverted_logits": found.logits,
        "inverted_plausibility": found.plausibility.astype(np.float32),
        "inverted_refined": found.refined.astype(np.uint8),
    }


def _photos(context: Job, spec: CounterfactualSpec, entries: Sequence[ImageEntry]) -> Images:
    """The images, scaled to cover the generator's picture, the middle cut out of them."""
    edge = int(context.card("generator").architecture["spec"]["resolution"])
    found = []
    for entry in entries:
        context.beat()
        found.append(fitted(read_image(context.store, spec.image_folder, entry), (edge, edge)))
    return np.stack(found)


def _nothing(context: Job, linked: Linked) -> Tensors:
    """The tensors of no images."""
    w_dim, units = linked.solution.weight.shape
    classes = len(context.card("classifier").classes)
    none: Floats = np.zeros(0, np.float32)
    return {
        "features": np.zeros((0, units), np.float32),
        "latents": np.zeros((0, w_dim), np.float32),
        "logits": np.zeros((0, classes), np.float32),
        "measures": measured(context, np.zeros((0, w_dim), np.float32), 0)[0],
        "seeds": np.zeros(0, np.int64),
        "linked_error": none,
        "inverted_error": none,
        "feature_error": none,
        "photo_logits": np.zeros((0, classes), np.float32),
        "inverted_logits": np.zeros((0, classes), np.float32),
        "inverted_plausibility": none,
        "inverted_refined": np.zeros(0, np.uint8),
    }
