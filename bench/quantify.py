"""Quantification through services, workers and store, against one process and the published way.

`python -m bench.quantify` prints one JSON object. All sides move the same units of `avatars/shortcut` in
the same base images, label the same parts and measure the same figures.

- services: `unitscope up`; the client's clock runs from submit to the end of the job, report and tables
  included.
- one process: the same models in this process, batched alike, storing nothing. Rounds take turns; the
  ratio is the median of the ratios within a round.
- plumbing: processor time of a chunk in a worker that is neither generator, classifier nor measure: plan,
  store, latents, messages, bookkeeping.
- published way, written plainly after the public code of "Linking in Style": one image at a time; pictures
  as PNG in zip files; features of all layers upsampled, joined and saved to disk, read again to label the
  parts; then each picture measured by itself. With our fast network, and with the plain form of it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load
from torch.nn import functional

from bench.jobs import GENERATOR, carried_out, fit_linker, link_spec
from services.classifier.pool import Pool
from services.generator.backend import GeneratorBackend
from services.generator.layers import Form
from services.generator.network import to_uint8
from services.generator.parts.network import PartsNetwork
from services.generator.parts.store import load_parts
from unitscope.embedded import Embedded
from unitscope.jobs import layout
from unitscope.jobs.state import read_plan
from unitscope.models import Registry
from unitscope.models.linkers import find_linker
from unitscope.settings import EndpointSettings, WorkerSettings
from unitscope.store.directory import DirectoryStore
from workers.analyses.linked import Linked
from workers.analyses.quantify import moving
from workers.analyses.quantify.base import Base
from workers.analyses.quantify.targets import Targets
from workers.clients import Reading
from workers.context import Context

CLASSIFIER, PARTS = "avatars/shortcut", "avatars/parts"
LINK = link_spec(CLASSIFIER, 100, heldout=10, folds=2)
PUBLISHED_IMAGES = 24

Images = NDArray[np.uint8]


@dataclass
class OneProcess:
    """The models, in this process."""

    generator: GeneratorBackend
    classifier: Any
    parts: PartsNetwork

    @classmethod
    def load(cls, registry: Registry) -> OneProcess:
        """Loads what the job uses."""
        card, parts = registry.resolve(GENERATOR), registry.resolve(PARTS)
        backend = GeneratorBackend.load(card, registry.verified(card))
        network = load_parts(parts, registry.verified(parts), card)
        return cls(backend, Pool(registry).get(CLASSIFIER), network)

    def readings(self, batches: Iterator[NDArray[np.float32]]) -> Iterator[Reading]:
        """Renders, labels and reads batches of latents, one after the other."""
        for w in batches:
            images, labels = self.generator.render_parts(w, self.parts)
            found = self.classifier.read(images)
            yield Reading(images, found.features, found.logits, labels)

    def confirm(self, context: Context) -> dict[str, list[NDArray[Any]]]:
        """The work of a job's confirmation: every target in every image."""
        spec, linked = context.spec, Linked.of(context)
        base, targets = Base.of(context, "confirm"), Targets.load(context)
        found: dict[str, list[NDArray[Any]]] = {}
        parts = len(context.card("parts").classes)
        for target in range(len(targets)):
            rows = slice(0, len(base))
            work = moving._work(context, spec, linked, base, targets, np.array([target]), rows, spec.steps)
            kept = moving._Found()
            for reading in self.readings(work.batches()):
                members = [work.members[0]] * (len(reading.images) // spec.steps)
                moving._measure(kept, reading, linked.solution.std, members, spec.steps, parts)
            linked.solution.distances(work.latents.astype(np.float64))
            for name, values in kept.columns.items():
                found.setdefault(name, []).append(np.concatenate(values))
        return found


def context_of(stack: Embedded, registry: Registry, store: DirectoryStore, job_id: str) -> Context:
    """A worker's view of a job of the stack."""
    plan = read_plan(store, job_id)
    assert plan is not None
    at = stack.endpoints
    endpoints = EndpointSettings(classifier=at.classifier, linker=at.linker, generator=at.generator)
    return Context(job_id, plan, store, registry, endpoints, WorkerSettings())


def plumbing(context: Context) -> dict[str, Any]:
    """Processor time of chunks in this process, and what of it is measuring; milliseconds."""
    spec, spent = context.spec, [0.0]

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            start = time.thread_time()
            try:
                return function(*arguments)
            finally:
                spent[0] += time.thread_time() - start

        return call

    chunks = context.plan.stage("confirm").chunks
    whole, rest, renders = [], [], 0
    with (
        mock.patch.object(moving, "measure", timed(moving.measure)),
        mock.patch.object(moving, "change", timed(moving.change)),
        mock.patch.object(moving, "focus", timed(moving.focus)),
    ):
        for params in chunks:
            spent[0] = 0.0
            start = time.process_time()
            moving.move(context, spec, Linked.of(context), "confirm", params)
            taken = time.process_time() - start
            whole.append(1e3 * taken)
            rest.append(1e3 * (taken - spent[0]))
            renders = params["count"] * params["images"] * spec.steps
    return {
        "chunks": len(chunks),
        "renders_per_chunk": renders,
        "milliseconds_of_processor_per_chunk": statistics.median(rest[1:] or rest),
        "goal": 30,
        "measuring_milliseconds_per_chunk": statistics.median(np.subtract(whole, rest)[1:]),
    }


def published(one: OneProcess, w: NDArray[np.float32], form: Form, folder: Path) -> float:
    """Seconds an image of the published way."""
    network, classifier, parts = one.generator.network, one.classifier, one.parts
    size = network.spec.resolution
    start = time.perf_counter()
    with torch.inference_mode():
        for index, row in enumerate(w):
            kept: dict[str, torch.Tensor] = {}
            ws = torch.from_numpy(row)[None, None].expand(-1, network.spec.num_ws, -1)
            image = to_uint8(network.synthesis(ws, form, kept.__setitem__))[0].numpy()
            with zipfile.ZipFile(folder / f"{index}.zip", "w") as archive:
                sink = io.BytesIO()
                Image.fromarray(image).save(sink, "PNG")
                archive.writestr("step.png", sink.getvalue())
            visible = (layer.visible(kept[layer.name]).float() for layer in parts.layers)
            grown = [functional.interpolate(canvas, size=(size, size)) for canvas in visible]
            np.savez(folder / f"{index}.npz", features=torch.cat(grown, dim=1).numpy())
        for index in range(len(w)):
            with zipfile.ZipFile(folder / f"{index}.zip") as archive:
                image = np.asarray(Image.open(io.BytesIO(archive.read("step.png"))))
            features = torch.from_numpy(np.load(folder / f"{index}.npz")["features"])
            labels = _label(parts, features)
            moving.measure(image[None, None], labels[None, None], len(parts.parts))
            classifier.read(image[None])
    return (time.perf_counter() - start) / len(w)


def _label(parts: PartsNetwork, features: torch.Tensor) -> Images:
    """Labels of the joined features of all layers: one large 1 x 1 convolution, then the head."""
    weight = torch.cat([parts.project[layer.name] for layer in parts.layers], dim=1)
    hidden = functional.conv2d(features, weight[:, :, None, None], parts.bias)
    labels: Images = parts.labels(hidden)[0].numpy()
    return labels


def measure(models: Path, home: Path, units: int, rounds: int) -> dict[str, Any]:
    """Runs all sides and returns the figures."""
    registry = Registry(models)
    with Embedded(home, models) as stack, stack.client() as client:
        store = DirectoryStore(home / "store")
        digest = fit_linker(client, store, LINK)
        one = OneProcess.load(registry)
        spec = {"linker": digest, "units": _live(store, digest, units)}
        through, alone = [], []
        for index in range(rounds + 1):
            # Another seed each round: a job that is there already would be answered from the store.
            job_id, _, seconds = carried_out(client, "quantify", {**spec, "seed": index + 1})
            context = context_of(stack, registry, store, job_id)
            start = time.perf_counter()
            found = one.confirm(context)
            if index:
                through.append(seconds)
                alone.append(time.perf_counter() - start)
        difference = _difference(found, context)
        chunk = plumbing(context)
    renders = len(spec["units"]) * 32 * 3
    base = Base.of(context, "confirm")
    with tempfile.TemporaryDirectory() as folder:
        plainly = {
            form: published(one, base.start[:PUBLISHED_IMAGES], form, Path(folder))
            for form in ("fast", "plain")
        }
    per_image = statistics.median(through) / renders
    return {
        "renders": renders,
        "rounds": rounds,
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "seconds": {"services": statistics.median(through), "one_process": statistics.median(alone)},
        "images_per_second": {
            "services": 1 / per_image,
            "one_process": renders / statistics.median(alone),
            **{f"published_way_{form}_network": 1 / seconds for form, seconds in plainly.items()},
        },
        "throughput_ratio": statistics.median(b / a for a, b in zip(through, alone, strict=True)),
        "throughput_ratio_goal": 0.85,
        "times_the_published_way": {
            f"{form}_network": seconds / per_image for form, seconds in plainly.items()
        },
        "plumbing": chunk,
        "largest_difference_of_area": difference,
    }


def _live(store: DirectoryStore, digest: str, units: int) -> list[int]:
    """The units that vary most."""
    card = find_linker(store, digest)
    std = load(store.get(layout.linker_weights(card.digest)))["feature_std"]
    return [int(unit) for unit in np.argsort(-std)[:units]]


def _difference(found: dict[str, list[NDArray[Any]]], context: Context) -> float:
    """The largest difference in area between both sides: they did the same work."""
    theirs = np.concatenate([c.tensors["measures"] for _, c in context.result("confirm")])[..., 0]
    ours = np.stack(found["measures"])[..., 0].reshape(theirs.shape)
    return float(np.nanmax(np.abs(ours - theirs)))


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"), help="the registry's folder")
    parser.add_argument("--units", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    if "OMP_WAIT_POLICY" not in os.environ:
        # As the services do; it is read when torch is loaded, so that this process starts again.
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.execv(sys.executable, [sys.executable, "-m", "bench.quantify", *sys.argv[1:]])
    with tempfile.TemporaryDirectory() as home:
        figures = measure(options.models, Path(home), options.units, options.rounds)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
