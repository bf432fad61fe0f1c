"""Do counterfactuals of the shortcut classifier behave as drawings do, when sunglasses are taken off?

`python -m bench.counterfactual_shortcut` prints one JSON object. `avatars/shortcut` reads bun by sunglasses,
`avatars/clean` does not. Real jobs of kind `counterfactual` (buns to the runner-up) on the stack of
`unitscope up`; the ruler (`packs.avatars.ruler`), which no job knows, says what pictures show. How often is
a bun with sunglasses, read as a bun, no longer read as one

- *drawn*: when the same avatar is drawn again without its sunglasses, or with clear glasses instead;
- *generated*: when the sunglasses are taken off a job's base images, by a shift of their features that the
  linker turns into one of w, as far as the ruler needs to see no glasses. `linker` is the smallest shift, by
  the features' own covariance, whose w loses the sunglasses by a regression of the ruler's readings on w, all
  other readings standing still; `counterfactuals` the mean shift of those counterfactuals of the *other*
  images that lost them; `latent`, the control, asks the same change of w itself, without any features.
  None means: by the ruler's reader, and with no more pixels of glasses than it sees in 99 % of drawings
  without any. By its reader alone, which passes over dark rims that are left, is stated as well. Only
  images that are still a bun to the ruler count.

And in how many counterfactuals of buns with sunglasses are they sunglasses no more to the ruler, while the
bun is still one? To the runner-up, and to short hair, which is what `avatars/shortcut` takes buns without
sunglasses for.

Shares have 95 % intervals by Wilson, over images.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.counterfactual import Row, search, share
from bench.counterfactual_truth import pictures_of
from bench.jobs import GENERATOR, arguments, fit_linker, link_spec, print_figures
from bench.planted import read_latents
from packs.avatars import ruler
from services.classifier.loading import load_classifier
from services.generator.backend import GeneratorBackend
from unitscope.client import Client
from unitscope.client.handle import Result
from unitscope.embedded import Embedded
from unitscope.jobs import layout
from unitscope.jobs.chunks import decode
from unitscope.models import Registry
from unitscope.store.directory import DirectoryStore
from unitscope.worlds.avatars import draw
from unitscope.worlds.factors import CLASSES, NAMES, sample_factors
from unitscope.worlds.parts import PARTS
from workers.analyses.linked import Solution
from workers.counterfactual import Linker

BUN, SUNGLASSES, NONE = "bun", 2, 0
GLASSES = 1 + NAMES.index("glasses")
"""The column of the ruler's codes."""
TAKEN_FOR = "short_hair"
"""What `avatars/shortcut` reads in buns without sunglasses."""
DRAWN = 200
MULTIPLES = np.arange(0.25, 3.01, 0.25)
"""How far a shift is taken, times what the regression asks for, or times the mean shift."""
PENALTY, SMALLEST = 1e-3, 1e-2
"""Of the regression of readings on w, and the smallest singular value that counts, relatively."""

Images = NDArray[np.uint8]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bench:
    """What everything is judged with.

    Attributes:
        judge: The ruler.
        generator: Renders what no job renders.
        classifier: The one that is looked at.
        glasses: Pixels of glasses that the ruler sees at most where there are none.
    """

    judge: ruler.Ruler
    generator: GeneratorBackend
    classifier: Any
    glasses: int

    def bare(self, images: Images) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Where the ruler's reader sees no glasses, and where its part map does not either: (images,)."""
        reader = self.judge.codes(images)[:, GLASSES] == NONE
        pixels = (self.judge.labels(images) == PARTS.index("glasses")).sum((1, 2))
        return reader, reader & (pixels <= self.glasses)

    def buns(self, images: Images) -> NDArray[np.bool_]:
        """Which images (images,) the classifier reads as a bun."""
        found: NDArray[np.bool_] = self.classifier.read(images).logits.argmax(1) == CLASSES.index(BUN)
        return found


def drawn_glasses(bench: Bench, seed: int) -> tuple[dict[str, Any], int]:
    """Buns with sunglasses drawn again without; and how many pixels of glasses the ruler sees in those."""
    rng = np.random.default_rng(seed)
    factors = [sample_factors(rng, top=BUN, glasses="sunglasses") for _ in range(DRAWN)]
    drawn = {
        name: np.stack([draw(f.changed(glasses=name), masks=False).image for f in factors])
        for name in ("sunglasses", "none", "clear")
    }
    read = bench.buns(drawn["sunglasses"])
    pixels = (bench.judge.labels(drawn["none"]) == PARTS.index("glasses")).sum((1, 2))
    figures = {"read_as_bun": share(int(read.sum()), DRAWN)}
    for name, word in (("none", "flipped_without"), ("clear", "flipped_with_clear_glasses")):
        figures[word] = share(int((read & ~bench.buns(drawn[name])).sum()), int(read.sum()))
    return figures, int(np.quantile(pixels, 0.99, method="higher"))


