"""Importing an official checkpoint of the 256-pixel network: time, and memory as a multiple of the file.

`python -m bench.importing` prints one JSON object. The file has the layout of official checkpoints and random
weights; it is written by our own code in one process and imported in another, onto the same disk. The import
reads, checks, converts, digests and writes; the peak is that of its whole process, libraries included.
`--both` stores the network as `G` as well, as training checkpoints do: twice the file, of which half is read.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def write(path: Path, name: str, both: bool) -> None:
    """The first child: writes a checkpoint."""
    import numpy as np
    import torch

    from services.generator.configurations import official_spec, tensor_shapes
    from tests.services.generator.importing import official
    from tests.services.generator.importing.pickles import dump

    spec, rng = official_spec(name), np.random.default_rng(0)
    weights = {
        key: torch.ones(shape)
        if key.endswith("magnitude_ema")
        else torch.from_numpy(rng.standard_normal(shape, np.float32))
        for key, shape in tensor_shapes(spec).items()
    }
    values = spec.to_dict()
    # Canvases are pairs there.
    layers = [
        {**layer, "in_size": [layer["in_size"]] * 2, "out_size": [layer["out_size"]] * 2}
        for layer in values["layers"]
    ]
    published = {
        "resolution": spec.resolution,
        "num_ws": spec.num_ws,
        "z_dim": spec.z_dim,
        "w_dim": spec.w_dim,
        "c_dim": spec.num_classes,
        "output_scale": spec.output_scale,
        "input": {**values["input"], "size": [spec.input.size] * 2},
        "layers": layers,
    }
    options = official.Options()
    content = {"D": official.discriminator(options)}
    for key in ("G", "G_ema") if both else ("G_ema",):
        state = official.module_state(weights, "", options)
        state["_modules"] = {
            "synthesis": official.synthesis_network(weights, published, options),
            "mapping": official.mapping_network(weights, published, options),
        }
        content[key] = official.persistent("SuperresGenerator", state)
    path.write_bytes(dump(content, options.protocol))


def read(path: Path, root: Path) -> dict[str, Any]:
    """The second child: imports it."""
    from services.generator.importing.importer import import_stylegan_xl

    before, size = _peak(), path.stat().st_size
    start, cpu = time.perf_counter(), time.process_time()
    card = import_stylegan_xl(path, root, name="bench/imported")
    seconds, cpu_seconds, peak = time.perf_counter() - start, time.process_time() - cpu, _peak()
    return {
        "file_gigabytes": size / 1e9,
        "written_gigabytes": sum(entry.size for entry in card.files.values()) / 1e9,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_gigabytes": peak / 1e9,
        "peak_before_gigabytes": before / 1e9,
        "peak_over_file": peak / size,
        "parameters": card.metrics.get("parameters"),
    }


def measure(name: str, both: bool) -> dict[str, Any]:
    """Writes, imports and returns the figures."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"{name}.pkl"
        _child("--write", str(path), "--name", name, *(["--both"] if both else []))
        load = os.getloadavg()[0]
        found = json.loads(_child("--read", str(path)))
    return {"network": name, "load_average": load, **found}


def _child(*arguments: str) -> str:
    command = [sys.executable, "-m", "bench.importing", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _peak() -> int:
    """Peak resident memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="imagenet256", help="an official configuration")
    parser.add_argument("--both", action="store_true", help="store the network twice, as G and G_ema")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        write(arguments.write, arguments.name, arguments.both)
    elif arguments.read:
        print(json.dumps(read(arguments.read, arguments.read.parent / "models")))
    else:
        print(json.dumps(measure(arguments.name, arguments.both), indent=2))


if __name__ == "__main__":
    main()
