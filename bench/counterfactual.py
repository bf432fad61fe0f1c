"""Two searches for counterfactuals on the same images: `path` and the published `descent`.

`python -m bench.counterfactual` prints one JSON object. Real jobs of kind `counterfactual` on the stack of
`unitscope up`, with a linker of `avatars/clean` and `avatars/generator` that a `link` job fits first.

- All ordered pairs of classes by `path`, as it ships: every search starts from the image's own latent.
- Six pairs that were chosen before anything was measured: `descent`, which starts from the linker's latent as
  published, `path` from there too, and the rows of all pairs that have the same images.

A row is one image with one target. Shares have 95 % intervals by Wilson over rows; shifts are compared on
rows that both searches reached. A generator call of `path` renders several pictures of a row, one of
`descent` renders one: calls and renders are both stated, and the goal of a tenth is about calls. `descent`
gives a row up after 2,000 steps, as published (`--descent-steps`).
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.jobs import arguments, carried_out, fit_linker, link_spec, print_figures
from unitscope.client import Client
from unitscope.client.handle import JobHandle, Result
from unitscope.embedded import Embedded
from unitscope.store.directory import DirectoryStore
from workers.statistics import wilson

PAIRS = (
    ("short_hair", "long_hair"),
    ("long_hair", "bun"),
    ("bun", "short_hair"),
    ("hat", "turban"),
    ("beanie", "hat"),
    ("curly_hair", "winter_hat"),
)
"""Of every kind: hair to hair, hat to hat, hair to hat."""
GOAL_OF_CALLS = 0.1
QUIET = {"frames": 2, "keep": "none"}
"""Short film strips, and no pictures kept."""

Row = dict[str, Any]
Key = tuple[str, str, int]


def rows_of(result: Result) -> list[Row]:
    """The rows of a job whose target is another class."""
    rows = result.table("counterfactuals").to_pylist()
    return [row for row in rows if row["outcome"] != "same_class"]


def search(client: Client, spec: Mapping[str, Any]) -> tuple[list[Row], Result, float]:
    """Carries a job out; its rows, the result, and its seconds."""
    _, result, seconds = carried_out(client, "counterfactual", {**QUIET, **spec})
    return rows_of(result), result, seconds


def share(hits: float, trials: int) -> dict[str, float | int | None]:
    """A share with its interval; None where there are no trials."""
    lower, upper = (float(end) for end in wilson(hits, trials))
    if not trials:
        return {"of": 0, "share": None}
    return {"of": trials, "share": hits / trials, "lower": lower, "upper": upper}


def median(values: Iterable[float | None]) -> float | None:
    """The median of what is there; None where nothing is."""
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def described(rows: Sequence[Row]) -> dict[str, Any]:
    """How often a search reached its targets, how far it went, and what it asked of the generator."""
    calls, renders = ([row[name] for row in rows] for name in ("generator_calls", "renders"))
    return {
        "rows": len(rows),
        "reached": share(sum(row["valid"] for row in rows), len(rows)),
        "outcomes": dict(Counter(row["outcome"] for row in rows)),
        "generator_calls": {"median": median(calls), "mean": float(np.mean(calls))},
        "renders": {"median": median(renders), "mean": float(np.mean(renders))},
        **{f"median_{name}": median(row[name] for row in rows) for name in ("l2", "alpha", "units_for_90")},
    }


def by_image(rows: Iterable[Row]) -> dict[Key, Row]:
    """Rows by origin, target and place in the stream of seeds."""
    return {(row["origin"], row["target"], row["seed"]): row for row in rows}


def compared(ours: Mapping[Key, Row], theirs: Mapping[Key, Row]) -> dict[str, Any]:
    """`path` against `descent` on the rows of `descent`.

    Raises:
        SystemExit: A row of `descent` has no row of `path`: they did not start from the same images.
    """
    if missing := [key for key in theirs if key not in ours]:
        raise SystemExit(f"{len(missing)} rows of descent have no row of path, first {missing[0]}")
    both = [key for key in theirs if ours[key]["valid"] and theirs[key]["valid"]]
    lengths = np.array([[found[key]["l2"] for found in (ours, theirs)] for key in both]).reshape(-1, 2)
    ratios = {}
    for name in ("generator_calls", "renders"):
        spent = np.array([[ours[key][name], theirs[key][name]] for key in theirs], np.float64)
        ratios[name] = {
            "of_medians": float(np.median(spent[:, 0]) / np.median(spent[:, 1])),
            "of_means": float(spent[:, 0].mean() / spent[:, 1].mean()),
        }
    return {
        "same_images": len(theirs),
        "reached_by_both": len(both),
        "reached_by_path_alone": sum(ours[k]["valid"] and not theirs[k]["valid"] for k in theirs),
        "reached_by_descent_alone": sum(theirs[k]["valid"] and not ours[k]["valid"] for k in theirs),
        "l2_ratio_of_medians": float(np.divide(*np.median(lengths, axis=0))) if both else None,
        "l2_smaller": share(int((lengths[:, 0] < lengths[:, 1]).sum()), len(both)),
        "generator_calls_ratio": ratios["generator_calls"],
        "generator_calls_goal": GOAL_OF_CALLS,
        "renders_ratio": ratios["renders"],
    }


def by_pair(ours: Mapping[Key, Row], linked: Mapping[Key, Row], theirs: Mapping[Key, Row]) -> dict[str, Any]:
    """Reached rows, median length and median calls of each of the six pairs, by search."""
    found: dict[str, Any] = {}
    for origin, target in PAIRS:
        keys = [key for key in theirs if key[:2] == (origin, target)]
        found[f"{origin} to {target}"] = {
            name: {
                "reached": sum(bool(rows[key]["valid"]) for key in keys),
                "median_l2": median(rows[key]["l2"] for key in keys),
                "median_generator_calls": median(rows[key]["generator_calls"] for key in keys),
            }
            for name, rows in (("path_own", ours), ("path_linked", linked), ("descent", theirs))
        }
    return found


def measure(models: Path, home: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Runs all jobs and returns the figures."""
    store = DirectoryStore(home / "store")
    with Embedded(home, models) as stack, stack.client() as client:
        spec = {
            "linker": fit_linker(client, store, link_spec("avatars/clean", options.samples)),
            "seed": options.seed,
        }
        rows, _, seconds = search(client, {**spec, "seeds": options.seeds})
        jobs: dict[str, list[JobHandle]] = {"path": [], "descent": []}
        for method, handles in jobs.items():
            for origin, target in PAIRS:
                pair = {"origins": [origin], "targets": [target], "seeds": options.pair_seeds}
                how = {"method": method, "start": "linked", "max_steps": options.descent_steps}
                handles.append(client.submit("counterfactual", {**QUIET, **spec, **pair, **how}))
        # They run side by side: a search that reaches nothing takes all its steps, one call after another.
        found = {
            method: [row for handle in handles for row in rows_of(handle.result())]
            for method, handles in jobs.items()
        }
    own, linked, theirs = (by_image(each) for each in (rows, found["path"], found["descent"]))
    return {
        "linker_samples_per_class": options.samples,
        "path_all_pairs": {
            **described(rows),
            "pairs": len({(row["origin"], row["target"]) for row in rows}),
            "images_per_class": options.seeds,
            "job_seconds": seconds,
        },
        "six_pairs": {
            "images_per_pair": options.pair_seeds,
            "descent_steps_at_most": options.descent_steps,
            "descent": described(found["descent"]),
            "path_linked": described(found["path"]),
            "path_own": described([own[key] for key in theirs]),
            "path_linked_over_descent": compared(linked, theirs),
            "path_own_over_descent": compared(own, theirs),
            "by_pair": by_pair(own, linked, theirs),
        },
    }


def main() -> None:
    """Prints the figures as JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--samples", type=int, default=300, help="images a class to fit the linker")
    parser.add_argument("--seeds", type=int, default=20, help="images a class, each to every other class")
    parser.add_argument("--pair-seeds", type=int, default=10, help="images of each of the six pairs")
    parser.add_argument(
        "--descent-steps", type=int, default=2000, help="after which descent gives a row up; published: 2000"
    )
    parser.add_argument("--seed", type=int, default=41, help="of the base images")
    options = parser.parse_args()
    if options.pair_seeds > options.seeds:
        parser.error(f"--pair-seeds is {options.pair_seeds}; at most --seeds, {options.seeds}, is possible")
    print_figures(measure, options)


if __name__ == "__main__":
    main()
