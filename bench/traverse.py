"""A traversal through services, workers and store against the same work in one process.

`python -m bench.traverse` prints one JSON object. Both sides move the same units of the same base images
of `avatars/shortcut` along the same linker, render with the same generator, read with the same
classifier and measure the same figures; what they find is compared. The services are those of
`unitscope up`, the client's clock runs from submit to the end of the job, report and tables included, and
the one process stores nothing. Rounds take turns; the ratio is the median of the ratios within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.jobs import GENERATOR, carried_out, fit_linker, link_spec
from services.classifier.pool import Pool
from services.generator.backend import GeneratorBackend
from services.linker.solution import Solution
from unitscope.embedded import Embedded
from unitscope.jobs import layout
from unitscope.jobs.chunks import ChunkResult, decode
from unitscope.models import Registry
from unitscope.store.directory import DirectoryStore
from workers.analyses.select import Selection
from workers.analyses.traverse import BATCH, GROUP, Moves, spans_of
from workers.analyses.trust import focus
from workers.measures.whole import change, whole

CLASSIFIER = "avatars/shortcut"
LINK = link_spec(CLASSIFIER, 100, heldout=10, folds=2)


@dataclass
class OneProcess:
    """The models and the map, in this process."""

    generator: GeneratorBackend
    classifier: Any
    solution: Solution

    @classmethod
    def load(cls, registry: Registry, store: DirectoryStore, digest: str) -> OneProcess:
        """Loads what a job used."""
        card = registry.resolve(GENERATOR)
        backend = GeneratorBackend.load(card, registry.verified(card))
        solution = Solution.from_bytes(store.get(layout.linker_weights(digest)))
        return cls(backend, Pool(registry).get(CLASSIFIER), solution)

    def traverse(self, selection: Selection, base: ChunkResult, steps: int) -> dict[str, NDArray[Any]]:
        """Moves all units from all base images of one class: figures (traversals, steps, ...)."""
        features, std = base.tensors["features"], self.solution.linker.feature_std
        commanded = np.linspace(selection.low, selection.high, steps, axis=1, dtype=np.float32)
        moves = Moves(features, selection.units, commanded)
        own = np.repeat(selection.units, len(features))
        found: dict[str, list[NDArray[Any]]] = {}
        for group in spans_of(len(own), steps, GROUP):
            w = self.solution.apply(moves.rows(group)).astype(np.float32)
            distance = self.solution.distances(w)
            for part in spans_of(group.stop - group.start, steps, BATCH):
                rows = slice(part.start * steps, part.stop * steps)
                moved = own[group][part]
                columns = self.look(w[rows], distance[rows], std, moved)
                for name, values in columns.items():
                    found.setdefault(name, []).append(values)
        return {name: np.concatenate(values) for name, values in found.items()}

    def look(
        self, w: NDArray[Any], distance: NDArray[Any], std: NDArray[Any], moved: NDArray[np.int64]
    ) -> dict[str, NDArray[Any]]:
        """Renders, reads and measures one batch of whole traversals (traversals, steps, ...)."""
        shape = (len(moved), len(w) // len(moved))
        images = self.generator.render(w)
        reading = self.classifier.read(images)
        first = np.repeat(images[:: shape[1]], shape[1], axis=0)
        return {
            "logits": reading.logits.reshape(*shape, -1),
            "distance": distance.reshape(shape),
            "focus": focus(reading.features.reshape(*shape, -1), std, moved),
            "change": change(images, first).reshape(shape),
            **{name: values.reshape(shape) for name, values in whole(images).items()},
        }


def stage(store: DirectoryStore, job_id: str, name: str) -> list[tuple[dict[str, Any], ChunkResult]]:
    """Parameters and results of the chunks of a job's stage, in order."""
    plan = json.loads(store.get(layout.plan(job_id)))
    params = next(s["chunks"] for s in plan["stages"] if s["name"] == name)
    keys = [info.key for info in store.objects(layout.stage(job_id, name))]
    return list(zip(params, (decode(store.get(key)) for key in keys), strict=True))


def measure(models: Path, home: Path, units: int, seeds: int, steps: int, rounds: int) -> dict[str, Any]:
    """Runs both sides and returns the figures."""
    with Embedded(home, models) as stack:
        client = stack.client()
        store = DirectoryStore(home / "store")
        digest = fit_linker(client, store, LINK)
        one = OneProcess.load(Registry(models), store, digest)
        spec = {"linker": digest, "units": {"top": units}, "seeds_per_class": seeds, "steps": steps}
        through, alone, difference = [], [], 0.0
        for index in range(rounds + 1):
            # Another seed each round: a job that is there already would be answered from the store.
            job_id, _, seconds = carried_out(client, "traverse", {**spec, "seed": index})
            selection = Selection(**stage(store, job_id, "select")[0][1].tensors)
            bases = stage(store, job_id, "base")
            start = time.perf_counter()
            found = {params["class"]: one.traverse(selection, base, steps) for params, base in bases}
            if index:
                through.append(seconds)
                alone.append(time.perf_counter() - start)
            difference = max(difference, largest_difference(found, stage(store, job_id, "traverse")))
    renders = units * seeds * steps * len(bases)
    return {
        "renders": renders,
        "rounds": rounds,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "seconds": {"services": statistics.median(through), "one_process": statistics.median(alone)},
        "images_per_second": {
            "services": renders / statistics.median(through),
            "one_process": renders / statistics.median(alone),
        },
        "throughput_ratio": statistics.median(b / a for a, b in zip(through, alone, strict=True)),
        "goal": 0.85,
        "largest_difference_of_logits": difference,
    }


def largest_difference(
    found: dict[int, dict[str, NDArray[Any]]], chunks: list[tuple[dict[str, Any], ChunkResult]]
) -> float:
    """The largest difference between the logits of both sides."""
    largest = 0.0
    for params, chunk in chunks:
        units, seeds, steps, classes = chunk.tensors["logits"].shape
        first = params["first"] * seeds
        ours = found[params["class"]]["logits"][first : first + units * seeds]
        theirs = chunk.tensors["logits"].reshape(units * seeds, steps, classes)
        largest = max(largest, float(np.abs(ours - theirs).max()))
    return largest


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"), help="the registry's folder")
    parser.add_argument("--units", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    if "OMP_WAIT_POLICY" not in os.environ:
        # As the services do; it is read when torch is loaded, so that this process starts again.
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.execv(sys.executable, [sys.executable, "-m", "bench.traverse", *sys.argv[1:]])
    with tempfile.TemporaryDirectory() as home:
        figures = measure(
            options.models, Path(home), options.units, options.seeds, options.steps, options.rounds
        )
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
