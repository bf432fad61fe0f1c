"""Jobs amid kills and outages of all real parts: ``make chaos``, or ``python -m bench.chaos --help``.

An S3 server, RabbitMQ, Triton, every service and the workers run; a job is carried out in peace, then
jobs are while random processes are killed and store, broker and Triton go away for a while. The command
ends with 1 where a table differs by a byte, or where anything is left behind. It is not among the
benchmarks of ``make bench``: it has no figures to compare, only a verdict.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.chaos.laboratory import Laboratory, Misfortune, clean_shared_memory, missing
from tests.support.tiny_pack import CLASSIFIER, GENERATOR, write_tiny_pack

SPEC = {
    "link": {
        "classifier": CLASSIFIER,
        "generator": GENERATOR,
        "samples_per_class": 1000,
        "heldout_per_class": 50,
        "folds": 2,
    },
    "units": {"top": 8},
    "seeds_per_class": 8,
    "steps": 7,
}


def trial(folder: Path, misfortune: Misfortune) -> dict[str, Any]:
    """The figures of a trial; ``passed`` says whether all is as it should be."""
    clean_shared_memory()
    lab = Laboratory(folder, write_tiny_pack(folder / "models"))
    with lab:
        calm = lab.run("traverse", SPEC)
        report = lab.trial(
            "traverse", SPEC, misfortune, lambda line: print(line, file=sys.stderr, flush=True)
        )
        left = lab.leftovers(report.jobs)
        lab.settle()
    left |= {"processes": [str(pid) for pid in lab.processes()], "shared memory": lab.shared_memory()}
    differing = [
        f"{job}: {name}"
        for job, found in zip(report.jobs, report.tables, strict=True)
        for name in calm
        if found.get(name) != calm[name]
    ]
    return {
        "passed": not differing and not any(left.values()),
        "seed": misfortune.seed,
        "seconds": round(report.seconds, 1),
        "jobs": len(report.jobs),
        "misfortunes": sum(report.struck.values()),
        "struck": dict(sorted(report.struck.items())),
        "tables": sorted(calm),
        "tables that differ": differing,
        "left behind": left,
    }


def main() -> int:
    """Runs a trial as the command line asks; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.chaos", description="Runs jobs amid kills and outages of all real parts."
    )
    parser.add_argument("--kills", type=int, default=50, help="processes to kill (default: 50)")
    parser.add_argument("--outages", type=int, default=10, help="outages to have (default: 10)")
    parser.add_argument(
        "--seed", type=int, default=1, help="decides about order, victims, pauses (default: 1)"
    )
    parser.add_argument("--keep", type=Path, help="an empty folder for logs and data, which stay there")
    options = parser.parse_args()
    if lacks := missing():
        print(f"the trial needs {lacks}; `make setup-test` brings both", file=sys.stderr)
        return 2
    misfortune = Misfortune(options.kills, options.outages, options.seed, pause=(0.5, 3.5))
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        figures = trial(options.keep.absolute(), misfortune)
    else:
        with tempfile.TemporaryDirectory(prefix="unitscope-chaos-") as folder:
            figures = trial(Path(folder), misfortune)
    print(json.dumps(figures, indent=1))
    return 0 if figures["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
