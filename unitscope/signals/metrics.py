"""Numbers that a program counts, for Prometheus to read over HTTP.

Instruments are declared once (`unitscope.signals.catalogue`) and used anywhere; those of a program that
keeps no metrics do nothing. Labels have few values, known beforehand: no ids of jobs or chunks.

A program with a pool of processes keeps its numbers in files that its processes share, in a folder of
its own below the temporary folder; the parent adds them up when it is asked.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from unitscope.errors import FailedPreconditionError, InternalError
from unitscope.settings import MetricsSettings
from unitscope.signals import catalogue
from unitscope.signals.instruments import INSTRUMENTS
from unitscope.version import package_version

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus_client keeps numbers of many processes; read when it is first imported."""
_PREFIX = "unitscope-metrics"

_server: Any = None
_folder: Path | None = None


def on() -> bool:
    """Whether this process keeps metrics."""
    return any(instrument.on for instrument in INSTRUMENTS.values())


def begin(program: str, settings: MetricsSettings, pool: bool = False) -> None:
    """Begins to keep the program's metrics, and opens the port that they are read from.

    Raises:
        FailedPreconditionError: prometheus_client is missing (reason NOT_INSTALLED).
        InternalError: The port is taken (reason ADDRESS_IN_USE).
    """
    global _server, _folder
    if not settings.port:
        return
    if pool:
        # Named by the port, which nobody else has: what an earlier run left can be told by it.
        prefix = f"{_PREFIX}-{settings.port}-"
        left = Path(tempfile.gettempdir()).glob(f"{prefix}*")
        for path in left:
            if path.stat().st_uid == os.getuid():
                shutil.rmtree(path, ignore_errors=True)
        _folder = Path(tempfile.mkdtemp(prefix=prefix))
        os.environ[_FOLDER] = str(_folder)
    client = _client()
    registry = client.CollectorRegistry()
    _open(program, registry)
    seen = registry
    if _folder is not None:
        seen = client.CollectorRegistry()
        seen.register(_PoolCollector(seen, _folder))
    else:
        client.ProcessCollector(registry=seen)
        client.GCCollector(registry=seen)
    try:
        _server, _ = client.start_http_server(settings.port, settings.address, seen)
    except OSError as error:
        end()
        raise InternalError(
            f"metrics cannot be served at {settings.address}:{settings.port} ({error.strerror}); "
            "set UNITSCOPE_METRICS_PORT to a free port, or to 0 for none",
            reason="ADDRESS_IN_USE",
        ) from error


def join(program: str) -> None:
    """Begins to keep metrics in a process of a pool whose parent has begun; nothing where it has not."""
    if os.environ.get(_FOLDER) and not on():
        _open(program, _client().CollectorRegistry())


def end() -> None:
    """Closes the port, and keeps metrics no more."""
    global _server, _folder
    if _server is not None:
        _server.shutdown()
        _server.server_close()
    for instrument in INSTRUMENTS.values():
        instrument.close()
    if _folder is not None:
        shutil.rmtree(_folder, ignore_errors=True)
        os.environ.pop(_FOLDER, None)
    _server = _folder = None


def _client() -> Any:
    try:
        import prometheus_client
    except ImportError as error:
        raise FailedPreconditionError(
            "UNITSCOPE_METRICS_PORT is set, but prometheus-client is not installed; install "
            "unitscope[signals], or set the port to 0",
            reason="NOT_INSTALLED",
            missing="prometheus-client",
        ) from error
    client: Any = prometheus_client
    client.disable_created_metrics()
    return client


def _open(program: str, registry: Any) -> None:
    for instrument in INSTRUMENTS.values():
        if program in instrument.programs:
            instrument.open(registry)
    catalogue.INFO.set(1, program=program, version=package_version())


class _PoolCollector:
    """Adds up what the processes of a pool have counted; those that are gone hold nothing any more."""

    def __init__(self, registry: Any, folder: Path) -> None:
        from prometheus_client import multiprocess

        self._multiprocess: Any = multiprocess
        self._folder = folder
        self._all = self._multiprocess.MultiProcessCollector(None, str(folder))

    def collect(self) -> Any:
        for path in self._folder.glob("gauge_live*_*.db"):
            pid = path.stem.rpartition("_")[2]
            if not Path(f"/proc/{pid}").exists():
                self._multiprocess.mark_process_dead(pid, str(self._folder))
        return self._all.collect()
