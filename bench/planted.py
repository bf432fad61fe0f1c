"""Truth of `quantify`: units that are known are named, units that are nothing are not, nor is chance.

`python -m bench.planted` prints one JSON object. The columns of a fitted linker of `avatars/clean` are
replaced by directions in w that change one factor of an avatar, from regressing the ruler's readings on w,
and by random directions of the same length under the latents' covariance. A real `quantify` job on the
stack of `unitscope up` then measures them all as units; it knows neither the ruler nor what was planted.

- A planted unit counts where it is named after the factor's own part, at the selectivity that 5 % of the
  random directions reach; also at one that is learned from half of them, and at the one that ships.
- Null: the effects of the same job with the sign of the perturbation flipped at random in each image. A run
  counts where any unit, part and measure has q < 0.05.
- Shortcut: the same job on the real linkers of `avatars/shortcut` and `avatars/clean`: how much of what units
  do to the logit of the class that carries the shortcut goes with what they do to glasses, as the report's
  map of classes and parts shows it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from bench.jobs import GENERATOR, arguments, carried_out, fit_linker, link_spec, print_figures
from packs.avatars import ruler
from services.generator.backend import GeneratorBackend
from unitscope.client import Client
from unitscope.embedded import Embedded
from unitscope.jobs import layout
from unitscope.jobs.specs import MIN_IMAGES
from unitscope.models import ModelCard, Registry
from unitscope.models.cards import FileEntry
from unitscope.models.linkers import find_linker
from unitscope.store.base import sha256
from unitscope.store.directory import DirectoryStore
from unitscope.worlds.factors import NAMES, VALUES
from workers.analyses.quantify.verdict import NAMING_THRESHOLD
from workers.measures import MEASURES
from workers.statistics import benjamini_hochberg, differences, explained, sign_flip

SHORTCUT_CLASS = "bun"
FACTOR_PARTS = {
    "hair_colour": ("hair", "facial_hair"),
    "hat_colour": ("hat",),
    "glasses": ("glasses",),
    "facial_hair": ("facial_hair",),
    "skin": ("face",),
    "clothes": ("clothes",),
    "clothes_colour": ("clothes",),
    "mouth": ("mouth",),
    "eyes": ("eyes",),
    "background": ("background",),
}
"""The part that each factor is about; the hair's colour is also that of the beard."""

TRUNCATION = 0.7
READINGS = 2_000
"""Generated pictures that the ruler reads."""
PENALTY = 1e-3
GAIN = 1.0
"""How far a planted unit moves its factor over its range: 1 is from one value to another."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Planted:
    """Directions in w, (directions, w_dim), with their names: ``glasses:sunglasses``, or ``random``."""

    names: tuple[str, ...]
    directions: Array


def read_latents(registry: Registry, seed: int) -> tuple[Array, Array, list[tuple[str, int]]]:
    """Latents (n, w_dim), the ruler's readings of their pictures (n, values), and what the columns are."""
    card = registry.resolve(GENERATOR)
    backend = GeneratorBackend.load(card, registry.verified(card), threads=os.cpu_count() or 1)
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((READINGS, backend.spec.z_dim)).astype(np.float32)
    classes = rng.integers(len(card.classes), size=READINGS)
    w = backend.map(z, classes, TRUNCATION)
    read = ruler.load().probabilities(backend.render(w))
    columns = [(name, value) for name in NAMES for value in range(len(VALUES[name]))]
    columns += [("top", value) for value in range(read["top"].shape[1])]
    readings = np.concatenate([read[name] for name in (*NAMES, "top")], axis=1)
    return w.astype(np.float64), readings.astype(np.float64), columns


def plant(w: Array, readings: Array, columns: Sequence[tuple[str, int]], randoms: int, seed: int) -> Planted:
    """Directions that change one factor and, as far as the regression can tell, nothing else.

    The readings are regressed on whitened latents; the direction of a value is the shortest one, in those
    coordinates, along which its reading rises and those of the factor's other values fall alike, all other
    readings standing still.
    """
    centred = w - w.mean(0)
    values, vectors = np.linalg.eigh(np.cov(centred.T))
    kept = values > values.max() * 1e-4
    to_w = vectors[:, kept] * np.sqrt(values[kept])
    white = centred @ vectors[:, kept] / np.sqrt(values[kept])
    gram = white.T @ white + PENALTY * len(white) * np.eye(white.shape[1])
    slopes = np.linalg.solve(gram, white.T @ (readings - readings.mean(0))).T
    inverse = np.linalg.pinv(slopes, rcond=1e-3)
    names, directions = [], []
    for factor in NAMES:
        members = [k for k, (name, _) in enumerate(columns) if name == factor]
        for k in members:
            wanted = np.zeros(len(columns))
            wanted[members] = -1 / (len(members) - 1)
            wanted[k] = 1.0
            names.append(f"{factor}:{VALUES[factor][columns[k][1]].value}")
            directions.append(GAIN * inverse @ wanted)
    length = float(np.median(np.linalg.norm(directions, axis=1)))
    random = np.random.default_rng(seed).standard_normal((randoms, white.shape[1]))
    random *= length / np.linalg.norm(random, axis=1, keepdims=True)
    return Planted((*names, *["random"] * randoms), np.concatenate([np.stack(directions), random]) @ to_w.T)


