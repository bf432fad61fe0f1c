"""The shapes of what the templates of a quantify report print."""

from __future__ import annotations

from dataclasses import dataclass

from workers.report.quantify.data import QuantifyData, Row
from workers.report.quantify.heat import HeatMap
from workers.report.words import TrustLevel


@dataclass(frozen=True)
class Link:
    """A link to a unit."""

    anchor: str
    title: str
    text: str


@dataclass(frozen=True)
class Sprite:
    """A strip in the page: the number of its CSS rule, and its size."""

    number: int
    style: str
    steps: int
    caption: str
    description: str
    commanded: tuple[str, ...]


@dataclass(frozen=True)
class Find:
    """A unit in the list of a part."""

    anchor: str
    title: str
    deed: str
    evidence: str
    share: str
    part: str
    part_index: int
    colour: str
    level: TrustLevel
    named: bool
    sprite: Sprite | None


@dataclass(frozen=True)
class Part:
    """A part in the bar of parts, and its first units."""

    index: int
    name: str
    text: str
    slug: str
    colour: str
    picture: str
    count: int
    finds: tuple[Find, ...]


@dataclass(frozen=True)
class Real:
    """A real image that activates a unit."""

    source: str
    name: str
    value: str


@dataclass(frozen=True)
class Page:
    """The page of one unit."""

    anchor: str
    row: int
    title: str
    deed: str
    evidence: str
    chosen: str
    colour: str
    part_index: int
    trust: str
    level: TrustLevel
    trusted: bool
    trust_parts: tuple[tuple[str, str, str, float], ...]
    caution: str
    facts: tuple[tuple[str, str], ...]
    sprites: tuple[Sprite, ...]
    similar: tuple[Link, ...]
    cluster: str
    cluster_links: tuple[Link, ...]
    real: tuple[Real, ...]


@dataclass(frozen=True)
class QuantifyView:
    """Everything that the templates of a quantify report print."""

    data: QuantifyData
    parts: tuple[Part, ...]
    top: tuple[Find, ...]
    pages: tuple[Page, ...]
    heat: HeatMap | None
    table: tuple[tuple[Row, str, str], ...]
    units: int
    confirmed: int
    trusted: int
    trusted_only: bool
    payload: str
    rules: str
    left_out: int
    notes: tuple[str, ...]
