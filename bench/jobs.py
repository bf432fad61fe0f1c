"""What benchmarks of whole jobs share: a linker to begin with, a job with its seconds, the command."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from unitscope.client import Client, Result
from unitscope.jobs import layout
from unitscope.jobs.chunks import decode
from unitscope.store.directory import DirectoryStore

GENERATOR = "avatars/generator"

Measure = Callable[[Path, Path, argparse.Namespace], Mapping[str, Any]]


def carried_out(client: Client, kind: str, spec: Mapping[str, Any]) -> tuple[str, Result, float]:
    """Carries a job out; its id, its result, and the seconds from submit to its end."""
    start = time.perf_counter()
    job = client.submit(kind, dict(spec))
    result = job.result()
    return job.id, result, time.perf_counter() - start


def link_spec(classifier: str, samples: int, heldout: int = 20, **more: Any) -> dict[str, Any]:
    """The spec of a job that links a classifier to the avatars' generator.

    Args:
        classifier: Its name.
        samples: Pairs a class that the linker is fitted on.
        heldout: Pairs a class that it is judged by.
        more: Further fields.
    """
    sizes = {"samples_per_class": samples, "heldout_per_class": heldout}
    return {"classifier": classifier, "generator": GENERATOR, **sizes, **more}


def fit_linker(client: Client, store: DirectoryStore, link: Mapping[str, Any]) -> str:
    """Fits a linker; its digest."""
    job, _, _ = carried_out(client, "link", link)
    (chunk,) = store.objects(layout.stage(job, "evaluate"))
    return str(decode(store.get(chunk.key)).record["digest"])


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser of the options that all such benchmarks have."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--models", type=Path, default=Path("models"), help="the registry's folder")
    parser.add_argument("--home", type=Path, help="a folder to work in, kept; else a temporary one")
    return parser


def print_figures(measure: Measure, options: argparse.Namespace) -> None:
    """Measures with models, home and options, and prints the figures as one JSON object."""
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(options.models, options.home or Path(folder), options)
    print(json.dumps(figures, indent=2))
