"""Logs of all programs: one line a message, for people or as JSON, with the ids of what it is about.

Whoever works on a job binds its id; every message below it carries it, in whatever module::

    with logs.bound(job=job_id, chunk="links/3"):
        log.warning("the classifier does not answer")
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType

from unitscope.settings import LogSettings

METADATA_KEY = "unitscope-context"
"""Of gRPC metadata: ids of what a call is for, as ``job=...;chunk=...``."""

FIELDS = ("job", "chunk")
_LIBRARIES = ("celery", "kombu", "amqp", "minio", "urllib3", "opentelemetry")
"""Tell at INFO what nobody needs."""
_WORD = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?")
_NOTHING: Mapping[str, str] = MappingProxyType({})
_bound: ContextVar[Mapping[str, str]] = ContextVar("unitscope_bound", default=_NOTHING)


def configure(program: str, settings: LogSettings) -> None:
    """Lets this process log to standard error, unless it logs already."""
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(program) if settings.format == "json" else TextFormatter())
    root.addHandler(handler)
    root.setLevel(settings.level)
    if settings.level == "INFO":
        for name in _LIBRARIES:
            logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def bound(**ids: str) -> Iterator[None]:
    """Every message within the block carries these ids; see `FIELDS`."""
    token = _bound.set({**_bound.get(), **ids})
    try:
        yield
    finally:
        _bound.reset(token)


def current() -> Mapping[str, str]:
    """The ids that are bound."""
    return _bound.get()


def to_metadata() -> list[tuple[str, str]]:
    """What tells a service the ids that are bound here; nothing where none are."""
    ids = _bound.get()
    return [(METADATA_KEY, ";".join(f"{name}={value}" for name, value in ids.items()))] if ids else []


def from_metadata(value: str) -> dict[str, str]:
    """The ids of a caller; what is none of ours is left out, for it would stand in the log as if it were."""
    found = {}
    for pair in value[:300].split(";"):
        name, _, word = pair.partition("=")
        if name in FIELDS and len(word) <= 128 and _WORD.fullmatch(word):
            found[name] = word
    return found


def _ids() -> dict[str, str]:
    # Imported here: traces are optional, and do not log by us.
    from unitscope.signals import traces

    return {**_bound.get(), **traces.current_ids()}


class TextFormatter(logging.Formatter):
    """For people: time, level, name, message, and in brackets the ids."""

    def __init__(self) -> None:
        """Sets the layout."""
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The first line."""
        line = super().formatMessage(record)
        ids = " ".join(f"{name}={value}" for name, value in _ids().items())
        return f"{line} [{ids}]" if ids else line


class JsonFormatter(logging.Formatter):
    """For machines: one JSON object a line, whatever the message holds."""

    def __init__(self, program: str) -> None:
        """Binds the program's name."""
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        body: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "program": self._program,
            "logger": record.name,
            "message": record.getMessage(),
            **_ids(),
        }
        if record.exc_info:
            body["error"] = self.formatException(record.exc_info)
        return json.dumps(body, ensure_ascii=False)
