"""The fast form against the plain form, and Triton against a call in this process.

`python -m bench.generator` prints one JSON object. All contestants render the same eight w in turns,
round after round, so that other work on the machine meets all of them alike; figures are medians over
the rounds, ratios medians of the ratios within a round. The generator is the pack's; where it was not
made yet, its architecture with random weights, whose speed is the same.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tritonclient.grpc as v2
from safetensors.torch import save_file

from packs.avatars.generator import spec
from services.generator.backend import BATCH, GeneratorBackend
from services.generator.network import StyleGanXl
from services.generator.v2_program import make_server
from tests.support.generator import generator_program
from unitscope.models.cards import WEIGHTS_FILE, ModelCard, file_entry
from unitscope.models.registry import Registry
from unitscope.models.v2 import synthesis_model
from unitscope.settings import ModelSettings, ServerSettings

GENERATOR = "avatars/generator"


def registry(models: Path, scratch: Path) -> Registry:
    """The shipped models, or a stand-in for the pack's generator."""
    shipped = Registry(models)
    if (shipped.folder(GENERATOR) / WEIGHTS_FILE).exists():
        return shipped
    torch.manual_seed(0)
    folder = Registry(scratch).folder(GENERATOR)
    folder.mkdir(parents=True)
    save_file(StyleGanXl(spec()).state_dict(), folder / WEIGHTS_FILE)
    ModelCard(
        name=GENERATOR,
        kind="generator",
        description="random weights, for measuring speed",
        license="Apache-2.0",
        architecture={"name": "stylegan-xl", "spec": spec().to_dict()},
        files={WEIGHTS_FILE: file_entry(folder / WEIGHTS_FILE)},
    ).save(folder)
    return Registry(scratch)


def over_v2(address: str, model: str, w: np.ndarray[Any, Any]) -> Callable[[], Any]:
    """A call through tritonclient, from array to array."""
    client = v2.InferenceServerClient(address)

    def call() -> Any:
        tensor = v2.InferInput("w", list(w.shape), "FP32")
        tensor.set_data_from_numpy(w)
        wanted = [v2.InferRequestedOutput("image")]
        return client.infer(model, [tensor], outputs=wanted).as_numpy("image")

    return call


def in_turns(contestants: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every contestant in every round, after two rounds of warming up."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for index in range(rounds + 2):
        for name, call in contestants.items():
            start = time.perf_counter()
            call()
            if index >= 2:
                found[name].append(time.perf_counter() - start)
    return found


def ratio(seconds: dict[str, list[float]], slow: str, fast: str) -> float:
    """The median over the rounds of one contestant's time over another's."""
    pairs = zip(seconds[slow], seconds[fast], strict=True)
    return statistics.median(a / b for a, b in pairs)


def measure(models: Path, rounds: int) -> dict[str, object]:
    """Runs everything and returns the figures."""
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        found = registry(models, Path(scratch))
        card = found.resolve(GENERATOR)
        backend = GeneratorBackend.load(card, found.verified(card))
        plain = GeneratorBackend(backend.network, form="plain")
        shape = (BATCH, 1, backend.spec.w_dim)
        w: np.ndarray[Any, Any] = np.random.default_rng(0).standard_normal(shape, np.float32)
        threads = {"UNITSCOPE_MODELS_THREADS": str(torch.get_num_threads())}
        triton = stack.enter_context(generator_program(found.root, "triton", **threads))
        settings = ServerSettings(listen="127.0.0.1:0", drain_seconds=0)
        server = make_server([card], ModelSettings(root=found.root), settings)
        stack.callback(server.stop)
        name = synthesis_model(card)
        calls: dict[str, Callable[[], Any]] = {
            "in_process": lambda: backend.render(w),
            "triton": over_v2(triton.address, name, w),
            "v2": over_v2(server.start(), name, w),
            "plain": lambda: plain.render(w),
        }
        same = all(np.array_equal(calls[key](), backend.render(w)) for key in ("triton", "v2"))
        seconds = in_turns(calls, rounds)
        return {
            "generator": card.name,
            "resolution": backend.spec.resolution,
            "batch": BATCH,
            "rounds": rounds,
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
            "load_average": os.getloadavg()[0],
            "pictures_equal": same,
            "seconds": {key: statistics.median(values) for key, values in seconds.items()},
            "images_per_second": BATCH / statistics.median(seconds["in_process"]),
            "plain_over_fast": ratio(seconds, "plain", "in_process"),
            "triton_over_in_process": ratio(seconds, "triton", "in_process"),
            "v2_over_in_process": ratio(seconds, "v2", "in_process"),
        }


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"), help="the registry's folder")
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.models, arguments.rounds), indent=2))


if __name__ == "__main__":
    main()
