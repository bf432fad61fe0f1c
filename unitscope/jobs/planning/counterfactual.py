"""The plan of `counterfactual`: base images, a search for each of them and each target, mean shifts.

Names of classes that do not exist stop nothing: their rows say so. See `workers.analyses.counterfactual`.
"""

from __future__ import annotations

import math
from typing import Any

from unitscope.errors import FailedPreconditionError, InvalidArgumentError
from unitscope.jobs.plan import MAX_CHUNKS_PER_STAGE, Plan, Stage, make_plan
from unitscope.jobs.planning.linked import (
    CHUNKS_PER_STAGE,
    Linked,
    LinkerLookup,
    find_linked,
    resolved,
)
from unitscope.jobs.planning.parts import parts_model
from unitscope.jobs.specs import CounterfactualSpec
from unitscope.models import Registry

OWN_IMAGES = -1
"""Stands for a class where the base images are the user's own."""
NO_IMAGES = -2
"""Stands for a class where no origin exists: a chunk without rows."""
ROWS_PER_CHUNK = {"path": 32, "descent": 4}
USUAL_RESOLUTION = 64
"""Up to which a chunk of ``path`` has so many rows; of larger pictures, which take longer, it has fewer."""
LEAST_ROWS = 4
"""Of such a chunk: so that calls still carry a batch of pictures."""
IMAGES_PER_BASE = 64
IMAGES_PER_INVERSION = 8
RENDERS_PER_INVERSION = 100
RENDERS_PER_PATH = 32
"""Of one row of ``path``, the film strip left out: about what is used."""
MEAN_CHUNKS = 8
MOST_MEAN_CHUNKS = 100
RENDERS_PER_MEAN_CHUNK = 5_000
MEAN_MULTIPLES = (1.0, 1.5, 2.0)
"""How far mean shifts are applied."""
MAX_ROWS = 150_000
"""Rows of a job, those that only say that an origin does not exist included: the finaliser holds them all."""
MAX_CARRIERS = 2_000_000
"""Rows of a job times ``top``: about what the table of carriers may come to."""
SAMPLED_ROWS = 4_000
"""Rows whose pictures ``keep: sample`` keeps at most, about."""
PIXEL_BYTES = 2.4
"""What a pixel of a kept picture takes as PNG, in the chunk and in its zip; of avatars."""
PICTURE_BYTES = 256 << 20
"""Pictures that one chunk of ``search`` keeps, decoded."""


