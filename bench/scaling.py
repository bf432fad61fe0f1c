"""How `quantify` scales: workers, units, and planning. Not how fast a generator is: here it is a stand-in.

`python -m bench.scaling` prints one JSON object.

- workers: a stand-in generator answers every request after a fixed time, however many it has; 1 to 16
  workers of the real stack (Celery, store, linker, classifier, measures) share one job. Efficiency is
  throughput over that of one worker times their number, of the stage that moves units. The processor is the
  limit where it says that it was busy.
- memory: the largest resident memory of any worker process over a whole job, report included, for few and for
  all units of one layer of 4,096 units.
- planning: 4,096 units x 100 images x 3 steps.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from safetensors.numpy import load, save
from safetensors.torch import save_file
from tritonclient.grpc import service_pb2, service_pb2_grpc

from bench.jobs import GENERATOR, carried_out, fit_linker, link_spec
from services.classifier.avatarnet import AvatarNet
from services.generator.backend import GeneratorBackend
from services.generator.parts.store import load_parts
from unitscope.embedded import Embedded
from unitscope.jobs import layout, planning
from unitscope.jobs.specs import parse_spec
from unitscope.models import LayerCard, ModelCard, Registry
from unitscope.models.cards import WEIGHTS_FILE, FileEntry, file_entry
from unitscope.models.linkers import find_linker
from unitscope.store.base import sha256
from unitscope.store.directory import DirectoryStore

PARTS = "avatars/parts"
WIDE, WIDE_UNITS = "wide/classifier", 4_096
ROWS = 64


class StandIn(service_pb2_grpc.GRPCInferenceServiceServicer):
    """A V2 server that renders nothing: it waits, and answers with pictures that were rendered before."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.uint8], w_dim: int) -> None:
        self.images, self.labels, self.w_dim, self.seconds = images, labels, w_dim, 0.0

    def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Its name."""
        return service_pb2.ServerMetadataResponse(name="stand-in", version="1")

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        """An answer of the right shape, after the fixed time."""
        rows = request.inputs[0].shape[0]
        if request.model_name.endswith("-mapping"):
            z = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(rows, -1)
            w = np.tile(z, (1, -(-self.w_dim // z.shape[1])))[:, : self.w_dim]
            found = {"w": ("FP32", np.ascontiguousarray(w))}
        else:
            time.sleep(self.seconds)
            found = {"image": ("UINT8", self.images[:rows]), "labels": ("UINT8", self.labels[:rows])}
        wanted = [item.name for item in request.outputs]
        outputs = [
            service_pb2.ModelInferResponse.InferOutputTensor(
                name=name, datatype=found[name][0], shape=found[name][1].shape
            )
            for name in wanted
        ]
        contents = [found[name][1].tobytes() for name in wanted]
        return service_pb2.ModelInferResponse(
            model_name=request.model_name, outputs=outputs, raw_output_contents=contents
        )


@contextmanager
def stand_in(registry: Registry) -> Iterator[tuple[StandIn, str]]:
    """A running stand-in, and its address."""
    card, parts = registry.resolve(GENERATOR), registry.resolve(PARTS)
    backend = GeneratorBackend.load(card, registry.verified(card))
    network = load_parts(parts, registry.verified(parts), card)
    z = np.random.default_rng(1).standard_normal((ROWS, backend.spec.z_dim)).astype(np.float32)
    w = backend.map(z, np.arange(ROWS) % len(card.classes), 0.7)
    servicer = StandIn(*backend.render_parts(w, network), backend.spec.w_dim)
    server = grpc.server(ThreadPoolExecutor(64))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield servicer, f"127.0.0.1:{port}"
    finally:
        server.stop(0)


def write_wide(registry: Registry, root: Path) -> None:
    """A registry folder with the pack's models and a classifier of 4,096 random units."""
    for name in ("generator", "parts", "clean"):
        folder = root / "avatars" / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.symlink_to(registry.folder(f"avatars/{name}").resolve())
    card = registry.resolve("avatars/clean")
    torch.manual_seed(1)
    network = AvatarNet(len(card.classes), units=WIDE_UNITS, width=24)
    folder = root.joinpath(*WIDE.split("/"))
    folder.mkdir(parents=True)
    save_file(network.state_dict(), folder / WEIGHTS_FILE)
    layer = LayerCard(name="penultimate", units=WIDE_UNITS, nonnegative=True, has_head=True)
    changes = {
        "name": WIDE,
        "architecture": {"name": "avatarnet", "units": WIDE_UNITS, "width": 24},
        "layers": (layer,),
        "files": {WEIGHTS_FILE: file_entry(folder / WEIGHTS_FILE)},
    }
    card.model_copy(update=changes).save(folder)


def publish_wide(store: DirectoryStore, registry: Registry, digest: str) -> str:
    """A linker of the wide layer: that of the narrow one, its features repeated. Its digest."""
    narrow = find_linker(store, digest)
    tensors = dict(load(store.get(layout.linker_weights(narrow.digest))))
    units = tensors["weight"].shape[1]
    times = WIDE_UNITS // units
    for name, array in tensors.items():
        if array.ndim and array.shape[-1] == units and name != "latent_mean":
            tensors[name] = np.tile(array, (*[1] * (array.ndim - 1), times))
    live = tensors["feature_quantiles"][-1] > tensors["feature_quantiles"][0]
    tensors["feature_quantiles"][-1, ~live] += 1.0
    data = save({name: np.ascontiguousarray(array) for name, array in tensors.items()})
    wide = registry.resolve(WIDE)
    architecture = {
        **narrow.architecture,
        "classifier": {"name": wide.name, "digest": wide.digest},
        "features": WIDE_UNITS,
    }
    files = {WEIGHTS_FILE: FileEntry(sha256=sha256(data), size=len(data))}
    made = ModelCard(**{**narrow.model_dump(), "architecture": architecture, "files": files})
    made = made.model_copy(update={"name": f"linkers/{made.short_digest}"})
    store.create(layout.linker_weights(made.digest), data)
    store.create(layout.linker_card(made.digest), made.model_dump_json().encode())
    return made.digest


