"""Runs the benchmarks and writes ``docs/benchmarks.md``: ``python -m bench [NAME...]``.

A benchmark is a module beside this one that prints one JSON object when run. The figures are kept in
``docs/benchmarks.json``, each with the machine it ran on; the page is written from all that are there, so
that one benchmark can be run again alone.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
FIGURES = ROOT / "docs" / "benchmarks.json"
PAGE = ROOT / "docs" / "benchmarks.md"
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "grpcio", "tritonclient", "celery", "pyarrow")

NO_DEVICE = 69
"""Exit status of a benchmark on a machine that lacks what it measures: `EX_UNAVAILABLE` of sysexits.h."""

_HEAD = """# Benchmarks

Written by `make bench`. One benchmark alone: `python -m bench NAME`; its figures as JSON:
`python -m bench.NAME`. Seconds depend on the machine and on what else it does; ratios are of one run.
"""


def names() -> list[str]:
    """Benchmarks that there are: modules here with a main part."""
    return sorted(
        path.stem
        for path in HERE.glob("*.py")
        if not path.stem.startswith("_") and '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    )


def machine() -> dict[str, str]:
    """What the figures depend on."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores for this process",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {number}" for name, number in packages.items()),
        "load before the run": f"{os.getloadavg()[0]:.1f}",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def run(name: str) -> dict[str, Any] | None:
    """Runs one benchmark in a process of its own.

    Returns:
        Its figures, and what they depend on; None where the machine lacks what is to be measured.

    Raises:
        subprocess.CalledProcessError: It failed; its own output says why.
    """
    before, started = machine(), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{name}"], cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True
    )
    if done.returncode == NO_DEVICE:
        return None
    done.check_returncode()
    figures = json.loads(done.stdout)
    return {"machine": before, "seconds": round(time.monotonic() - started, 1), "figures": figures}


def page(results: Mapping[str, Any]) -> str:
    """The page, in Markdown."""
    return "\n".join([_HEAD, *(_section(name, results[name]) for name in sorted(results))])


def _section(name: str, result: Mapping[str, Any]) -> str:
    about = ast.get_docstring(ast.parse((HERE / f"{name}.py").read_text(encoding="utf-8"))) or ""
    lines = [f"## {name}", "", about, ""]
    if not result:
        return "\n".join([*lines, f"Not measured: run `python -m bench {name}` where that can be.", ""])
    lines += ["| figure | value |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in _flat(result["figures"])]
    lines += ["", f"The run took {result['seconds']} s on:", ""]
    lines += [f"- {key}: {value}" for key, value in result["machine"].items()]
    return "\n".join(lines) + "\n"


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Figures by dotted path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for index, item in enumerate(value):
            yield from _flat(item, f"{path}.{index}")
    elif isinstance(value, list):
        yield path, ", ".join(_text(item) for item in value)
    else:
        yield path, _text(value)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> int:
    """Runs the named benchmarks, or all; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(names())}")
    chosen = parser.parse_args().names or names()
    if unknown := sorted(set(chosen) - set(names())):
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are: {', '.join(names())}")
    failed = []
    for name in chosen:
        print(f"[bench] {name}", file=sys.stderr, flush=True)
        try:
            result = run(name)
        except (subprocess.CalledProcessError, json.JSONDecodeError) as error:
            print(f"[bench] {name} failed: {error}", file=sys.stderr)
            failed.append(name)
            continue
        results = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
        if result is None:
            print(f"[bench] {name} is not measured here; what is known of it is kept", file=sys.stderr)
            result = results.get(name, {})
        results = {key: item for key, item in {**results, name: result}.items() if key in names()}
        FIGURES.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(page(results), encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
