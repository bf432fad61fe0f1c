"""What a running program tells of itself: logs, Prometheus metrics, OpenTelemetry traces.

`begin` sets all three up as the settings say; a program calls it first. Metrics and traces need the extra
``signals`` where they are asked for, and cost nothing where they are not. Which program emits what is in
docs/signals.md, and in `unitscope.signals.catalogue`.
"""

from __future__ import annotations

from unitscope.settings import LogSettings, MetricsSettings, TracesSettings
from unitscope.signals import logs, metrics, traces

_begun = False


def begun() -> bool:
    """Whether this process is a program of ours, rather than somebody's script."""
    return _begun


def begin(program: str, *, pool: bool = False, serves: bool = True) -> None:
    """Sets logs, metrics and traces of this process up.

    Args:
        program: ``gateway``, ``classifier``, ``linker``, ``generator`` or ``worker``.
        pool: Whether the program works in processes of a pool, which then call `join`.
        serves: False for a program that only checks itself, perhaps beside one that serves: it logs.

    Raises:
        FailedPreconditionError: Metrics or traces are asked for and not installed (NOT_INSTALLED).
        InternalError: The port of the metrics is taken (ADDRESS_IN_USE).
        InvalidArgumentError: The endpoint of the traces cannot be used (INVALID_TRACES_ENDPOINT).
    """
    _configure(program)
    if not serves:
        return
    metrics.begin(program, MetricsSettings(), pool)
    traces.begin(program, TracesSettings())


def join(program: str) -> None:
    """Like `begin` for a process of the program's pool: its metrics are read from its parent."""
    _configure(program)
    metrics.join(program)
    traces.begin(program, TracesSettings())


def end() -> None:
    """Stops serving metrics, and sends the spans that wait."""
    global _begun
    metrics.end()
    traces.end()
    _begun = False


def _configure(program: str) -> None:
    global _begun
    logs.configure(program, LogSettings())
    _begun = True
