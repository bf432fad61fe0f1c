"""What is fuzzed: every method of gateway, classifier and linker, with messages that they take."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
from google.protobuf.message import Message
from numpy.typing import NDArray

from tests.support.fuzzing import Target
from unitscope.jobs import layout
from unitscope.jobs.chunks import ChunkResult, encode
from unitscope.jobs.convert import spec_to_proto
from unitscope.jobs.ids import job_id_of
from unitscope.jobs.specs import parse_spec
from unitscope.jobs.state import JobState, write_terminal
from unitscope.rpc import open_channel
from unitscope.rpc.tensors import to_tensor
from unitscope.store.base import sha256
from unitscope.store.directory import DirectoryStore
from unitscope.v1 import analysis_job_pb2 as jobs
from unitscope.v1 import (
    analysis_job_pb2_grpc,
    classifier_pb2,
    info_pb2,
    linker_pb2,
    linker_pb2_grpc,
    tensor_pb2,
)

CLASSIFIER, UNITS, CLASSES, W_DIM = "tiny/classifier", 32, 4, 24
LINK = {"classifier": CLASSIFIER, "generator": "tiny/generator", "samples_per_class": 20, "folds": 2}
WATCH_SECONDS = 0.5
"""Watching goes on for ever; even a busy server refuses what it does not take sooner than that."""
SERVICES = {
    "gateway": jobs.DESCRIPTOR.services_by_name["AnalysisJobService"],
    "classifier": classifier_pb2.DESCRIPTOR.services_by_name["ClassifierService"],
    "linker": linker_pb2.DESCRIPTOR.services_by_name["LinkerService"],
}
INFO = info_pb2.DESCRIPTOR.services_by_name["InfoService"]


@dataclass(frozen=True)
class Running:
    """A service in a process of its own."""

    name: str
    process: subprocess.Popen[bytes]
    channel: grpc.Channel
    log: Path

    @property
    def memory(self) -> float:
        """Its resident set in MiB."""
        return float(psutil.Process(self.process.pid).memory_info().rss / 2**20)

    def defects(self) -> list[str]:
        """Lines of its log that tell of a defect."""
        text = self.log.read_text(errors="replace")
        return [line for line in text.splitlines() if re.search(r"Traceback| ERROR ", line)]


@contextmanager
def running(
    folder: Path, models: Path, names: tuple[str, ...] = tuple(SERVICES)
) -> Iterator[dict[str, Running]]:
    """The services over one store, each on a free port, and no worker."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UNITSCOPE_")}
    environment |= {
        "UNITSCOPE_STORE_URL": f"directory:{folder / 'store'}",
        "UNITSCOPE_BROKER_URL": f"filesystem:{folder / 'broker'}",
        "UNITSCOPE_MODELS_ROOT": str(models),
        "UNITSCOPE_SERVER_LISTEN": "127.0.0.1:0",
        "UNITSCOPE_GATEWAY_MAX_ACTIVE_JOBS": "20",
        "UNITSCOPE_GATEWAY_PROJECT_SUBMISSIONS_PER_MINUTE": "0",
        "UNITSCOPE_MODELS_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    found: dict[str, Running] = {}
    try:
        for name in names:
            log = folder / f"{name}.log"
            with log.open("wb") as file:
                command = [sys.executable, "-m", f"services.{name}"]
                process = subprocess.Popen(command, env=environment, stderr=file, stdout=file)
            found[name] = Running(name, process, None, log)
        for name, service in found.items():
            found[name] = Running(name, service.process, open_channel(_address(service)), service.log)
        yield found
    finally:
        for service in found.values():
            if service.channel is not None:
                service.channel.close()
            service.process.terminate()
        for service in found.values():
            service.process.wait(120)


def _address(service: Running) -> str:
    until = time.monotonic() + 240
    while time.monotonic() < until and service.process.poll() is None:
        if match := re.search(r"listens on (\S+)", service.log.read_text(errors="replace")):
            return match[1]
        time.sleep(0.1)
    raise RuntimeError(f"{service.name} did not start: {service.log.read_text(errors='replace')[-2000:]}")


def targets(services: dict[str, Running], store: DirectoryStore) -> list[Target]:
    """One target a method of the services that run."""
    seeds: dict[str, list[Message]] = {}
    if "gateway" in services:
        seeds |= _gateway(services["gateway"].channel, store)
    if "classifier" in services:
        seeds |= _classifier()
    if "linker" in services:
        seeds |= _linker(services["linker"].channel, store)
    found = []
    for name, service in services.items():
        for method in SERVICES[name].methods:
            deadline = WATCH_SECONDS if method.name == "WatchAnalysisJob" else 120.0
            found.append(Target(service.channel, method, seeds[method.name], deadline))
        found.append(Target(service.channel, INFO.methods[0], [info_pb2.GetInfoRequest()]))
    return found


def _gateway(channel: grpc.Channel, store: DirectoryStore) -> dict[str, list[Message]]:
    stub = analysis_job_pb2_grpc.AnalysisJobServiceStub(channel)
    specs = [
        spec_to_proto(parse_spec("link", LINK)),
        spec_to_proto(parse_spec("traverse", {"link": LINK, "units": {"top": 3}, "seeds_per_class": 2})),
        spec_to_proto(parse_spec("quantify", {"link": LINK, "parts": "tiny/parts", "groups": [{"name": "g", "units": [1]}]})),
        spec_to_proto(parse_spec("counterfactual", {"link": LINK, "origins": ["a"], "targets": ["b", "c"], "seeds": 2})),
        spec_to_proto(parse_spec("counterfactual", {"link": LINK, "method": "descent", "runner_up": True, "image_folder": "own"})),
    ]  # fmt: skip
    names = ("kept", "ended", "cancel", *(f"delete-{n}" for n in range(5)))
    for name in names:
        stub.CreateAnalysisJob(jobs.CreateAnalysisJobRequest(spec=specs[0], request_id=name), timeout=120)
    active, ended = job_id_of("kept"), job_id_of("ended")
    entry = {"name": "tables/units.json", "sha256": "0" * 64, "size": 2, "media_type": "application/json"}
    store.create(layout.artifact(ended, entry["name"]), b"[]")
    store.create(layout.manifest(ended), f'{{"artifacts": [{entry}]}}'.replace("'", '"').encode())
    for name in names[1:]:
        if name != "cancel":
            write_terminal(store, job_id_of(name), JobState.SUCCEEDED)
    token = stub.ListAnalysisJobs(jobs.ListAnalysisJobsRequest(page_size=1), timeout=120).next_page_token
    ids = (active, ended, job_id_of("none"))

    def each(kind: Any, chosen: tuple[str, ...] = ids, **fields: Any) -> list[Message]:
        return [kind(job_id=job_id, **fields) for job_id in chosen]

    created = [
        jobs.CreateAnalysisJobRequest(spec=spec, validate_only=only) for spec in specs for only in (0, 1)
    ]
    artifact = entry["name"]
    return {
        "CreateAnalysisJob": created,
        "GetAnalysisJob": each(jobs.GetAnalysisJobRequest),
        "ListAnalysisJobs": [
            jobs.ListAnalysisJobsRequest(),
            jobs.ListAnalysisJobsRequest(page_size=1, page_token=token),
            jobs.ListAnalysisJobsRequest(states=[1, 4], kinds=["link"]),
        ],
        "WatchAnalysisJob": each(jobs.WatchAnalysisJobRequest),
        "CancelAnalysisJob": each(jobs.CancelAnalysisJobRequest, (job_id_of("cancel"), ended, ids[2])),
        "DeleteAnalysisJob": each(
            jobs.DeleteAnalysisJobRequest, (active, ids[2], *map(job_id_of, names[3:]))
        ),
        "ListArtifacts": each(jobs.ListArtifactsRequest, page_size=1),
        "GetArtifactLink": each(jobs.GetArtifactLinkRequest, artifact=artifact, lifetime_seconds=60),
        "ReadArtifact": each(jobs.ReadArtifactRequest, artifact=artifact),
        "GetCapabilities": [jobs.GetCapabilitiesRequest()],
    }


def _classifier() -> dict[str, list[Message]]:
    images = to_tensor(np.zeros((2, 16, 16, 3), np.uint8))
    features = to_tensor(np.ones((2, UNITS), np.float32))
    cotangent = to_tensor(np.ones((2, CLASSES), np.float32))
    read, head = classifier_pb2.ExtractFeaturesRequest, classifier_pb2.EvaluateHeadRequest
    by_features, by_pixels = classifier_pb2.HeadGradientRequest, classifier_pb2.ImageGradientRequest
    return {
        "ExtractFeatures": [
            read(model=CLASSIFIER, images=images, feature_maps=maps, layer=layer)
            for maps in (False, True)
            for layer in ("", "penultimate")
        ],
        "EvaluateHead": [head(model=CLASSIFIER, features=features)],
        "HeadGradient": [by_features(model=CLASSIFIER, features=features, logits_cotangent=cotangent)],
        "ImageGradient": [
            by_pixels(model=CLASSIFIER, images=images, logits_cotangent=cotangent),
            by_pixels(model=CLASSIFIER, images=images, features_cotangent=features),
        ],
    }


def _linker(channel: grpc.Channel, store: DirectoryStore) -> dict[str, list[Message]]:
    stub = linker_pb2_grpc.LinkerServiceStub(channel)
    folds = [
        stub.Accumulate(iter([_pairs(f"results/fold-{fold}", fold)]), timeout=120).statistics
        for fold in (0, 1)
    ]
    solve = linker_pb2.SolveRequest(folds=folds, penalties=[0.1, 1.0], destination="results/solution")
    solution = stub.Solve(solve, timeout=120).solution
    features = to_tensor(np.ones((2, UNITS), np.float32))
    classes = to_tensor(np.zeros(2, np.int64))
    apply = linker_pb2.ApplyRequest
    held = _held_out(store)
    none = tensor_pb2.ObjectReference(key="results/none", sha256="0" * 64)
    return {
        "Accumulate": [
            _pairs("results/again", 2),
            linker_pb2.AccumulateRequest(destination="results/other", chunk=folds[0]),
        ],
        "Solve": [solve],
        "Evaluate": [
            linker_pb2.EvaluateRequest(solution=solution, chunks=[held], resamples=10),
            linker_pb2.EvaluateRequest(solution=solution, chunks=[held, folds[0]], resamples=10),
            linker_pb2.EvaluateRequest(solution=solution, resamples=10),
        ],
        "Apply": [
            apply(solution=solution, features=features),
            apply(solution=solution, features=features, method="class_mean", classes=classes),
            apply(solution=none, features=features),
            apply(linker="0" * 64, features=features),
        ],
        "StoreLinker": [linker_pb2.StoreLinkerRequest(solution=solution, card=_CARD)],
    }


_CARD = (
    '{"description": "a", "license": "Apache-2.0", "architecture": {"layer": "penultimate"}, '
    '"classes": ["ash"], "metrics": {}}'
)


def _arrays(seed: int, count: int = 24) -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(seed)
    return {
        "features": random.standard_normal((count, UNITS)).astype(np.float32),
        "latents": random.standard_normal((count, W_DIM)).astype(np.float32),
        "classes": np.arange(count, dtype=np.int64) % 4,
        "rows": np.arange(count, dtype=np.int64) + 1000 * seed,
    }


def _held_out(store: DirectoryStore) -> tensor_pb2.ObjectReference:
    arrays = _arrays(9)
    arrays |= {"predicted": arrays["classes"], "reencoded": arrays["features"]}
    methods = ("linker", "class_mean", "nearest_neighbour", "principal_components")
    arrays |= {f"predicted_{method}": arrays["classes"] for method in methods}
    data = encode(ChunkResult(arrays))
    store.create("results/held", data)
    return tensor_pb2.ObjectReference(key="results/held", sha256=sha256(data), size=len(data))


def _pairs(destination: str, seed: int) -> linker_pb2.AccumulateRequest:
    arrays = {name: to_tensor(array) for name, array in _arrays(seed).items()}
    batch = linker_pb2.PairBatch(**arrays)
    return linker_pb2.AccumulateRequest(destination=destination, batch=batch)
