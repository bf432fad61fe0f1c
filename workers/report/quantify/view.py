"""From the data of a quantify job to what its templates print."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workers.report.quantify import heat, pictures
from workers.report.quantify.data import PICTURE, Row, Strip
from workers.report.quantify.findings import Finding, Findings
from workers.report.quantify.numbers import payload
from workers.report.quantify.phrases import amount, part_label
from workers.report.quantify.shapes import Find, Link, Page, Part, QuantifyView, Real, Sprite
from workers.report.words import (
    TRUST_PARTS,
    caution,
    feature,
    finite,
    label,
    number,
    percent,
    trust_level,
    whole,
)

COLOURS = (
    *("#8a9099", "#2f7ed8", "#cf9434", "#d6336c", "#0c9f9f", "#9a5f34"),
    *("#e8590c", "#5c9a0d", "#7950f2", "#c255b0", "#3d9b63", "#b08900"),
)
"""Colours of the parts where none are given; they tell apart on light and on dark paper."""

PICTURE_COLOUR = "#66707c"
TOP_FINDINGS = 6
SMALL = 112
"""Frames up to this width are enlarged on the page, and show their pixels."""
FINDS_PER_PART = 3
ROWS_AT_FIRST = 3
TABLE_ROWS_AT_FIRST = 50
MAX_NEIGHBOURS = 8


def make(findings: Findings, images: Mapping[str, str], *, everything: bool) -> QuantifyView:
    """The view of a quantify job.

    Args:
        findings: Its data, ordered.
        images: Data URIs by the keys of `pictures.wanted`.
        everything: Whether the numbers of units that were only screened are in the page as well.
    """
    return _Maker(findings, images).view(everything)


class _Maker:
    """Holds what all parts of the view refer to: names, anchors, and the strips that are in the page."""

    def __init__(self, findings: Findings, images: Mapping[str, str]) -> None:
        self.findings, self.data, self.images = findings, findings.data, images
        self.slugs = _slugs(findings.parts)
        given = tuple(c for c in self.data.part_colours if re.fullmatch(r"#[0-9a-fA-F]{6}", c))
        palette = given if len(given) == len(self.data.parts) else COLOURS
        self.colours = [palette[k % len(palette)] for k in range(len(self.data.parts))] + [PICTURE_COLOUR]
        self.anchors = [_anchor(row) for row in findings.rows]
        self.page_rows = pictures.page_order(findings)
        self.clusters: dict[int, list[int]] = {}
        for k, row in enumerate(findings.rows):
            if row["cluster"] is not None:
                self.clusters.setdefault(int(row["cluster"]), []).append(k)
        self.sprites: dict[int, list[Sprite]] = {}
        self.rules: list[str] = []
        self.scripted: list[dict[str, Any]] = []
        self.missing = 0
        for k in self.page_rows:
            for place, strip in enumerate(findings.strips.get(k, [])[: pictures.MAX_STRIPS]):
                self._add_sprite(k, place, strip)
        good = findings.confirmed & findings.trusted
        self.trusted_only = bool((findings.by_part[0][good] > 0).any()) if len(good) else True

    def view(self, everything: bool) -> QuantifyView:
        """The whole view."""
        findings = self.findings
        parts = [{"slug": s, "colour": c} for s, c in zip(self.slugs, self.colours, strict=True)]
        numbers = {row: [s.number for s in sprites] for row, sprites in self.sprites.items()}
        return QuantifyView(
            data=self.data,
            parts=tuple(self._part(k) for k in _bar(findings.parts)),
            top=tuple(self._top()),
            pages=tuple(self._page(row) for row in self.page_rows),
            heat=heat.make(self.data, self.slugs),
            table=tuple(self._table()),
            units=len(findings.rows),
            confirmed=int(findings.confirmed.sum()),
            trusted=int((findings.confirmed & findings.trusted).sum()),
            trusted_only=self.trusted_only,
            payload=payload(
                *(findings, parts, numbers, self.scripted, self.anchors),
                everything=everything,
                trusted_only=self.trusted_only,
            ),
            rules="\n".join(self.rules),
            left_out=self.missing,
            notes=tuple(self._notes(everything)),
        )

    def _add_sprite(self, row: int, place: int, strip: Strip) -> None:
        source = self.images.get(f"strip{row}-{place}")
        if source is None:
            self.missing += 1
            return
        steps, height, width = strip.frames.shape[:3]
        k = len(self.scripted)
        commanded = tuple(feature(float(v)) for v in strip.commanded)
        # A rule of the style sheet lets one picture stand in many places and be stored once.
        self.rules.append(f".s{k}{{background-image:url({source})}}")
        self.scripted.append(
            {
                "cls": label(strip.class_name),
                "seed": strip.seed,
                "from": commanded[0],
                "to": commanded[-1],
                "n": steps,
                "w": width,
                "h": height,
                "labels": self.images.get(f"label{row}-{place}"),
            }
        )
        caption = f"{label(strip.class_name)} · seed {strip.seed}"
        self.sprites.setdefault(row, []).append(
            Sprite(
                number=k,
                style=f"--n:{steps};--w:{width};--h:{height}" + (";--smooth:auto" if width > SMALL else ""),
                steps=steps,
                caption=caption,
                description=f"{self.title(row)} from {commanded[0]} to {commanded[-1]}, {caption}",
                commanded=commanded,
            )
        )

    def title(self, row: int) -> str:
        """What a unit is called: its number, or the name of the group."""
        return title(self.findings.rows[row])

    def _find(self, finding: Finding) -> Find:
        row = self.findings.rows[finding.row]
        deed, evidence = self.findings.sentence(finding)
        sprites = self.sprites.get(finding.row)
        return Find(
            anchor=self.anchors[finding.row],
            title=self.title(finding.row),
            deed=deed,
            evidence=evidence,
            share=percent(float(self.findings.by_part[1][finding.row, finding.part])),
            part=part_label(self.findings.parts[finding.part]),
            part_index=finding.part,
            colour=self.colours[finding.part],
            level=trust_level(row["trust"]),
            named=bool(row["named"]) and row["part"] == self.findings.parts[finding.part],
            sprite=sprites[0] if sprites else None,
        )

    def _part(self, index: int) -> Part:
        name = self.findings.parts[index]
        shown = [
            f for f in self.findings.of_part(index) if self.findings.shown(f, trusted_only=self.trusted_only)
        ]
        return Part(
            index=index,
            name=label(name) if name != PICTURE else "whole picture",
            text=part_label(name),
            slug=self.slugs[index],
            colour=self.colours[index],
            picture=self.images.get(f"part{index}", ""),
            count=len(shown),
            finds=tuple(self._find(f) for f in shown[:FINDS_PER_PART]),
        )

    def _top(self) -> Iterator[Find]:
        """The clearest unit of each part, each unit once; the whole picture is no part."""
        findings, seen, chosen = self.findings, set[int](), list[Finding]()
        for index in range(len(self.data.parts)):
            for finding in findings.of_part(index):
                main = findings.main(finding.row)
                if (
                    findings.shown(finding, trusted_only=self.trusted_only)
                    and finding.row not in seen
                    and main is not None
                    and main.part == index
                ):
                    seen.add(finding.row)
                    chosen.append(finding)
                    break
        chosen.sort(key=lambda f: (-f.clear, f.row))
        return (self._find(f) for f in chosen[:TOP_FINDINGS])

    def _page(self, k: int) -> Page:
        findings, row = self.findings, self.findings.rows[k]
        main = findings.main(k)
        deed, evidence = findings.sentence(main) if main else ("changes no part that could be measured", "")
        part = main.part if main else len(self.data.parts)
        number_of = row["cluster"]
        same = self.clusters.get(number_of, [])
        return Page(
            anchor=self.anchors[k],
            row=k,
            title=self.title(k),
            deed=deed,
            evidence=evidence,
            chosen=_chosen(row),
            colour=self.colours[part],
            part_index=part,
            trust=number(row["trust"]),
            level=trust_level(row["trust"]),
            trusted=bool(row["trusted"]),
            trust_parts=tuple(
                (heading, meaning, number(row[name]), _share(row[name]))
                for name, heading, meaning in TRUST_PARTS
            ),
            caution=caution(row),
            facts=tuple(_facts(row)),
            sprites=tuple(self.sprites.get(k, ())),
            similar=tuple(self._similar(k)),
            cluster="" if len(same) < 2 else f"{number_of}: {whole(len(same))} units",
            cluster_links=tuple(self._link(j) for j in same if j != k and findings.confirmed[j])[
                :MAX_NEIGHBOURS
            ],
            real=tuple(self._real(k)),
        )

    def _link(self, row: int, text: str = "") -> Link:
        main = self.findings.main(row)
        deed = self.findings.sentence(main)[0] if main else ""
        return Link(self.anchors[row], self.title(row), text or deed)

    def _similar(self, k: int) -> Iterator[Link]:
        similar, cosines = self.findings.similar, self.findings.similarity
        if similar is None:
            return
        for place, other in enumerate(similar[k].tolist()[:MAX_NEIGHBOURS]):
            if other >= 0 and other != k:
                link = self._link(other)
                words = [number(cosines[k, place])] if cosines is not None else []
                yield Link(link.anchor, link.title, " · ".join([*words, link.text]).rstrip(" ·"))

    def _real(self, k: int) -> Iterator[Real]:
        images = self.data.real.get(int(self.findings.rows[k]["unit"]), ())
        for place, image in enumerate(images[: pictures.MAX_REAL]):
            source = self.images.get(f"real{k}-{place}")
            if source is not None:
                yield Real(source, image.name, feature(image.value))

    def _table(self) -> Iterator[tuple[Row, str, str]]:
        """The first rows of the table, for readers without script."""
        for k in self.page_rows[:TABLE_ROWS_AT_FIRST]:
            main = self.findings.main(k)
            yield self.findings.rows[k], self.anchors[k], self.findings.sentence(main)[0] if main else ""

    def _notes(self, everything: bool) -> Iterator[str]:
        confirmed = int(self.findings.confirmed.sum())
        if not self.trusted_only:
            yield (
                "No unit that was confirmed is trusted (trust of "
                f"{number(self.data.min_trust)} or more), so the lists start with all: what they show "
                "goes along with a unit, but may not be this unit’s own work."
            )
        if self.missing:
            yield f"{whole(self.missing)} film strips were left out to keep this file small."
        if confirmed > len(self.page_rows):
            yield (
                f"{whole(len(self.page_rows))} of the {whole(confirmed)} confirmed units have a page with "
                "pictures, the clearest ones; the others have their numbers."
            )
        if not everything:
            yield (
                "To keep this file small, single effects of units that were only screened are in "
                "tables/effects alone."
            )


def title(row: Row) -> str:
    """What a unit is called: its number, or the name of its group."""
    unit = int(row["unit"])
    return f"Unit {unit}" if unit >= 0 else str(row["group"] or f"Group {-unit}")


def _anchor(row: Row) -> str:
    unit = int(row["unit"])
    return f"unit-{unit}" if unit >= 0 else f"group-{-1 - unit}"


def _chosen(row: Row) -> str:
    if not row["named"] or row["part"] is None:
        return ""
    return f"{percent(row['part_share'])} of its effect falls on {part_label(str(row['part']))}"


def _facts(row: Row) -> Iterator[tuple[str, str]]:
    yield "Moved", f"{feature(float(row['low']))} to {feature(float(row['high']))}"
    yield "Base images", whole(row["seeds"])
    yield "Strongest class", f"{label(row['strongest_class'])} {amount(row['strongest_change'])}"
    yield "Predicted class changes", percent(row["flips"])
    yield "Layer", str(row["layer"])


def _share(value: Any) -> float:
    return round(100 * min(1.0, max(0.0, float(value))), 1) if finite(value) else 0.0


def _bar(parts: Sequence[str]) -> list[int]:
    """The order of the bar of parts: what is in the foreground first."""
    last = ("background", PICTURE)
    return sorted(range(len(parts)), key=lambda k: (parts[k] in last, k))


def _slugs(names: Sequence[str]) -> list[str]:
    """A fragment for each part that holds nothing but letters, digits, hyphen and underscore."""
    slugs: list[str] = []
    for k, name in enumerate(names):
        slug = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")
        slugs.append(slug if slug and slug not in slugs and len(slug) <= 40 else f"{k}-part")
    return slugs