class Peak:
    """The largest resident memory of any worker process of a stack, and the processor's mean use."""

    def __init__(self, home: Path) -> None:
        self.bytes, self._home, self._ended = 0, str(home.resolve()), threading.Event()
        psutil.cpu_percent()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> tuple[int, float]:
        """Bytes, and percent of all cores."""
        self._ended.set()
        self._thread.join()
        return self.bytes, psutil.cpu_percent()

    def _watch(self) -> None:
        while not self._ended.wait(0.2):
            for process in psutil.process_iter(["cmdline"]):
                if (process.info["cmdline"] or [])[1:3] == ["-m", "workers"]:
                    with suppress(psutil.NoSuchProcess):
                        family = [process, *process.children(recursive=True)]
                        self.bytes = max(self.bytes, *(one.memory_info().rss for one in family))


def stage_seconds(store: DirectoryStore, job_id: str) -> float:
    """From the last object before the stage ``confirm`` to its last chunk."""
    before = [info.modified for info in store.objects(layout.stage(job_id, "select"))]
    chunks = [info.modified for info in store.objects(layout.stage(job_id, "confirm"))]
    return (max(chunks) - max(before)).total_seconds()


def workers(
    models: Path, home: Path, digest: str, servicer: StandIn, address: str, options: argparse.Namespace
) -> dict[str, Any]:
    """Throughput of 1 to 16 workers; every one of them has two chunks to do."""
    store, found = DirectoryStore(home / "store"), {}
    servicer.seconds = options.latency
    alone = 0.0
    for count in options.workers:
        environment = {"UNITSCOPE_ENDPOINT_GENERATOR": address}
        with Embedded(home, models, concurrency=count, environment=environment) as stack:
            # Five units fill a chunk of 480 pictures.
            spec = {"linker": digest, "units": list(range(10 * count)), "shortlist": 10 * count}
            with stack.client() as client:
                peak = Peak(home)
                job_id, _, _ = carried_out(client, "quantify", {**spec, "keep": "none", "seed": count})
                _, busy = peak.stop()
        rate = 10 * count * 32 * 3 / stage_seconds(store, job_id)
        alone = alone or rate
        found[str(count)] = {
            "images_per_second": rate,
            "efficiency": rate / (count * alone),
            "processor_busy_percent": busy,
        }
    servicer.seconds = 0.0
    return {"latency_of_the_stand_in_seconds": options.latency, "rows_per_request": 48, "workers": found}


def memory(models: Path, home: Path, digest: str, address: str) -> dict[str, Any]:
    """Largest resident memory of a worker, for few and for all units."""
    found = {}
    for units in (64, WIDE_UNITS):
        environment = {"UNITSCOPE_ENDPOINT_GENERATOR": address}
        with Embedded(home, models, environment=environment) as stack, stack.client() as client:
            spec = {
                "linker": digest,
                "units": list(range(units)),
                "shortlist": 48,
                "screening_seeds": 6,
                "steps": 2,
                "keep": "none",
            }
            peak = Peak(home)
            *_, seconds = carried_out(client, "quantify", spec)
            size, _ = peak.stop()
        found[f"{units}_units"] = {"megabytes": size / 2**20, "seconds_of_the_job": seconds}
    return found


def plan_seconds(registry: Registry, store: DirectoryStore, digest: str) -> dict[str, Any]:
    """Seconds to plan 4,096 units x 100 images x 3 steps, and what the plan is."""
    spec = parse_spec(
        "quantify",
        {"linker": digest, "shortlist": WIDE_UNITS, "screening_seeds": 6, "seeds": 100, "steps": 3},
    )
    start = time.perf_counter()
    plan = planning.make(spec, registry, lambda name: find_linker(store, name))
    body = plan.model_dump_json()
    seconds = time.perf_counter() - start
    stage = plan.stage("confirm")
    return {
        "seconds": seconds,
        "goal": 5.0,
        "renders": stage.renders,
        "chunks": len(stage.chunks),
        "bytes": len(body),
    }


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"), help="the registry's folder")
    parser.add_argument("--latency", type=float, default=4.0, help="seconds of the stand-in")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home, models = Path(folder) / "home", Path(folder) / "models"
        registry = Registry(options.models)
        write_wide(registry, models)
        store = DirectoryStore(home / "store")
        link = link_spec("avatars/clean", 50, heldout=5, folds=2, accept="any")
        with Embedded(home, models) as stack, stack.client() as client:
            digest = fit_linker(client, store, link)
        wide = publish_wide(store, Registry(models), digest)
        with stand_in(registry) as (servicer, address):
            figures = {
                "cores": os.cpu_count(),
                "planning": plan_seconds(Registry(models), store, wide),
                "memory": memory(models, home, wide, address),
                "scaling": workers(models, home, wide, servicer, address, options),
            }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