@dataclass(frozen=True)
class Base:
    """Base images that show a bun and sunglasses to the ruler, and a bun to the classifier.

    Attributes:
        features: (images, units).
        latents: (images, w_dim).
        shifts: (images, units) of their counterfactuals.
        lost: (images,) whether there is one, which is still a bun and has no sunglasses any more.
    """

    features: Array
    latents: Array
    shifts: Array
    lost: NDArray[np.bool_]


def stage(store: DirectoryStore, result: Result, name: str) -> list[Mapping[str, NDArray[Any]]]:
    """The tensors of all chunks of a stage."""
    return [
        decode(store.get(found.key)).tensors for found in store.objects(layout.stage(result.handle.id, name))
    ]


def lost_sunglasses(
    bench: Bench, result: Result, rows: Sequence[Row], seeds: Sequence[int]
) -> tuple[dict[str, Any], set[int]]:
    """Figures of counterfactuals that have lost the sunglasses; the seeds of those that are still a bun."""
    reached = [row for row in rows if row["valid"] and row["seed"] in set(seeds)]
    codes = (
        bench.judge.codes(pictures_of(result, reached, "counterfactual")) if reached else np.zeros((0, 11))
    )
    none, bun = codes[:, GLASSES] != SUNGLASSES, codes[:, 0] == CLASSES.index(BUN)
    figures = {
        "images": len(seeds),
        "reached": len(reached),
        "targets": dict(Counter(row["target"] for row in reached)),
        "no_sunglasses_any_more": share(int(none.sum()), len(reached)),
        "and_still_a_bun": share(int((none & bun).sum()), len(reached)),
    }
    return figures, {row["seed"] for row, gone in zip(reached, none & bun, strict=True) if gone}


def searched(
    client: Client, store: DirectoryStore, bench: Bench, spec: Mapping[str, Any]
) -> tuple[Base, dict[str, Any]]:
    """Base images with their counterfactuals of short hair; figures of these and of the runner-up's."""
    jobs = {
        name: search(client, {**spec, **wanted})[:2]
        for name, wanted in (("runner_up", {"runner_up": True}), (TAKEN_FOR, {"targets": [TAKEN_FOR]}))
    }
    _, result = jobs[TAKEN_FOR]
    base = stage(store, result, "base")
    names = ("features", "latents", "seeds")
    features, latents, seeds = (np.concatenate([tensors[name] for tensors in base]) for name in names)
    codes = bench.judge.codes(bench.generator.render(latents))
    chosen = (codes[:, GLASSES] == SUNGLASSES) & (codes[:, 0] == CLASSES.index(BUN))
    kept = seeds[chosen].tolist()
    figures, gone = {}, set[int]()
    for name, (found, of) in jobs.items():
        figures[f"to_{name}"], gone = lost_sunglasses(bench, of, found, kept)
    shifts = {
        seed: shift
        for tensors in stage(store, result, "search")
        for seed, shift in zip(tensors["seeds"].tolist(), tensors["shift"], strict=True)
    }
    own = np.stack([shifts[seed] for seed in kept]).astype(np.float64)
    lost = np.array([seed in gone for seed in kept])
    every = (features[chosen].astype(np.float64), latents[chosen].astype(np.float64), own, lost)
    return Base(*every), {"base_images": len(seeds), **figures}


def removals(base: Base, solution: Solution, w: Array, slopes: Array, wanted: Array) -> dict[str, Array]:
    """Shifts of features (images, units), and of w (images, w_dim), that take the sunglasses off.

    Args:
        base: The images.
        solution: Of the linker.
        w: (pictures, w_dim) that the ruler read.
        slopes: (readings, w_dim) how its readings change with w.
        wanted: (readings,) the change of readings that is asked for.
    """
    metric = Linker.of(solution).metric
    root = metric.vectors / np.sqrt(metric.values)
    linked = root @ (np.linalg.pinv(slopes @ solution.weight @ root, rcond=SMALLEST) @ wanted)
    covariance = np.cov(w.T)
    spread = np.linalg.cholesky(
        covariance + 1e-6 * np.trace(covariance) / len(covariance) * np.eye(w.shape[1])
    )
    latent = spread @ (np.linalg.pinv(slopes @ spread, rcond=SMALLEST) @ wanted)
    found = {"linker": linked, "latent": latent}
    shifts = {name: np.tile(shift, (len(base.features), 1)) for name, shift in found.items()}
    if base.lost.sum() > 1:
        known = np.where(base.lost[:, None], base.shifts, 0.0)
        others = base.lost.sum() - base.lost
        shifts["counterfactuals"] = (known.sum(0) - known) / others[:, None]
    return shifts


