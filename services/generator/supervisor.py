"""Keeps a Triton rendering: starts it, probes it, starts it anew when it fails."""

from __future__ import annotations

import logging
import threading
import time

from services.generator.probe import Probe
from services.generator.settings import GeneratorSettings
from services.generator.triton_server import Triton
from unitscope.errors import UnavailableError
from unitscope.signals import catalogue

log = logging.getLogger(__name__)

MAX_FAILED_STARTS = 3
"""Starts in a row that may fail before the supervisor gives up, and leaves it to its own supervisor."""

DRAIN_SECONDS = 3.0
"""How long running inferences may finish when the server is stopped."""


def supervise(triton: Triton, probe: Probe, settings: GeneratorSettings, ended: threading.Event) -> None:
    """Runs Triton until `ended` is set. Call from the main thread.

    Raises:
        UnavailableError: Triton failed to start three times in a row (reason TRITON_START_FAILED).
    """
    failed = 0
    try:
        while not ended.is_set():
            triton.start()
            catalogue.TRITON_STARTS.add()
            ready = _wait_ready(triton, probe, settings.start_seconds, ended)
            rendered = ready and _watch(triton, probe, settings.probe_seconds, ended)
            # What failed is past finishing its calls.
            triton.stop(patience=DRAIN_SECONDS if ended.is_set() else 0)
            failed = 0 if rendered or ended.is_set() else failed + 1
            if failed:
                log.error("triton did not come to render (%d of %d)", failed, MAX_FAILED_STARTS)
            if failed == MAX_FAILED_STARTS:
                raise UnavailableError(
                    f"triton failed to start {failed} times; its log is above. Is the port free?",
                    reason="TRITON_START_FAILED",
                )
    finally:
        triton.close()


def _wait_ready(triton: Triton, probe: Probe, patience: float, ended: threading.Event) -> bool:
    """Whether Triton says that it is ready within the time."""
    deadline = time.monotonic() + patience
    while triton.exit_code is None and time.monotonic() < deadline and not ended.is_set():
        if probe.ready():
            return True
        ended.wait(0.1)
    return False


def _watch(triton: Triton, probe: Probe, pause: float, ended: threading.Event) -> bool:
    """Probes until Triton ended, or two probes in a row failed, or `ended` is set.

    Returns:
        Whether it ever rendered.
    """
    failed, rendered = 0, False
    while failed < 2 and not ended.is_set():
        if triton.exit_code is not None:
            log.error("triton ended with code %s", triton.exit_code)
            break
        try:
            probe.check()
            if not rendered:
                log.info("triton renders: %s", ", ".join(triton.models))
            failed, rendered = 0, True
        except UnavailableError as error:
            failed += 1
            log.warning("%s (%d of 2)", error.message, failed)
        # After a failure, look again soon: jobs are waiting.
        ended.wait(0.2 if failed else pause)
    return rendered
