"""The numbers inside the page: every effect of every unit, small enough for thousands of units.

Large arrays are written as little-endian integers in base64, a scale for each column beside them; the
script of the page turns them back. What is read as text on the page is never taken from here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.report.quantify.data import LOGIT
from workers.report.quantify.findings import SIGNIFICANT, Findings
from workers.report.quantify.phrases import APPEARS, part_label
from workers.report.words import finite, label

NULL = -32768
"""An int16 that stands for no value."""

NUMBERS = (
    *("low", "high", "part_share", "strongest_change", "flips", "change", "x", "y"),
    *("follow", "focus", "plausible", "trust"),
)
"""Columns of the table ``units`` that go into the page as numbers."""

SHARE_STEP = 1 / 30_000
"""What one step of a share of a part is worth."""

Floats = NDArray[np.floating[Any]]


def payload(
    findings: Findings,
    parts: Sequence[Mapping[str, Any]],
    strips: Mapping[int, Sequence[int]],
    sprites: Sequence[Mapping[str, Any]],
    anchors: Sequence[str],
    *,
    everything: bool,
    trusted_only: bool,
) -> str:
    """The page's numbers as JSON that is safe inside a ``<script>``.

    Args:
        findings: What is known.
        parts: Slug and colour of each part, the picture last.
        strips: Numbers of the strips of each row that are in the page.
        sprites: What the script needs to know of each strip.
        anchors: The anchor of each row.
        everything: Effects of all units; otherwise of the confirmed ones alone.
        trusted_only: Whether the page starts with trusted units only.
    """
    effects, data = findings.effects, findings.data
    kept = np.ones(len(findings.rows), bool) if everything else findings.confirmed
    detailed = np.flatnonzero(findings.confirmed)
    places = {name: k for k, name in enumerate(findings.parts)}
    measures = list(findings.measures)
    classes = list(data.classes)
    scale = _scale(effects.effect, effects.lower[detailed], effects.upper[detailed])
    std_scale = _scale(effects.standardised)
    body = {
        "parts": [
            {"name": name, "label": label(name), "text": part_label(name), **part}
            for name, part in zip(findings.parts, parts, strict=True)
        ],
        "measures": [
            {
                "name": m.name,
                "title": m.title,
                "scale": m.scale,
                "suffix": m.suffix,
                "up": m.up,
                "down": m.down,
                "signed": m.signed,
                "meaning": m.meaning,
            }
            for m in findings.measures.values()
        ],
        "appears": APPEARS,
        "classes": [label(name) for name in classes],
        "columns": [
            [-1, classes.index(c.measure)] if c.part == LOGIT else [places[c.part], measures.index(c.measure)]
            for c in findings.columns
        ],
        "units": _units(findings, strips, anchors),
        "sprites": sprites,
        "trustedOnly": trusted_only,
        "similar": [] if findings.similar is None else findings.similar.tolist(),
        "rows": np.flatnonzero(kept).tolist(),
        "detailed": detailed.tolist(),
        "effectScale": _rounded(scale),
        "standardisedScale": _rounded(std_scale),
        "effect": _int16(effects.effect[kept], scale),
        "standardised": _int16(effects.standardised[kept], std_scale),
        "q": _q(effects.q[kept]),
        "share": _int16(findings.by_part[1], np.full(len(findings.parts), SHARE_STEP)),
        "lower": _int16(effects.lower[detailed], scale),
        "upper": _int16(effects.upper[detailed], scale),
        "sameSign": _byte(effects.same_sign[detailed], 250.0),
        "selectivity": _byte(effects.selectivity[detailed], 250.0),
        "seeds": _int16(effects.seeds[detailed].astype(float), np.ones(len(findings.columns))),
    }
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _units(
    findings: Findings, strips: Mapping[int, Sequence[int]], anchors: Sequence[str]
) -> dict[str, list[Any]]:
    """One list for each thing that is known of a unit, in the order of the rows."""
    rows = findings.rows
    places = {name: k for k, name in enumerate(findings.parts)}
    classes = {name: k for k, name in enumerate(findings.data.classes)}
    mains = [findings.main(k) for k in range(len(rows))]
    table: dict[str, list[Any]] = {name: [_short(row[name]) for row in rows] for name in NUMBERS}
    table |= {
        "unit": [int(row["unit"]) for row in rows],
        "group": [row["group"] for row in rows],
        "layer": [str(row["layer"]) for row in rows],
        "anchor": list(anchors),
        "confirmed": [int(v) for v in findings.confirmed],
        "trusted": [int(v) for v in findings.trusted],
        "named": [int(bool(row["named"])) for row in rows],
        "part": [places.get(str(row["part"]), -1) for row in rows],
        "main": [-1 if m is None else m.column for m in mains],
        "cls": [classes.get(str(row["strongest_class"]), -1) for row in rows],
        "seeds": [int(row["seeds"]) for row in rows],
        "cluster": [-1 if row["cluster"] is None else int(row["cluster"]) for row in rows],
        "strips": [list(strips.get(k, ())) for k in range(len(rows))],
        "appears": [
            [p for p in range(len(findings.data.parts)) if findings.appears(k, p)] for k in range(len(rows))
        ],
    }
    return table


def _short(value: Any) -> float | None:
    return float(f"{float(value):.4g}") if finite(value) else None


def _rounded(scale: Floats) -> list[float]:
    return [float(f"{v:.6g}") for v in scale.tolist()]


def _scale(*arrays: Floats) -> Floats:
    """What one step of an int16 is worth in each column."""
    largest = np.zeros(arrays[0].shape[1])
    for values in arrays:
        size = np.where(np.isfinite(values), np.abs(values), 0.0)
        largest = np.maximum(largest, size.max(axis=0, initial=0.0))
    # Rounded as it is written, so that the numbers fit the scale that the script reads.
    return np.array([float(f"{v / 32_000 or 1.0:.6g}") for v in largest])


def _int16(values: Floats, scale: Floats) -> str:
    known = np.isfinite(values)
    steps = np.where(known, np.round(np.where(known, values, 0.0) / scale), NULL)
    return base64.b64encode(steps.astype("<i2").tobytes()).decode()


def _q(values: Floats) -> str:
    """-log10 q in steps of 1/16, and in the lowest bit whether q is below the border; 255 = none."""
    known = np.isfinite(values)
    size = -np.log10(np.clip(np.where(known, values, 1.0), 1e-7, 1.0))
    code = (np.minimum(np.floor(16 * size), 126).astype(np.int64) << 1) | (values < SIGNIFICANT)
    return base64.b64encode(np.where(known, code, 255).astype(np.uint8).tobytes()).decode()


def _byte(values: Floats, scale: float) -> str:
    known = np.isfinite(values)
    steps = np.where(known, np.round(np.clip(np.where(known, values, 0.0) * scale, 0, 254)), 255)
    return base64.b64encode(steps.astype(np.uint8).tobytes()).decode()
