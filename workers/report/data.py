"""What a report is made of: plain, frozen data that a job's finalise step fills in.

Nothing here knows the store, the services or HTML. Names may come from outside; the template escapes
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.report.counterfactual.data import CounterfactualData
from workers.report.quantify.data import QuantifyData

Row = Mapping[str, Any]
"""One row of a table of :mod:`unitscope.tables`, by column name."""


@dataclass(frozen=True)
class Model:
    """A model that the job used.

    Attributes:
        kind: ``classifier``, ``generator`` or ``linker``.
        name: Its name in the registry.
        digest: Hex digest of its weights, in full.
        description: One sentence from its card.
    """

    kind: str
    name: str
    digest: str
    description: str = ""


@dataclass(frozen=True)
class LinkerSummary:
    """The linker that the job fitted or used.

    Attributes:
        digest: Hex digest of its weights.
        layer: The classifier's layer.
        features: Width of the layer.
        latents: Width of w.
        truncation: Truncation of the samples, 0 to 1.
        penalty: Ridge penalty that cross-validation chose.
        pairs: Training pairs.
        heldout: Held-out pairs.
        acceptance: Share of sampled images that the classifier read as their class, by class name.
    """

    digest: str
    layer: str
    features: int
    latents: int
    truncation: float
    penalty: float
    pairs: int
    heldout: int
    acceptance: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Survivor:
    """One held-out picture, and what is left of it after the way through the features.

    Attributes:
        class_name: The class it was made for.
        own: ``G(w)``, ``uint8 (height, width, 3)``.
        linked: ``G(A r + b)``, of the same shape.
        class_mean: The picture of the class's mean latent, of the same shape.
    """

    class_name: str
    own: NDArray[np.uint8]
    linked: NDArray[np.uint8]
    class_mean: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Traversal:
    """One unit moved over its range from one base image.

    Attributes:
        unit: The unit.
        class_name: The class that the base image was made for.
        seed: The base image's index in the class's stream of seeds.
        base: The unit's value in the base image.
        commanded: Values that the unit was set to, ``(steps,)``.
        reencoded: The unit's value when each picture is read again, ``(steps,)``.
        logits: ``(steps, classes)``, in the order of :attr:`ReportData.classes`.
        predicted: Name of the predicted class at each step.
        frames: ``uint8 (steps, height, width, 3)``, or None where the pictures were not kept.
        follow: Did the re-encoded feature move as commanded, 0 to 1.
        focus: Own movement over the largest movement of any unit, 0 to 1.
        plausible: Share of steps whose w is as near as the generator's own.
    """

    unit: int
    class_name: str
    seed: int
    base: float
    commanded: NDArray[np.floating[Any]]
    reencoded: NDArray[np.floating[Any]]
    logits: NDArray[np.floating[Any]]
    predicted: Sequence[str]
    frames: NDArray[np.uint8] | None
    follow: float
    focus: float
    plausible: float


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything that one report shows.

    Attributes:
        kind: The analysis kind, ``link``, ``traverse``, ``quantify`` or ``counterfactual``.
        title: Heading, e.g. ``What 12 units of avatars/shortcut do``.
        job_id: The job.
        created: When the job was created, ISO 8601 in UTC.
        spec: The spec as it was carried out, defaults filled in.
        plan_digest: Digest of the plan.
        models: The models of the job.
        renderer: Which server rendered the pictures: name and version, e.g. ``triton 2.60.0``.
        versions: Versions of the programs that took part, by name.
        classes: Class names, in the order of the logits.
        linker: The linker.
        quality: Rows of the table ``quality``.
        survivors: Held-out pictures; may be empty.
        units: Rows of the table ``units``, in any order; empty for ``link``.
        traversals: Traversals, in any order; empty for ``link``.
        notes: Plain sentences for the reader, e.g. what was not kept.
        tables: Names of the tables that lie beside the report, without suffix.
        quantify: What a ``quantify`` job measured; then `units` and `traversals` are empty.
        counterfactual: What a ``counterfactual`` job found; likewise.
    """

    kind: str
    title: str
    job_id: str
    created: str
    spec: Mapping[str, Any]
    plan_digest: str
    models: Sequence[Model]
    renderer: str
    versions: Mapping[str, str]
    classes: Sequence[str]
    linker: LinkerSummary | None
    quality: Sequence[Row] = ()
    survivors: Sequence[Survivor] = ()
    units: Sequence[Row] = ()
    traversals: Sequence[Traversal] = ()
    notes: Sequence[str] = ()
    tables: Sequence[str] = field(default=("quality",))
    quantify: QuantifyData | None = None
    counterfactual: CounterfactualData | None = None