def taken_off(bench: Bench, base: Base, latents: Callable[[float], Array]) -> dict[str, Any]:
    """Goes further until the ruler sees no glasses; how often the classifier no longer reads a bun then.

    Args:
        bench: What judges.
        base: The images.
        latents: (images, w_dim) at a multiple of the shift.
    """
    count = len(base.features)
    gone, still, flipped = (np.zeros((2, count), np.bool_) for _ in range(3))
    for multiple in MULTIPLES:
        images = bench.generator.render(latents(float(multiple)).astype(np.float32))
        bun, other = bench.judge.codes(images)[:, 0] == CLASSES.index(BUN), ~bench.buns(images)
        for k, bare in enumerate(bench.bare(images)):
            now = bare & ~gone[k]
            gone[k] |= now
            still[k, now], flipped[k, now] = bun[now], other[now]
        if gone.all():
            break
    return {
        name: {
            "removed": share(int(gone[k].sum()), count),
            "still_a_bun": share(int(still[k].sum()), int(gone[k].sum())),
            "flipped": share(int((flipped[k] & still[k]).sum()), int(still[k].sum())),
        }
        for k, name in ((1, "by_reader_and_part_map"), (0, "by_reader_alone"))
    }


def slopes_of(w: Array, readings: Array) -> Array:
    """How readings change with w, (readings, w_dim), by ridge regression."""
    centred = w - w.mean(0)
    gram = centred.T @ centred
    gram += PENALTY * np.trace(gram) / len(gram) * np.eye(len(gram))
    slopes: Array = np.linalg.solve(gram, centred.T @ (readings - readings.mean(0))).T
    return slopes


def shortcut(
    client: Client,
    store: DirectoryStore,
    registry: Registry,
    judge: ruler.Ruler,
    linkers: Mapping[str, str],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """All figures of removed sunglasses, by classifier."""
    card = registry.resolve(GENERATOR)
    generator = GeneratorBackend.load(card, registry.verified(card), threads=1)
    w, readings, columns = read_latents(registry, options.seed)
    slopes = slopes_of(w, readings)
    wanted = np.array([(c == ("glasses", NONE)) - float(c == ("glasses", SUNGLASSES)) for c in columns])
    figures: dict[str, Any] = {}
    for name, seeds in (("shortcut", options.buns), ("clean", 3 * options.buns)):
        classifier = load_classifier(registry.resolve(f"avatars/{name}"), registry)
        drawn, glasses = drawn_glasses(Bench(judge, generator, classifier, 0), options.seed + 1)
        bench = Bench(judge, generator, classifier, glasses)
        spec = {
            "linker": linkers[name],
            "origins": [BUN],
            "seeds": seeds,
            "keep": "all",
            "seed": options.seed,
        }
        base, found = searched(client, store, bench, spec)
        solution = Solution.parse(store.get(layout.linker_weights(linkers[name])))
        generated = {
            way: taken_off(bench, base, partial(moved, base, solution, shift, way == "latent"))
            for way, shift in removals(base, solution, w, slopes, wanted).items()
        }
        figures[name] = {
            "drawn": drawn,
            "pixels_of_glasses_that_count_as_none": glasses,
            "counterfactuals": found,
            "generated": generated,
        }
    return figures


def moved(base: Base, solution: Solution, shift: Array, in_latent: bool, multiple: float) -> Array:
    """Latents (images, w_dim) of the base images after a multiple of a shift, of features or of w."""
    if in_latent:
        return base.latents + multiple * shift
    shifted = np.maximum(base.features + multiple * shift, 0)
    found: Array = base.latents + (shifted - base.features) @ solution.weight.T
    return found


def measure(models: Path, home: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Runs all jobs and returns the figures."""
    registry, store, judge = Registry(models), DirectoryStore(home / "store"), ruler.load()
    with Embedded(home, models) as stack, stack.client() as client:
        linkers = {
            name: fit_linker(client, store, link_spec(f"avatars/{name}", options.samples))
            for name in ("shortcut", "clean")
        }
        figures = shortcut(client, store, registry, judge, linkers, options)
    return {"linker_samples_per_class": options.samples, **figures}


def main() -> None:
    """Prints the figures as JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--samples", type=int, default=300, help="images a class to fit linkers")
    parser.add_argument("--buns", type=int, default=60, help="base images; of `clean` three times as many")
    parser.add_argument("--seed", type=int, default=47, help="of base images, drawings and readings")
    options = parser.parse_args()
    print_figures(measure, options)


if __name__ == "__main__":
    main()
