"""Pictures of the quantify report: strips and their label maps, and a picture for each part."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from workers.report.quantify.data import QuantifyData
from workers.report.quantify.findings import PRESENT, Findings

MAX_PAGES = 320
"""Units that get a page with pictures."""

MAX_STRIPS = 12
"""Strips on a unit's page."""

MAX_REAL = 12
"""Real images on a unit's page."""

Images = NDArray[np.uint8]


def label_step(parts: int) -> int:
    """Grey levels between the labels of neighbouring parts in a label map; 255 stays none."""
    return max(1, 254 // max(1, parts))


def grey_labels(labels: Images, parts: int) -> Images:
    """Label maps as grey levels, ``uint8`` of the same shape."""
    spread = labels.astype(np.int64) * label_step(parts)
    return np.where(labels < parts, spread, 255).astype(np.uint8)


def page_order(findings: Findings) -> list[int]:
    """Rows of the units that get a page: confirmed, trusted ones first, then by how clear they are."""
    clear = [m.clear if (m := findings.main(k)) else 0.0 for k in range(len(findings.rows))]
    rows = [int(k) for k in np.flatnonzero(findings.confirmed)]
    return sorted(rows, key=lambda k: (not findings.trusted[k], -clear[k], k))[:MAX_PAGES]


def wanted(findings: Findings) -> Iterator[tuple[str, Images]]:
    """Pictures by importance: of each part, one strip a unit, real images, then the other strips.

    Keys are ``part<p>``, ``strip<row>-<n>``, ``label<row>-<n>`` and ``real<row>-<n>``.
    """
    data = findings.data
    for part, name in enumerate(data.parts):
        shown = part_picture(data, findings, part)
        if name and shown is not None:
            yield f"part{part}", shown[None]
    if data.example is not None:
        yield f"part{len(data.parts)}", data.example.image[None]
    rows = page_order(findings)
    for place in range(MAX_STRIPS):
        for row in rows:
            strips = findings.strips.get(row, [])
            if place < len(strips):
                strip = strips[place]
                yield f"strip{row}-{place}", strip.frames
                if strip.labels is not None:
                    yield f"label{row}-{place}", grey_labels(strip.labels, len(data.parts))
        if place == 0:
            for row in rows:
                images = data.real.get(int(findings.rows[row]["unit"]), ())
                for k, image in enumerate(images[:MAX_REAL]):
                    yield f"real{row}-{k}", image.thumbnail[None]


def part_picture(data: QuantifyData, findings: Findings, part: int) -> Images | None:
    """A picture in which only the part keeps its colours, ``uint8 (height, width, 3)``.

    The example is taken where it shows the part; else the strip's picture that shows most of it.
    """
    candidates = [(data.example.image, data.example.labels)] if data.example is not None else []
    if not candidates or (candidates[0][1] == part).mean() < PRESENT:
        best = 0.0
        for row in page_order(findings):
            for strip in findings.strips.get(row, [])[:2]:
                if strip.labels is None:
                    continue
                shares = (strip.labels == part).mean(axis=(1, 2))
                at = int(shares.argmax())
                if shares[at] > best:
                    best = float(shares[at])
                    candidates = [(strip.frames[at], strip.labels[at])]
    if not candidates or not (candidates[0][1] == part).any():
        return None
    image, labels = candidates[0]
    grey = image.astype(np.float32).mean(axis=2, keepdims=True)
    faded = np.broadcast_to(168 + 0.3 * (grey - 128), image.shape)
    return np.where((labels == part)[..., None], image, np.clip(faded, 0, 255)).astype(np.uint8)
