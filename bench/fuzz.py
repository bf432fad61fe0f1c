"""Mutated requests against every method of gateway, classifier and linker, over real channels.

`python -m bench.fuzz` prints one JSON object and fails where a server ended, answered INTERNAL or without
a reason, or wrote a traceback. The requests depend on the seed alone; most are refused, which is what they
are for. Memory is each server's resident set; its growth is that from the first tenth of its requests to
the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support.fuzz_targets import Running, running, targets
from tests.support.fuzzing import Target, fuzz
from tests.support.tiny_pack import write_tiny_pack
from unitscope.store.directory import DirectoryStore


def attack(service: Running, chosen: list[Target], count: int, seed: int) -> dict[str, Any]:
    began = time.monotonic()
    findings: list[str] = []
    methods: dict[str, Any] = {}
    for target in chosen:
        findings += fuzz(target, max(1, count // 10), seed).findings
    before = service.memory
    for target in chosen:
        report = fuzz(target, count, seed + 1)
        print(f"[fuzz] {target.name}: {report.sent}", file=sys.stderr, flush=True)
        findings += report.findings
        methods[target.method.name] = dict(report.statuses.most_common())
    alive = service.process.poll() is None
    findings += [] if alive else [f"{service.name} ended with {service.process.returncode}"]
    findings += service.defects()
    return {
        "methods": methods,
        "requests": (count + max(1, count // 10)) * len(chosen),
        "requests a second": round(len(chosen) * count * 1.1 / (time.monotonic() - began), 1),
        "memory before in MiB": round(before, 1),
        "growth in MiB": round(service.memory - before, 1) if alive else None,
        "findings": len(findings),
        "first findings": findings[:20],
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000, help="a method; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--service", action="append", choices=("gateway", "classifier", "linker"))
    parser.add_argument("--method", help="only this method, e.g. Apply")
    options = parser.parse_args()
    names = tuple(options.service or ("gateway", "classifier", "linker"))
    with tempfile.TemporaryDirectory(prefix="unitscope-fuzz-") as name:
        folder = Path(name)
        models = write_tiny_pack(folder / "models")
        with running(folder, models, names) as services:
            every = targets(services, DirectoryStore(folder / "store"))
            figures = {}
            for service in services.values():
                chosen = [t for t in every if t.channel is service.channel]
                if options.method:
                    chosen = [t for t in chosen if t.method.name == options.method]
                figures[service.name] = attack(service, chosen, options.requests, options.seed)
    print(json.dumps(figures, indent=1))
    return int(any(figure["findings"] for figure in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
