"""The shapes of what the templates of a counterfactual report print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workers.report.charts import Tick
from workers.report.counterfactual.data import CounterfactualData


@dataclass(frozen=True)
class Frame:
    """What stands below one picture of a film strip."""

    place: str
    origin: str
    target: str
    kind: str


@dataclass(frozen=True)
class Run:
    """Neighbouring frames that are read as one class; `role` is ``origin``, ``target`` or ``other``."""

    text: str
    role: str
    frames: int


@dataclass(frozen=True)
class ProbabilityPlot:
    """Both probabilities along a film strip, one hundred pixels a frame, so that it lines up with it."""

    width: int
    height: int
    origin: str
    target: str
    boundary: float | None
    beyond: float | None


@dataclass(frozen=True)
class Film:
    """A film strip: the number of its CSS rule, its frames, and their probabilities."""

    number: int
    style: str
    frames: tuple[Frame, ...]
    runs: tuple[Run, ...]
    plot: ProbabilityPlot
    description: str


@dataclass(frozen=True)
class Outline:
    """A part in the picture of differences: before it is dashed, after it is drawn through."""

    name: str
    colour: str
    share: str
    before: str
    after: str


@dataclass(frozen=True)
class Example:
    """One counterfactual with its pictures."""

    title: str
    heading: str
    number: int | None
    style: str
    box: str
    start: str
    found: str
    differs: str
    description: str
    outlines: tuple[Outline, ...]
    line: str
    film: Film | None


@dataclass(frozen=True)
class Carrier:
    """A unit that carries some of the changes of a pair; places are percentages."""

    unit: int
    frequency: str
    interval: str
    at: float
    low: float
    high: float
    shift: str
    sign: str
    bar: float


@dataclass(frozen=True)
class Change:
    """A measure of a part that changes; places are percentages of the axis."""

    part: str
    measure: str
    colour: str
    value: str
    interval: str
    at: float
    low: float | None
    high: float | None
    certain: bool
    title: str


@dataclass(frozen=True)
class ChangePlot:
    """The changes of a pair, their axis, and what is to be said about them."""

    rows: tuple[Change, ...]
    zero: float
    ticks: tuple[Tick, ...]
    note: str


@dataclass(frozen=True)
class DotPlot:
    """How far each image had to go."""

    width: int
    height: int
    base: float
    dots: str
    heads: str
    head: float | None
    head_text: str
    mean: float | None
    low: float | None
    high: float | None
    ticks: tuple[Tick, ...]
    title: str


@dataclass(frozen=True)
class PairPage:
    """The page of one pair of classes."""

    anchor: str
    origin: str
    target: str
    opened: bool
    badge: str
    headline: str
    evidence: str
    images: str
    examples: tuple[Example, ...]
    facts: tuple[tuple[str, str, str], ...]
    carriers: tuple[Carrier, ...]
    changes: ChangePlot | None
    one: bool
    dots: DotPlot | None
    mean: str
    failed: str


@dataclass(frozen=True)
class Cell:
    """One pair in the matrix; `kind` is ``self``, ``blank``, ``none`` or ``found``."""

    kind: str
    anchor: str = ""
    text: str = ""
    heat: float = 0.0
    part: str = ""
    colour: str = ""
    share: str = ""
    strength: float = 0.0
    validity: str = ""
    valid: float = 0.0
    title: str = ""


@dataclass(frozen=True)
class Matrix:
    """Classes by classes."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    legend: tuple[tuple[str, str], ...]
    near: str
    far: str
    note: str


@dataclass(frozen=True)
class PairRow:
    """A row of the table of pairs: texts with the values that they are sorted by."""

    origin: str
    target: str
    anchor: str
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Own:
    """One of the user's own images."""

    name: str
    number: int | None
    style: str
    photo: str
    linked: str
    inverted: str
    facts: str
    caution: str
    description: str
    links: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Failure:
    """One reason for rows without a counterfactual."""

    outcome: str
    title: str
    meaning: str
    count: int
    share: str
    examples: tuple[str, ...]


@dataclass(frozen=True)
class CounterfactualView:
    """Everything that the templates of a counterfactual report print."""

    data: CounterfactualData
    hero: tuple[PairPage, Example] | None
    hero_caption: str
    matrix: Matrix | None
    pages: tuple[PairPage, ...]
    origins: tuple[str, ...]
    targets: tuple[str, ...]
    table: tuple[PairRow, ...]
    headings: tuple[tuple[str, str], ...]
    own: tuple[Own, ...]
    own_caution: str
    failures: tuple[Failure, ...]
    total: int
    methods: Mapping[str, str]
    rules: str
    notes: tuple[str, ...]