def publish(store: DirectoryStore, digest: str, planted: Planted) -> tuple[str, list[int]]:
    """Stores a linker whose columns of some units are the directions; its digest, and those units.

    Over its range, from minimum to maximum, each of these units moves w by its whole direction.
    """
    card = find_linker(store, digest)
    tensors = dict(load(store.get(layout.linker_weights(card.digest))))
    quantiles = tensors["feature_quantiles"]
    span = quantiles[-1] - quantiles[0]
    units = np.argsort(-span, kind="stable")[: len(planted.names)]
    if len(units) < len(planted.names) or not (span[units] > 0).all():
        raise SystemExit(f"{len(planted.names)} directions need as many units that vary")
    weight = tensors["weight"].copy()
    weight[:, units] = (planted.directions / span[units][:, None]).T
    data = save({**tensors, "weight": np.ascontiguousarray(weight)})
    files = {"model.safetensors": FileEntry(sha256=sha256(data), size=len(data))}
    made = ModelCard(**{**card.model_dump(), "files": files, "description": "Planted directions."})
    made = made.model_copy(update={"name": f"linkers/{made.short_digest}"})
    store.create(layout.linker_weights(made.digest), data)
    store.create(layout.linker_card(made.digest), made.model_dump_json().encode())
    return made.digest, [int(unit) for unit in units]


def run(client: Client, spec: dict[str, Any]) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
    """Carries a job out; its id and the rows of `units` and `effects`."""
    job, result, _ = carried_out(client, "quantify", spec)
    return job, result.table("units").to_pylist(), result.table("effects").to_pylist()


def named(rows: Sequence[dict[str, Any]], planted: Planted, units: Sequence[int]) -> dict[str, Any]:
    """Shares of planted units that are named after their part, and of random ones that are named at all."""
    by_unit = {row["unit"]: row for row in rows}
    found = [by_unit[unit] for unit in units]
    selectivity = np.array([row["selectivity"] for row in found])
    random = np.array([name == "random" for name in planted.names])
    own = np.array(
        [
            row["part"] in FACTOR_PARTS.get(name.partition(":")[0], ())
            for row, name in zip(found, planted.names, strict=True)
        ]
    )
    threshold = float(np.quantile(selectivity[random], 0.95))
    half = np.flatnonzero(random)
    learned = float(np.quantile(selectivity[half[::2]], 0.95))
    ships = np.array([bool(row["named"]) for row in found])
    missed = {
        planted.names[k]: f"{found[k]['part']} ({found[k]['aspect']}), selectivity {selectivity[k]:.3f}"
        for k in np.flatnonzero(~random & ~(own & (selectivity >= threshold)))
    }
    return {
        "planted_units": int((~random).sum()),
        "random_directions": int(random.sum()),
        "threshold_that_5_percent_of_the_random_reach": threshold,
        "planted_named_right": float((own & (selectivity >= threshold))[~random].mean()),
        "planted_named_right_goal": 0.95,
        "not_named_right": missed,
        "at_a_threshold_learned_from_one_half_of_the_random": {
            "threshold": learned,
            "planted_named_right": float((own & (selectivity >= learned))[~random].mean()),
            "other_half_named": float((selectivity[half[1::2]] >= learned).mean()),
        },
        "at_the_threshold_that_ships": {
            "threshold": NAMING_THRESHOLD,
            "planted_named_right": float((own & ships)[~random].mean()),
            "random_named": float(ships[random].mean()),
        },
        "trust_of_random_directions_95th_percentile": float(
            np.quantile([row["trust"] for row, r in zip(found, random, strict=True) if r], 0.95)
        ),
    }


