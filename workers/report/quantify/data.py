"""What the report of a ``quantify`` job is made of: plain, frozen data that its finalise step fills in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Row = Mapping[str, Any]

PICTURE = "picture"
"""The name of the whole picture where a part is asked for."""

LOGIT = "logit"
"""In the place of a part: the column is the logit of a class."""

Floats = NDArray[np.floating[Any]]


class MeasureLike(Protocol):
    """What the report needs to know of a measure; ``workers.measures.Measure`` has it."""

    @property
    def name(self) -> str:
        """The name, as in the tables."""

    @property
    def unit(self) -> str:
        """The unit; what begins with ``share`` is shown as a percentage."""

    @property
    def meaning(self) -> str:
        """One sentence."""

    @property
    def aspect(self) -> str:
        """``size``, ``colour``, ``texture``, ``shape``, ``position``, ``count`` or ``motion``."""

    @property
    def signed(self) -> bool:
        """False for changes without direction, which have no q."""


@dataclass(frozen=True)
class Column:
    """What a column of effects is about.

    Attributes:
        part: A part, ``picture``, or ``logit``.
        measure: A measure; for ``logit`` the name of the class.
    """

    part: str
    measure: str


@dataclass(frozen=True, eq=False)
class EffectArrays:
    """The table ``effects``, one array for each of its columns: ``(units, columns)``, NaN for null.

    Row k is that of :attr:`QuantifyData.units` [k]; where a unit was confirmed, the numbers are those of
    its confirmation.

    Attributes:
        columns: What the columns are about.
        effect: Mean of last step less first step, in the measure's unit.
        lower: Lower end of the 95 % interval of the effect.
        upper: Upper end.
        standardised: Effect over the measure's standard deviation among base images.
        same_sign: Share of images whose effect has the sign of the mean.
        q: Adjusted p.
        selectivity: Share of the unit's standardised effects; logits among themselves.
        seeds: Images behind each effect.
    """

    columns: Sequence[Column]
    effect: Floats
    lower: Floats
    upper: Floats
    standardised: Floats
    same_sign: Floats
    q: Floats
    selectivity: Floats
    seeds: NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Strip:
    """One unit moved over its range from one base image.

    Attributes:
        unit: As in the table ``units``: negative for a group.
        class_name: The class that the base image was made for.
        seed: The base image's index in the class's stream of seeds.
        commanded: What the unit was set to, ``(steps,)``.
        frames: ``uint8 (steps, height, width, 3)``.
        labels: ``uint8 (steps, height, width)``, indices into the parts, 255 = none; or None.
    """

    unit: int
    class_name: str
    seed: int
    commanded: Floats
    frames: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None


@dataclass(frozen=True, eq=False)
class Example:
    """A base image in which the legend and the bar of parts show where each part is.

    Attributes:
        image: ``uint8 (height, width, 3)``.
        labels: ``uint8 (height, width)``, indices into the parts, 255 = none.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Association:
    """Do units that push a class also change a part: a correlation over units, with its sign.

    Attributes:
        matrix: ``(classes, parts)`` in [-1, 1], classes and parts in their order; NaN = unknown. Its sign
            is that of `measures`.
        measures: For each cell the name of the part's measure that goes with the class most closely.
        units: Number of units that it is taken over.
        q: Adjusted p of each cell; NaN = unknown.
    """

    matrix: Floats
    measures: Sequence[Sequence[str]]
    units: int
    q: Floats


@dataclass(frozen=True, eq=False)
class RealImage:
    """A real image that activates a unit.

    Attributes:
        name: Its name in the folder that was given.
        value: The unit's value in it.
        thumbnail: ``uint8 (height, width, 3)``.
    """

    name: str
    value: float
    thumbnail: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class QuantifyData:
    """Everything that a report of a ``quantify`` job shows beside what every report does.

    Attributes:
        parts: Names of the parts, in the order of the labels.
        measures: The measures, in their order.
        classes: Names of the classes, in the order of the logits.
        units: Rows of the table ``units``, one a unit or group, in any order.
        effects: The table ``effects``, its rows in the order of `units`.
        strips: In any order; of each unit those of the largest change come first.
        naming_threshold: Least selectivity at which a unit is named after a part.
        min_trust: Least trust at which a unit is trusted.
        screening_images: Images of the first pass.
        confirm_images: Images of the second pass.
        steps: Steps of a traversal.
        perturbation: How units were moved, in words: ``from the 1st to the 99th percentile``.
        renders: Pictures that were rendered.
        seconds: How long it took, or None where it is not to be told.
        part_colours: ``#rrggbb`` for each part; empty for the report's own.
        example: A base image with its labels, for the bar of parts.
        association: Classes against parts.
        similar: ``(units, k)`` rows of the k most alike units, the most alike first, -1 = none.
        similarity: Cosines that belong to `similar`.
        real: Real images that activate a unit most, by unit.
    """

    parts: Sequence[str]
    measures: Sequence[MeasureLike]
    classes: Sequence[str]
    units: Sequence[Row]
    effects: EffectArrays
    strips: Sequence[Strip]
    naming_threshold: float
    min_trust: float
    screening_images: int
    confirm_images: int
    steps: int
    perturbation: str
    renders: int
    seconds: float | None = None
    part_colours: Sequence[str] = ()
    example: Example | None = None
    association: Association | None = None
    similar: NDArray[np.integer[Any]] | None = None
    similarity: Floats | None = None
    real: Mapping[int, Sequence[RealImage]] = field(default_factory=dict)
