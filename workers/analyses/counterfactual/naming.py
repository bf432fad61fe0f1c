"""Which pictures of a job are kept, and what they are called in the zips of their chunks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitscope.jobs.plan import Plan
from unitscope.jobs.planning.counterfactual import OWN_IMAGES, SAMPLED_ROWS
from unitscope.jobs.specs import CounterfactualSpec

SHOWN = 2
"""Base images of each class that ``keep: sample`` keeps with their rows, where they are generated."""
SHOWN_OWN = 8
"""Of the user's own images."""


def row_folder(row: int) -> str:
    """Where the pictures of a row of a chunk of ``search`` are in its zip."""
    return f"row-{row:04d}"


def row_picture(row: int, name: str) -> str:
    """The name of a row's ``start``, ``counterfactual``, ``start-parts`` or ``counterfactual-parts``."""
    return f"{row_folder(row)}/{name}.png"


def frame_picture(row: int, frame: int) -> str:
    """The name of a frame of a row's film strip."""
    return row_picture(row, f"frame-{frame:02d}")


def base_picture(image: int, name: str = "") -> str:
    """The name of a base image of a chunk, or of its ``parts``, ``photo``, ``linked`` or ``inverted``."""
    return f"{image}-{name}.png" if name else f"{image}.png"


def kept_images(spec: CounterfactualSpec, params: dict[str, Any]) -> int:
    """How many images of a chunk of ``base``, the first ones, are kept."""
    if spec.keep == "none":
        return 0
    if spec.keep == "all":
        return int(params["count"])
    shown = SHOWN_OWN if params["class"] == OWN_IMAGES else SHOWN
    return min(int(params["count"]), max(0, shown - int(params["first"])))


def kept_rows(
    spec: CounterfactualSpec, plan: Plan, params: dict[str, Any], most: int | None = None
) -> NDArray[np.bool_]:
    """Which rows of a chunk of ``search`` are kept: (images of the chunk x targets,), image by image.

    Args:
        spec: Of the job.
        plan: Its plan.
        params: Of the chunk.
        most: Rows at most whose pictures a chunk can hold: of a sample no more are kept. Where all are to be
            kept, the plan saw to it that they can be.
    """
    images, targets = int(params["count"]), np.array(params["targets"], np.int64)
    kept = np.arange(images) < kept_images(spec, params)
    every = 1
    if spec.keep == "sample":
        classes = {chunk["class"] for chunk in plan.stage("base").chunks}
        of_job = 1 + max(place for chunk in plan.stage("search").chunks for place in chunk["targets"])
        every = math.ceil(len(classes) * SHOWN * of_job / SAMPLED_ROWS)
    turn = (params["class"] + targets) % every == 0
    rows: NDArray[np.bool_] = (kept[:, None] & turn).ravel()
    if most is not None and spec.keep == "sample":
        rows &= rows.cumsum() <= most
    return rows
