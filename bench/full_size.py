"""The full 256-pixel network, 233 M parameters, random weights: the plain form against the fast one.

`python -m bench.full_size` prints one JSON object. Each form renders the same picture in a process of its
own, whose peak memory is stated; they take turns, so that other work on the machine meets both alike. Both
run as the service does: float32, one row, memory in pages of 2 MiB (`THP_MEM_ALLOC_ENABLE=1`), which helps
the plain form more; `--small-pages` leaves that out. The fast form's first picture includes what it prepares.
`floor_seconds` is what its convolutions alone take, one after the other, without anything between them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

import numpy as np

FORMS = ("plain", "fast")


def render(form: str, name: str, folder: Path) -> None:
    """The child: renders once for every line read, and answers each with a line of figures."""
    import torch
    import torch.nn.functional as F  # noqa: N812

    from services.generator.backend import GeneratorBackend
    from services.generator.configurations import official_spec
    from services.generator.network import StyleGanXl

    torch.manual_seed(0)
    backend = GeneratorBackend(StyleGanXl(official_spec(name)), form="plain" if form == "plain" else "fast")
    loaded = _peak()
    w = np.random.default_rng(0).standard_normal((1, backend.spec.w_dim)).astype(np.float32)
    for line in sys.stdin:
        start, cpu = time.perf_counter(), time.process_time()
        if line.strip() == "floor":
            with torch.inference_mode():
                for layer in backend.network.synthesis.layers():
                    x = torch.ones(1, layer.spec.in_channels, layer.spec.in_size, layer.spec.in_size)
                    F.conv2d(x, layer.weight, padding=layer.spec.conv_kernel - 1)
        else:
            pictures = backend.render_float_tensors(torch.from_numpy(w))
            np.save(folder / f"{form}.npy", pictures.numpy())
        figures = {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu,
            "peak_bytes": _peak(),
            "loaded_bytes": loaded,
            "threads": torch.get_num_threads(),
            "rows": backend.execution.batch,
        }
        print(json.dumps(figures), flush=True)


def measure(name: str, rounds: int, huge_pages: bool) -> dict[str, Any]:
    """Lets both forms render in turns and returns the figures."""
    environment = {**os.environ, "THP_MEM_ALLOC_ENABLE": "1" if huge_pages else "0"}
    with tempfile.TemporaryDirectory() as scratch:
        children = {
            form: subprocess.Popen(
                [sys.executable, "-m", "bench.full_size", "--child", form, scratch, "--name", name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            for form in FORMS
        }
        runs: dict[str, list[dict[str, float]]] = {form: [] for form in FORMS}
        for _ in range(rounds):
            for form, child in children.items():
                runs[form].append(_ask(child, "picture"))
        floor = _ask(children["fast"], "floor")
        for child in children.values():
            child.communicate()
        plain, fast = (np.load(Path(scratch) / f"{form}.npy") for form in FORMS)
    return _figures(name, runs, floor, float(np.abs(plain - fast).max()), float(np.abs(plain).max()))


def _figures(
    name: str,
    runs: dict[str, list[dict[str, float]]],
    floor: dict[str, float],
    difference: float,
    largest: float,
) -> dict[str, Any]:
    pairs = list(zip(runs["plain"], runs["fast"], strict=True))
    last = {form: found[-1] for form, found in runs.items()}
    return {
        "network": name,
        "rounds": len(pairs),
        "threads": last["fast"]["threads"],
        "load_average": os.getloadavg()[0],
        "seconds": {form: [run["seconds"] for run in found] for form, found in runs.items()},
        "cpu_seconds": {form: [run["cpu_seconds"] for run in found] for form, found in runs.items()},
        "floor_seconds": floor["seconds"],
        "floor_cpu_seconds": floor["cpu_seconds"],
        "plain_over_fast": statistics.median(a["seconds"] / b["seconds"] for a, b in pairs),
        "plain_over_fast_cpu": statistics.median(a["cpu_seconds"] / b["cpu_seconds"] for a, b in pairs),
        "peak_gigabytes": {form: run["peak_bytes"] / 1e9 for form, run in last.items()},
        "loaded_gigabytes": {form: run["loaded_bytes"] / 1e9 for form, run in last.items()},
        "largest_difference_in_levels": difference * 127.5,
        "largest_difference_over_largest_value": difference / largest,
    }


def _ask(child: subprocess.Popen[str], what: str) -> dict[str, float]:
    """One line to the child, and its answer."""
    written, read = child.stdin, child.stdout
    assert written is not None, "opened as pipes"
    assert read is not None, "opened as pipes"
    return _exchange(written, read, what)


def _exchange(written: IO[str], read: IO[str], what: str) -> dict[str, float]:
    print(what, file=written, flush=True)
    line = read.readline()
    if not line:
        raise RuntimeError("the process that renders ended; its own output says why")
    found: dict[str, float] = json.loads(line)
    return found


def _peak() -> int:
    """Peak resident memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="imagenet256", help="an official configuration")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--small-pages", action="store_true", help="memory in pages of 4 KiB")
    parser.add_argument("--child", nargs=2, metavar=("FORM", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        render(arguments.child[0], arguments.name, Path(arguments.child[1]))
    else:
        found = measure(arguments.name, arguments.rounds, not arguments.small_pages)
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
