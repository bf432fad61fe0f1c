"""Rendering on a GPU: images a second, share of the chip's dense peak, first image, precisions.

`python -m bench.gpu` prints one JSON object; without a GPU it says that it needs one and measures nothing.
The full ImageNet networks of 64, 128 and 256 pixels run with random weights, whose speed is the same, through
the class that the service runs, in fixed batches recorded as CUDA graphs. Figures are medians over rounds,
from w in the machine's memory to uint8 pictures there.

Shares are of the multiplications of the convolutions alone (`convolution_macs`, two operations each), the
least that a picture takes, over the peak of dense bfloat16 of the chip; `--peak-tflops` states it for a chip
that is not in the table here. What precision changes is told by pictures of the shipped avatars' generator
against those in float32, and by the features that the shipped classifier makes of both.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from services.classifier.pool import Pool
from services.generator.backend import GeneratorBackend
from services.generator.configurations import convolution_macs, official_spec
from services.generator.execution import Execution, plan_execution
from services.generator.network import StyleGanXl
from services.generator.settings import Precision
from unitscope.errors import UnavailableError
from unitscope.models.registry import Registry

RESOLUTIONS = (64, 128, 256)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "float16")
GENERATOR, CLASSIFIER = "avatars/generator", "avatars/clean"

PEAK_TFLOPS = {
    "H200 NVL": 835.5,
    "H200": 989.4,
    "H100 NVL": 835.5,
    "H100 PCIe": 756.0,
    "H100": 989.4,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10": 125.0,
}
"""Dense bfloat16 by part of the device's name, the first that fits; half of what is stated "with sparsity".
Source: the data sheets of NVIDIA's products of these names (H100 and H200: SXM unless they say
more)."""


def peak_tflops(device_name: str, stated: float = 0.0) -> float | None:
    """The chip's dense bfloat16 peak in 1e12 operations a second; None where nobody states it."""
    if stated > 0:
        return stated
    words = device_name.replace("-", " ").split()
    for part, peak in PEAK_TFLOPS.items():
        if all(word in words for word in part.split()):
            return peak
    return None


def decibels(difference: np.ndarray[Any, Any]) -> float | None:
    """PSNR of pictures of 255 levels whose difference is given; None where there is none."""
    error = float(np.mean(np.square(difference, dtype=np.float64)))
    return None if error == 0 else 10 * float(np.log10(255**2 / error))


def difference(pictures: dict[str, Any], features: dict[str, Any], precision: str) -> dict[str, float | None]:
    """What a precision changes of pictures and features in float32.

    Args:
        pictures: By precision, uint8 `(batch, height, width, 3)`.
        features: By precision, float32 `(batch, units)`.
        precision: Which.
    """
    levels = pictures[precision].astype(np.float64) - pictures["float32"]
    units = features[precision].astype(np.float64) - features["float32"]
    spread = features["float32"].std(axis=0)
    return {
        "largest_level": float(np.abs(levels).max()),
        "mean_level": float(np.abs(levels).mean()),
        "psnr_decibels": decibels(levels),
        "features_largest_over_spread": float((np.abs(units) / np.maximum(spread, 1e-6)).max()),
        "features_relative": float(np.linalg.norm(units) / np.linalg.norm(features["float32"])),
    }


def speed(network: StyleGanXl, planned: Execution, rounds: int, peak: float | None) -> dict[str, Any]:
    """Images a second of one network, batch size and precision."""
    backend = GeneratorBackend(network, execution=planned)
    w = np.random.default_rng(0).standard_normal((planned.batch, backend.spec.w_dim)).astype(np.float32)
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    backend.render(w)
    first, seconds = time.perf_counter() - start, []
    backend.render(w)
    for _ in range(rounds):
        start = time.perf_counter()
        backend.render(w)
        seconds.append(time.perf_counter() - start)
    per_second = planned.batch / statistics.median(seconds)
    operations = 2e-12 * convolution_macs(backend.spec) * per_second
    return {
        "images_per_second": per_second,
        "share_of_peak": None if peak is None else operations / peak,
        "first_batch_seconds": first,
        "peak_gigabytes": torch.cuda.max_memory_allocated() / 1e9,
    }


def speeds(resolution: int, rounds: int, peak: float | None, compiled: bool) -> dict[str, Any]:
    """`speed` of all precisions and batch sizes; what does not fit the memory says so."""
    torch.manual_seed(0)
    network = StyleGanXl(official_spec(f"imagenet{resolution}"))
    found: dict[str, Any] = {}
    for precision in PRECISIONS:
        for batch in BATCHES:
            planned = plan_execution(network.spec, "cuda", precision, compiled)
            planned = dataclasses.replace(planned, batch=batch)
            try:
                figures = speed(network, planned, rounds, peak)
            except torch.OutOfMemoryError:
                figures = {"images_per_second": "does not fit"}
            found.setdefault(precision, {})[str(batch)] = figures
            gc.collect()
            torch.cuda.empty_cache()
    return found


def precisions(models: Path) -> dict[str, Any]:
    """What each precision changes of the avatars, in pictures and in features."""
    registry = Registry(models)
    card = registry.resolve(GENERATOR, "generator")
    classifier = Pool(registry).get(CLASSIFIER)
    pictures: dict[str, Any] = {}
    features: dict[str, Any] = {}
    for precision in PRECISIONS:
        backend = GeneratorBackend.load(card, registry.verified(card), "cuda", precision=precision)
        z = np.random.default_rng(0).standard_normal((256, backend.spec.z_dim)).astype(np.float32)
        w = backend.map(z, np.arange(256) % backend.spec.num_classes, 0.7)
        pictures[precision] = backend.render(w)
        features[precision] = classifier.read(pictures[precision]).features
    return {precision: difference(pictures, features, precision) for precision in PRECISIONS[1:]}


def measure(models: Path, rounds: int, stated: float, compiled: bool) -> dict[str, Any]:
    """Runs everything.

    Raises:
        UnavailableError: There is no GPU (reason NO_GPU).
    """
    if not torch.cuda.is_available():
        raise UnavailableError(
            "this benchmark needs a GPU that torch can use, and there is none here; nothing was measured",
            reason="NO_GPU",
        )
    name = torch.cuda.get_device_name()
    peak = peak_tflops(name, stated)
    return {
        "device": name,
        "peak_tflops_bfloat16": peak,
        "rounds": rounds,
        "compiled": compiled,
        "pixels": {str(edge): speeds(edge, rounds, peak, compiled) for edge in RESOLUTIONS},
        "against_float32": precisions(models),
    }


NO_DEVICE = 69
"""Exit status where the machine lacks what is measured: `EX_UNAVAILABLE` of sysexits.h."""


def main() -> int:
    """Prints the figures as JSON; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, default=Path("models"), help="the registry's folder")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--peak-tflops", type=float, default=0.0, help="dense bfloat16 peak of the chip")
    parser.add_argument("--compile", action="store_true", help="with torch.compile; minutes a network")
    given = parser.parse_args()
    try:
        found = measure(given.models, given.rounds, given.peak_tflops, given.compile)
    except UnavailableError as error:
        print(error.message, file=sys.stderr)
        return NO_DEVICE
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