def targets_of(spec: CounterfactualSpec, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the targets in their order; one empty name, for the runner-up, where that is asked for."""
    return ("",) if spec.runner_up else spec.targets or classes


def counterfactual_plan(spec: CounterfactualSpec, registry: Registry, linker: LinkerLookup) -> Plan:
    """The plan of a spec.

    Raises:
        FailedPreconditionError: The linker's layer has no head (reason LAYER_HAS_NO_HEAD).
        UnitScopeError: As `unitscope.jobs.planning.make`.
    """
    known = find_linked(spec, registry, linker, "spec.counterfactual")
    layer = known.classifier.layer(known.layer)
    if not layer.has_head:
        raise FailedPreconditionError(
            f"the layer {layer.name!r} of {known.classifier.name} has no head, so the classifier cannot say "
            "what shifted features are; use a linker of a layer that has one, e.g. the penultimate",
            reason="LAYER_HAS_NO_HEAD",
            field="spec.counterfactual",
            layer=layer.name,
        )
    parts = parts_model(spec.parts, registry, known.generator, "spec.counterfactual.parts")
    base = _base(spec, known)
    targets = len(targets_of(spec, known.classifier.classes))
    images = sum(chunk["count"] for chunk in base)
    missing = sum(name not in known.generator.classes for name in spec.origins)
    _check_rows(spec, (images + missing) * targets)
    resolution = int(known.generator.architecture["spec"]["resolution"])
    found = Stage(
        name="search",
        chunks=tuple(_searches(spec, base, targets, resolution)),
        renders=images * targets * (_renders(spec) + spec.frames + 2),
    )
    stages = [
        *known.stages,
        Stage(name="base", chunks=tuple(base), renders=images * _renders_per_base(spec)),
        found,
    ]
    if spec.seeds > 1:
        applied = images * targets * len(MEAN_MULTIPLES)
        wanted = math.ceil(applied / RENDERS_PER_MEAN_CHUNK)
        count = min(max(wanted, MEAN_CHUNKS), MOST_MEAN_CHUNKS)
        chunks = tuple({"part": k, "of": count} for k in range(count))
        stages.append(Stage(name="mean", chunks=chunks, renders=applied))
    return make_plan(spec, (*known.models, resolved(parts)), stages)


def planned_rows(plan: Plan) -> int:
    """Rows of a plan of this kind."""
    return sum(chunk["count"] * len(chunk["targets"]) for chunk in plan.stage("search").chunks)


def stored_bytes(plan: Plan, registry: Registry) -> int:
    """About what a plan of this kind leaves in the store, pictures in chunks and in zips counted twice.

    Raises:
        UnitScopeError: A model of the plan is gone, or has been replaced.
    """
    cards = {m.kind: registry.resolve(f"{m.name}@sha256:{m.digest}", m.kind) for m in plan.models[:2]}
    rows, frames = planned_rows(plan), int(plan.spec["frames"])
    kept = {"all": rows, "sample": min(rows, SAMPLED_ROWS), "none": 0}[plan.spec["keep"]]
    units = max((layer.units for layer in cards["classifier"].layers if layer.has_head), default=0)
    numbers = 13_000 + 4 * (units + len(cards["classifier"].classes) * (frames + 2))
    pixels = int(cards["generator"].architecture["spec"]["resolution"]) ** 2
    # Two label maps are about as long as one picture.
    return rows * numbers + kept * int((frames + 3) * PIXEL_BYTES * pixels)


def rows_with_pictures(spec: CounterfactualSpec, resolution: int) -> int:
    """How many rows of a chunk of ``search`` may keep their pictures."""
    # Start, counterfactual and frames in colour, and two label maps.
    row_bytes = resolution**2 * (3 * (spec.frames + 2) + 2)
    return max(1, PICTURE_BYTES // row_bytes)


def _check_rows(spec: CounterfactualSpec, rows: int) -> None:
    """Refuses what no worker could bring together in the end, however little of it is rendered."""
    if rows > MAX_ROWS:
        raise InvalidArgumentError(
            f"the job would have {rows:,} rows, one for each base image and target, and for each origin "
            f"that does not exist and target; at most {MAX_ROWS:,} are possible: ask for fewer origins, "
            "targets or seeds",
            reason="JOB_TOO_LARGE",
            field="spec.counterfactual",
            rows=rows,
        )
    if rows * spec.top > MAX_CARRIERS:
        raise InvalidArgumentError(
            f"the {spec.top} first units of each of {rows:,} rows would be kept; with so many rows top may "
            f"be {max(1, MAX_CARRIERS // rows)} at most: ask for a smaller top, or for fewer origins, "
            "targets or seeds",
            reason="JOB_TOO_LARGE",
            field="spec.counterfactual.top",
            rows=rows,
        )


def _base(spec: CounterfactualSpec, known: Linked) -> list[dict[str, Any]]:
    """Blocks of base images; one without images where no origin exists."""
    if spec.image_folder:
        return _blocks(OWN_IMAGES, spec.seeds, IMAGES_PER_INVERSION, CHUNKS_PER_STAGE)
    classes = known.classes
    if spec.origins:
        classes = [known.generator.classes.index(n) for n in spec.origins if n in known.generator.classes]
    most = max(1, CHUNKS_PER_STAGE // max(1, len(classes)))
    chunks = [chunk for c in classes for chunk in _blocks(c, spec.seeds, IMAGES_PER_BASE, most)]
    return chunks or [{"class": NO_IMAGES, "first": 0, "count": 0}]


def _blocks(class_index: int, images: int, usual: int, most: int) -> list[dict[str, Any]]:
    """The images of a class in blocks of `usual` images, or of more, so that there are at most `most`."""
    size = max(usual, math.ceil(images / most))
    return [
        {"class": class_index, "first": first, "count": min(size, images - first)}
        for first in range(0, images, size)
    ]


def _searches(
    spec: CounterfactualSpec, base: list[dict[str, Any]], targets: int, resolution: int
) -> list[dict[str, Any]]:
    """Blocks of targets, and of images where they are few enough.

    Args:
        spec: What is asked for.
        base: The chunks of base images.
        targets: How many there are.
        resolution: Of the generator.

    Raises:
        InvalidArgumentError: All pictures are to be kept, of more rows than chunks can hold (reason
            JOB_TOO_LARGE).
    """
    rows = sum(chunk["count"] for chunk in base) * targets
    if not rows:
        return _cut(base, targets, targets)
    usual, fitting = ROWS_PER_CHUNK[spec.method], rows_with_pictures(spec, resolution)
    if spec.method == "path" and resolution > USUAL_RESOLUTION:
        usual = max(LEAST_ROWS, usual * USUAL_RESOLUTION // resolution)
    if spec.keep != "none":
        usual = min(usual, fitting)
    most = max(usual, math.ceil(2 * rows / CHUNKS_PER_STAGE))
    chunks = _cut(base, targets, min(most, fitting) if spec.keep == "all" else most)
    if spec.keep == "all" and most > fitting and len(chunks) > MAX_CHUNKS_PER_STAGE:
        raise InvalidArgumentError(
            f"the pictures of {rows:,} rows with {spec.frames} frames each are to be kept; at this size that "
            f"is possible for about {fitting * MAX_CHUNKS_PER_STAGE:,}: use keep: sample, fewer frames, or "
            "fewer origins, targets or seeds",
            reason="JOB_TOO_LARGE",
            field="spec.counterfactual.keep",
            rows=rows,
        )
    return chunks


def _cut(base: list[dict[str, Any]], targets: int, most: int) -> list[dict[str, Any]]:
    """Chunks of at most so many rows, each of images of one chunk of `base`."""
    wide = min(targets, most)
    high = max(1, most // wide)
    return [
        {
            "class": chunk["class"],
            "first": chunk["first"] + first,
            "count": min(high, chunk["count"] - first),
            "targets": list(range(place, min(place + wide, targets))),
        }
        for chunk in base
        for first in range(0, max(chunk["count"], 1), high)
        for place in range(0, targets, wide)
    ]


def _renders(spec: CounterfactualSpec) -> int:
    return RENDERS_PER_PATH if spec.method == "path" else spec.max_steps + 1


def _renders_per_base(spec: CounterfactualSpec) -> int:
    return RENDERS_PER_INVERSION if spec.image_folder else 2
