"""The linker against scikit-learn, and its memory against the number of pairs.

`python -m bench.linker` prints one JSON object. Data are drawn in memory from a fixed seed:
correlated features, latents that depend on them linearly with noise. Both sides get the same
pairs, the same folds and the same penalties and select a penalty; ours is timed from the first
batch to the finished linker. scikit-learn computes in the type of its input, ours always in
float64, so that the float64 ratio compares like with like; the float32 one is printed beside it.
Ratios of processor time are for machines that do other work meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from services.linker.folds import FoldedStatistics
from services.linker.ridge import fit
from services.linker.sampling import assign_folds

FEATURES = 2048
LATENTS = 512
FOLDS = 5
BATCH = 500
PENALTIES = [float(10.0**power) for power in range(-2, 8)]
"""Absolute: the alphas of scikit-learn."""

Float32 = NDArray[np.float32]


def batch(index: int, rows: int = BATCH) -> tuple[Float32, Float32]:
    """Returns the pairs (rows, 2048) and (rows, 512) of one batch."""
    shared = np.random.default_rng(1)
    mixing = shared.standard_normal((256, FEATURES), dtype=np.float32) / 16
    truth = shared.standard_normal((FEATURES, LATENTS), dtype=np.float32) / 48
    noise = np.random.default_rng((2, index))
    features = noise.standard_normal((rows, 256), dtype=np.float32) @ mixing
    features += noise.standard_normal((rows, FEATURES), dtype=np.float32) / 2
    np.maximum(features, 0.0, out=features)
    latents = features @ truth + noise.standard_normal((rows, LATENTS), dtype=np.float32)
    return features.astype(np.float32, copy=False), latents.astype(np.float32, copy=False)


def dataset(pairs: int) -> tuple[Float32, Float32]:
    """Returns all pairs at once."""
    parts = [batch(index) for index in range(pairs // BATCH)]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


@dataclass(frozen=True)
class Timing:
    """Seconds by the clock and of all processor cores together, and the penalty selected."""

    seconds: float
    cpu_seconds: float
    penalty: float


def timed(select: Callable[[], float]) -> Timing:
    """Times a function that selects a penalty."""
    start, cpu = time.perf_counter(), time.process_time()
    penalty = select()
    return Timing(time.perf_counter() - start, time.process_time() - cpu, penalty)


def ours(features: Float32, latents: Float32, workers: int) -> float:
    """Accumulates and fits, so many folds at once; returns the penalty."""
    rows = np.arange(len(features))
    classes = rows % 10
    statistics = FoldedStatistics(FOLDS, FEATURES, LATENTS)
    for first in range(0, len(features), BATCH):
        part = slice(first, first + BATCH)
        statistics.update(features[part], latents[part], classes[part], rows[part])
    return fit(statistics.folds, PENALTIES, scale="absolute", workers=workers).penalty


def theirs(features: NDArray[np.floating], latents: NDArray[np.floating]) -> float:
    """Runs scikit-learn's RidgeCV on the same folds; returns the penalty."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import PredefinedSplit

    folds = PredefinedSplit(assign_folds(np.arange(len(features)), FOLDS))
    model = RidgeCV(alphas=PENALTIES, cv=folds, scoring="neg_mean_squared_error")
    return float(model.fit(features, latents).alpha_)


def stream(pairs: int) -> int:
    """Streams generated pairs into a linker; returns this process's peak memory in bytes."""
    statistics = FoldedStatistics(FOLDS, FEATURES, LATENTS)
    for index in range(pairs // BATCH):
        rows = np.arange(index * BATCH, (index + 1) * BATCH)
        statistics.update(*batch(index), rows % 10, rows)
    fit(statistics.folds, PENALTIES, scale="absolute")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak_memory(pairs: int) -> int:
    """Returns the peak memory in bytes of a fresh process that streams so many pairs."""
    command = [sys.executable, "-m", "bench.linker", "--stream", str(pairs)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(json.loads(answer.stdout)["peak_bytes"])


def compare(pairs: int) -> dict[str, Timing]:
    """Times all contestants on the same pairs."""
    features, latents = dataset(pairs)
    runs = {"ours": timed(lambda: ours(features, latents, 1))}
    runs["ours_two_folds_at_once"] = timed(lambda: ours(features, latents, 2))
    runs["sklearn_float32"] = timed(lambda: theirs(features, latents))
    wide, wide_latents = features.astype(np.float64), latents.astype(np.float64)
    runs["sklearn_float64"] = timed(lambda: theirs(wide, wide_latents))
    return runs


def measure(pairs: int) -> dict[str, object]:
    """Runs everything and returns the figures."""
    # First, while this process is small: on Linux a child's peak starts at its parent's.
    memory = {str(count): peak_memory(count) for count in (pairs, 2 * pairs)}
    runs = compare(pairs)
    best = min((runs["ours"], runs["ours_two_folds_at_once"]), key=lambda run: run.seconds)
    return {
        "pairs": pairs,
        "features": FEATURES,
        "latents": LATENTS,
        "penalties": len(PENALTIES),
        "folds": FOLDS,
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "runs": {name: asdict(run) for name, run in runs.items()},
        "ratio_float64": runs["sklearn_float64"].seconds / best.seconds,
        "ratio_float32": runs["sklearn_float32"].seconds / best.seconds,
        "ratio_float64_cpu": runs["sklearn_float64"].cpu_seconds / best.cpu_seconds,
        "ratio_float32_cpu": runs["sklearn_float32"].cpu_seconds / best.cpu_seconds,
        "peak_bytes": memory,
        "peak_ratio": memory[str(2 * pairs)] / memory[str(pairs)],
    }


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--stream", type=int, help="only stream so many pairs; print peak memory")
    arguments = parser.parse_args()
    if arguments.stream:
        result: dict[str, object] = {"peak_bytes": stream(arguments.stream)}
    else:
        result = measure(arguments.pairs)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
