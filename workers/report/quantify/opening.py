"""The opening of a quantify report: what was measured, in a few sentences and figures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from workers.report.quantify.data import QuantifyData
from workers.report.words import finite, number, whole


def summary(data: QuantifyData, classifier: str, generator: str) -> str:
    """What the job did, in a few sentences."""
    confirmed = sum(row["stage"] == "confirm" for row in data.units)
    text = (
        f"{whole(len(data.units))} units of {classifier} were moved {data.perturbation}; each picture "
        f"was rendered by {generator} and measured part by part. "
    )
    if not data.screening_images:
        return text + f"All of them were measured on the same {whole(data.confirm_images)} base images."
    return text + (
        f"All units were screened on {whole(data.screening_images)} base images; {whole(confirmed)} of "
        f"them were confirmed on {whole(data.confirm_images)} others."
    )


def figures(data: QuantifyData) -> Iterator[tuple[str, str]]:
    """Headline figures: value and text."""
    confirmed = [row for row in data.units if row["stage"] == "confirm"]
    trust = np.array([row["trust"] for row in data.units if finite(row["trust"])], float)
    yield whole(len(data.units)), "units measured"
    yield (
        whole(len(confirmed)),
        "confirmed on other images" if data.screening_images else "measured on all base images",
    )
    yield whole(sum(bool(row["named"]) for row in data.units)), "named after a part"
    if len(trust):
        yield number(float(np.median(trust))), "median trust of a unit"
    yield whole(len(data.parts)), f"parts, {whole(len(data.measures))} measures each"
    yield whole(data.renders), "pictures rendered" + (_duration(data.seconds) if data.seconds else "")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f" in {seconds:.0f} s"
    return f" in {seconds / 60:.0f} min" if seconds < 7200 else f" in {seconds / 3600:.1f} h"
