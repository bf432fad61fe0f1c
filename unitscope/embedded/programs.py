"""The programs of an embedded stack, by name only: nothing here imports a service."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from unitscope.embedded import health
from unitscope.embedded.home import Endpoints, Home, code_root
from unitscope.embedded.supervised import Program
from unitscope.errors import FailedPreconditionError

NAMES = ("classifier", "linker", "generator", "gateway", "worker")
_NEEDED = ("services", "workers", "celery", "cv2", "scipy", "torch", "tritonclient")


def programs(
    home: Home, models: Path, endpoints: Endpoints, concurrency: int, extra: Mapping[str, str]
) -> list[Program]:
    """All programs, in the order they are shown in.

    Args:
        home: Where the stack lives.
        models: The folder of model packs.
        endpoints: Where each program shall answer.
        concurrency: Chunks that are worked on at once.
        extra: Variables for all programs, which win over those set here.

    Raises:
        FailedPreconditionError: A part is not installed (reason NOT_INSTALLED).
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise FailedPreconditionError(
            f"an embedded stack needs {', '.join(missing)}, which this environment lacks; install "
            "unitscope[workers,linker,models]",
            reason="NOT_INSTALLED",
            missing=", ".join(missing),
        )
    common = {**_common(home, models, endpoints), **extra}
    generator = health.generators(endpoints.generator, models)
    pool = health.processes(f"{home.mark}worker/", 1 + concurrency)
    addresses = {name: getattr(endpoints, name, "") for name in NAMES}
    commands: dict[str, tuple[str, ...]] = {
        name: (sys.executable, "-m", f"services.{name}") for name in NAMES
    }
    commands["worker"] = (sys.executable, "-m", "workers", "--concurrency", str(concurrency))
    probes = {"generator": generator, "worker": pool}
    return [
        Program(
            name=name,
            command=commands[name],
            environment={**common, "UNITSCOPE_SERVER_LISTEN": addresses[name], **_metrics(common, name)},
            probe=probes.get(name) or health.grpc_health(addresses[name]),
            address=addresses[name],
        )
        for name in NAMES
    ]


def _metrics(common: Mapping[str, str], name: str) -> dict[str, str]:
    """A port for the program's metrics, counted from the one that is asked for; none where none is."""
    variable = "UNITSCOPE_METRICS_PORT"
    first = int(common.get(variable) or os.environ.get(variable) or 0)
    return {variable: str(first + NAMES.index(name))} if first else {}


def _common(home: Home, models: Path, endpoints: Endpoints) -> dict[str, str]:
    # Generator and classifier work at the same time, on different batches. The generator is the slower
    # by far: it gets a copy a core, of one thread each, and waiting threads sleep, for pools that spin on
    # the same cores hold each other up.
    cores = len(os.sched_getaffinity(0))
    threads = "1"
    own = {
        # A chunk that is cut short is computed again, so a stack that ends need not wait for it.
        "UNITSCOPE_WORKER_SOFT_SHUTDOWN_SECONDS": "0",
        "UNITSCOPE_STORE_URL": f"directory:{home.store}",
        "UNITSCOPE_BROKER_URL": f"filesystem:{home.broker}",
        "UNITSCOPE_MODELS_ROOT": str(models),
        "UNITSCOPE_ENDPOINT_GATEWAY": endpoints.gateway,
        "UNITSCOPE_ENDPOINT_CLASSIFIER": endpoints.classifier,
        "UNITSCOPE_ENDPOINT_LINKER": endpoints.linker,
        "UNITSCOPE_ENDPOINT_GENERATOR": endpoints.generator,
        "UNITSCOPE_GENERATOR_HTTP_PORT": endpoints.generator_http.rpartition(":")[2],
        "UNITSCOPE_GENERATOR_METRICS_PORT": endpoints.generator_metrics.rpartition(":")[2],
        "PYTHONPATH": os.pathsep.join(filter(None, (str(code_root()), os.environ.get("PYTHONPATH", "")))),
        "PYTHONUNBUFFERED": "1",
    }
    shared = {
        # Counterfactuals are refined, and own images inverted, by gradients through the picture.
        "UNITSCOPE_GENERATOR_GRADIENTS": "true",
        "UNITSCOPE_GENERATOR_INSTANCES": str(min(cores, 8)),
        "UNITSCOPE_MODELS_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    return {**own, **{name: os.environ.get(name, value) for name, value in shared.items()}}
