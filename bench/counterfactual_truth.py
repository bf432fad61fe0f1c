"""Do counterfactuals change what the classes differ in? Judged by the ruler, which no job knows.

`python -m bench.counterfactual_truth` prints one JSON object. A real job of kind `counterfactual` on the
stack of `unitscope up`: all ordered pairs of the classes of `avatars/clean`, by `path` as it ships. The
pictures of its starts and counterfactuals go to the ruler (`packs.avatars.ruler`).

Laid down before any counterfactual was looked at:

- the *area* that a part changes is the share of pixels that are the part's in one of the two pictures alone;
- its *colour* change is the CIELAB difference, summed over the pixels that are the part's in either picture,
  over all pixels;
- means over the images of a pair; the part that changes most has the largest mean of all nine;
- it must be `hair` from hair to hair, `hat` from hat to hat, `hair` or `hat` between them;
- a pair with fewer than half of its rows reached counts as missed.

The same is done with drawings of the same factors under both classes: what the definition can give at best.
Shares have 95 % intervals by Wilson, over pairs or rows. Where a counterfactual lies just beyond the
classifier's boundary it may lie before the ruler's: both readings are stated.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.counterfactual import Row, search, share
from bench.jobs import arguments, fit_linker, link_spec, print_figures
from packs.avatars import ruler
from unitscope.client.handle import Result
from unitscope.embedded import Embedded
from unitscope.store.directory import DirectoryStore
from unitscope.worlds.avatars import draw
from unitscope.worlds.factors import CLASSES, HEADWEAR, Top, sample_factors
from unitscope.worlds.parts import PARTS
from workers.measures.colour import to_lab

GOAL = 0.9
DRAWN = 12
"""Drawings for each pair of classes."""

Images = NDArray[np.uint8]
Array = NDArray[np.float64]


def changes(judge: ruler.Ruler, before: Images, after: Images) -> Array:
    """How much each part changes, (images, 2, parts): area, then colour, as this module defines them."""
    labels = [judge.labels(images).reshape(len(images), -1) for images in (before, after)]
    lab = [to_lab(images.reshape(len(images), -1, 3)).astype(np.float64) for images in (before, after)]
    differs = np.linalg.norm(lab[0] - lab[1], axis=-1)
    found = np.zeros((len(before), 2, len(PARTS)))
    for part in range(len(PARTS)):
        old, new = (each == part for each in labels)
        found[:, 0, part] = (old ^ new).mean(1)
        found[:, 1, part] = (differs * (old | new)).mean(1)
    return found


def known_parts(origin: str, target: str) -> set[str]:
    """The parts in which two classes differ."""
    return {"hat" if Top(name) in HEADWEAR else "hair" for name in (origin, target)}


def verdicts(found: Mapping[tuple[str, str], Array | None]) -> dict[str, Any]:
    """Shares of pairs whose known part changes most.

    Args:
        found: Mean changes (2, parts) by pair; None where too few rows were reached.
    """
    right: dict[str, int] = dict.fromkeys(("area", "colour", "area_or_colour"), 0)
    missed: list[dict[str, str]] = [{}, {}]
    for (origin, target), mean in found.items():
        most = ["nothing"] * 2 if mean is None else [PARTS[k] for k in mean.argmax(1)]
        hits = [part in known_parts(origin, target) for part in most]
        for name, hit in zip(right, (*hits, any(hits)), strict=True):
            right[name] += hit
        for k in (0, 1):
            if not hits[k]:
                missed[k][f"{origin} to {target}"] = most[k]
    return {
        **{name: share(count, len(found)) for name, count in right.items()},
        "missed_in_area": missed[0],
        "most_in_colour_where_missed": dict(Counter(missed[1].values())),
    }


def drawn_pairs(judge: ruler.Ruler, seed: int) -> dict[str, Any]:
    """The verdicts on drawings of the same factors under both classes."""
    rng = np.random.default_rng(seed)
    factors = [sample_factors(rng) for _ in range(DRAWN)]
    pictures = {
        name: np.stack([draw(f.changed(top=name), masks=False).image for f in factors]) for name in CLASSES
    }
    pairs = [(a, b) for a in CLASSES for b in CLASSES if a != b]
    return verdicts({(a, b): changes(judge, pictures[a], pictures[b]).mean(0) for a, b in pairs})


def pictures_of(result: Result, rows: Sequence[Row], name: str) -> Images:
    """Pictures (rows, height, width, 3) of rows that were reached and kept, out of the job's zips."""
    shards = {
        shard: zipfile.ZipFile(io.BytesIO(result.read(shard))) for shard in {r["image_shard"] for r in rows}
    }
    read = [shards[row["image_shard"]].read(f"{row['image_folder']}/{name}.png") for row in rows]
    return np.stack([np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in read])


def generated_pairs(judge: ruler.Ruler, rows: Sequence[Row], result: Result) -> dict[str, Any]:
    """The verdicts on counterfactuals, and what the ruler reads in them."""
    reached = [row for row in rows if row["valid"]]
    before, after = (pictures_of(result, reached, name) for name in ("start", "counterfactual"))
    moved = changes(judge, before, after)
    all_rows = Counter((row["origin"], row["target"]) for row in rows)
    by_pair: dict[tuple[str, str], list[Array]] = defaultdict(list)
    for row, change in zip(reached, moved, strict=True):
        by_pair[row["origin"], row["target"]].append(change)
    means = {
        pair: np.mean(by_pair[pair], axis=0) if 2 * len(by_pair[pair]) >= count else None
        for pair, count in all_rows.items()
    }
    read = [CLASSES[code] for code in judge.codes(after)[:, 0]]
    return {
        "rows": len(rows),
        "reached": share(len(reached), len(rows)),
        "pairs": len(all_rows),
        "known_part_changes_most": verdicts(means),
        "goal": GOAL,
        "ruler_reads_the_target": share(
            sum(a == r["target"] for a, r in zip(read, reached, strict=True)), len(reached)
        ),
        "ruler_reads_the_origin": share(
            sum(a == r["origin"] for a, r in zip(read, reached, strict=True)), len(reached)
        ),
        "median_share_of_pixels_that_change_part": float(np.median(moved[:, 0].sum(1) / 2)),
    }


def measure(models: Path, home: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Runs the job and returns the figures."""
    store, judge = DirectoryStore(home / "store"), ruler.load()
    with Embedded(home, models) as stack, stack.client() as client:
        linker = fit_linker(client, store, link_spec("avatars/clean", options.samples))
        spec = {"linker": linker, "seeds": options.seeds, "keep": "all", "seed": options.seed}
        rows, result, seconds = search(client, spec)
        generated = generated_pairs(judge, rows, result)
    return {
        "linker_samples_per_class": options.samples,
        "images_per_class": options.seeds,
        "job_seconds": seconds,
        "generated": generated,
        "drawn": drawn_pairs(judge, options.seed),
    }


def main() -> None:
    """Prints the figures as JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--samples", type=int, default=300, help="images a class to fit the linker")
    parser.add_argument("--seeds", type=int, default=8, help="images a class, each to every other class")
    parser.add_argument("--seed", type=int, default=43, help="of base images and drawings")
    options = parser.parse_args()
    print_figures(measure, options)


if __name__ == "__main__":
    main()