def effects_of(result: Any, units: int) -> tuple[Array, NDArray[np.bool_]]:
    """Effects (units, images, columns) of the confirmed steps, for some units, and which have a direction."""
    steps = result.table("steps").to_pandas()
    steps = steps[steps["stage"] == "confirm"]
    columns = [name for name in steps.columns if "." in name]
    measures = {item.name: item for item in MEASURES}
    kinds = [measures[name.rpartition(".")[2]] for name in columns]
    chosen = steps["unit"].drop_duplicates().to_numpy()[:units]
    steps = steps[steps["unit"].isin(chosen)].sort_values(["unit", "class", "seed", "step"])
    count = int(steps["step"].max()) + 1
    values = steps[columns].to_numpy(np.float64).reshape(len(chosen), -1, count, len(columns))
    periods = np.array([kind.period for kind in kinds], np.float64)
    return differences(values, periods), np.array([kind.signed for kind in kinds])


def null(effects: Array, signed: NDArray[np.bool_], runs: int, seed: int) -> dict[str, Any]:
    """The share of runs with flipped perturbations in which anything has q < 0.05."""
    rng = np.random.default_rng(seed)
    units, images, _ = effects.shape
    tests = effects[..., signed].transpose(0, 2, 1).reshape(-1, images)
    tests = tests[np.isfinite(tests).sum(1) >= MIN_IMAGES]
    found = 0
    for _ in range(runs):
        p = sign_flip(tests * rng.choice([-1.0, 1.0], size=images))
        found += bool((benjamini_hochberg(p) < 0.05).any())
    return {
        "runs": runs,
        "units": units,
        "images": images,
        "tests_per_run": len(tests),
        "runs_with_any_q_below_0.05": found / runs,
        "goal": 0.05,
        "tests_with_q_below_0.05_without_flips": float((benjamini_hochberg(sign_flip(tests)) < 0.05).mean()),
    }


def association(effects: Sequence[dict[str, Any]]) -> dict[str, float]:
    """For each class the share of its logit's variance, over all units, that effects on glasses explain.

    The adjusted R squared behind the report's map of classes and parts.
    """
    signed = {item.name for item in MEASURES if item.signed}
    logits: dict[str, dict[int, float]] = {}
    glasses: dict[str, dict[int, float]] = {}
    for row in effects:
        value = row["standardised"] or 0.0
        if row["part"] == "logit":
            logits.setdefault(row["measure"], {})[row["unit"]] = value
        elif row["part"] == "glasses" and row["measure"] in signed:
            glasses.setdefault(row["measure"], {})[row["unit"]] = value
    units = sorted(next(iter(logits.values())))
    causes, responses = (
        np.array([[of[unit] for of in columns.values()] for unit in units]) for columns in (glasses, logits)
    )
    share, _ = explained(causes, responses)
    return dict(zip(logits, share.tolist(), strict=True))


def measure(models: Path, home: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Runs everything and returns the figures."""
    registry, store = Registry(models), DirectoryStore(home / "store")
    w, readings, columns = read_latents(registry, options.seed)
    planted = plant(w, readings, columns, options.randoms, options.seed + 1)
    figures: dict[str, Any] = {"regression_readings": len(w)}
    with Embedded(home, models) as stack, stack.client() as client:
        linkers = {
            name: fit_linker(client, store, link_spec(f"avatars/{name}", options.samples))
            for name in ("clean", "shortcut")
        }
        digest, units = publish(store, linkers["clean"], planted)
        spec = {"linker": digest, "units": units, "shortlist": len(units), "steps": 2, "keep": "none"}
        spec["seed"] = options.seed
        job, rows, _ = run(client, spec)
        figures["planted"] = named(rows, planted, units)
        effects, signed = effects_of(client.job(job).result(), options.null_units)
        figures["null"] = null(effects, signed, options.null_runs, seed=13)
        figures["shortcut"] = {}
        for name, linker in linkers.items():
            spec = {"linker": linker, "steps": 2, "keep": "none", "seed": options.seed}
            _, rows, all_effects = run(client, spec)
            found = association(all_effects)
            figures["shortcut"][name] = {
                "units": len(rows),
                f"variance_of_{SHORTCUT_CLASS}_explained_by_glasses": found.pop(SHORTCUT_CLASS),
                "largest_of_the_other_classes": max(found.values()),
            }
    return figures


def main() -> None:
    """Prints the figures as JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--samples", type=int, default=200, help="pairs a class that linkers are fitted on")
    parser.add_argument("--randoms", type=int, default=100, help="random directions")
    parser.add_argument("--seed", type=int, default=31, help="of readings, random directions and base images")
    parser.add_argument("--null-runs", type=int, default=100)
    parser.add_argument("--null-units", type=int, default=12)
    options = parser.parse_args()
    print_figures(measure, options)


if __name__ == "__main__":
    main()
