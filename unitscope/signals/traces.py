"""Spans of OpenTelemetry: where the time of a chunk goes, across programs.

All that is done for one chunk is one trace, attempts that were lost and made again among it. Its id
follows from the job and the chunk (`trace_id`), so that the trace of a chunk can be looked up without
having seen it before. The trace begins where the chunk's task is sent; the task's message and the calls to
services carry it on, as W3C's ``traceparent``.

Where no traces are made, every function here returns at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal
from urllib.parse import urlsplit

from unitscope.errors import FailedPreconditionError, InvalidArgumentError, UnitScopeError
from unitscope.settings import TracesSettings
from unitscope.version import package_version

HEADER = "traceparent"
SEND_SECONDS = 5.0
"""How long a collector may take for a batch of spans; what it does not take by then is dropped."""

Kind = Literal["internal", "server", "client", "producer", "consumer"]

_provider: Any = None
_tracer: Any = None
_chosen: ContextVar[int] = ContextVar("unitscope_trace_id", default=0)
"""The id that the next root span gets; 0 for a random one."""


def trace_id(job_id: str, *what: str | int) -> int:
    """The id of the trace of one of the job's tasks, 128 bits.

    Args:
        job_id: The job.
        what: ``stage, index`` of a chunk; ``"plan"``, or ``"finalise"``.
    """
    words = "/".join((job_id, *map(str, what)))
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:16])


def begin(program: str, settings: TracesSettings) -> None:
    """Begins to make spans, and to send them in batches from a thread.

    Raises:
        FailedPreconditionError: OpenTelemetry is missing (reason NOT_INSTALLED).
        InvalidArgumentError: The endpoint is no URL, or its certificates cannot be read
            (INVALID_TRACES_ENDPOINT).
    """
    global _provider, _tracer
    if not settings.endpoint or _tracer is not None:
        return
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError as error:
        raise FailedPreconditionError(
            "UNITSCOPE_TRACES_ENDPOINT is set, but OpenTelemetry is not installed; install "
            "unitscope[signals], or unset it",
            reason="NOT_INSTALLED",
            missing="opentelemetry-sdk",
        ) from error

    class Ids(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return _chosen.get() or super().generate_trace_id()

    _provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(settings.ratio)),
        resource=Resource.create({"service.name": program, "service.version": package_version()}),
        id_generator=Ids(),
    )
    _provider.add_span_processor(BatchSpanProcessor(_exporter(settings), schedule_delay_millis=1000))
    _tracer = _provider.get_tracer("unitscope")


def end() -> None:
    """Sends the spans that wait, and makes none any more."""
    global _provider, _tracer
    if _provider is not None:
        _provider.shutdown()
    _provider = _tracer = None


def on() -> bool:
    """Whether this process makes spans."""
    return _tracer is not None


def inside() -> bool:
    """Whether a span is open here that will be sent."""
    return _tracer is not None and _current().is_recording()


def current_ids() -> dict[str, str]:
    """Trace and span for the log, in hexadecimal; empty where no span is open."""
    if not inside():
        return {}
    context = _current().get_span_context()
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


@contextmanager
def span(
    name: str,
    kind: Kind = "internal",
    parent: str | None = None,
    chosen: int = 0,
    attributes: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """A span around the block; it says with which error the block ended, if it did.

    Args:
        name: What is done, without ids.
        kind: Its side of a call.
        parent: A caller's ``traceparent``; None goes on from the span that is open here, "" from none.
        chosen: The id of the trace where there is no parent; 0 for a random one.
        attributes: What else to tell; names get the prefix ``unitscope.``.
    """
    if _tracer is None:
        yield
        return
    from opentelemetry import trace

    context = _from_header(parent) if parent is not None else None
    token = _chosen.set(chosen)
    made = _tracer.start_span(name, context, trace.SpanKind[kind.upper()], _attributes(attributes or {}))
    _chosen.reset(token)
    with trace.use_span(made, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except Exception as error:
            fail(made, error)
            raise


@contextmanager
def sending(task: str, job_id: str, *what: str | int) -> Iterator[dict[str, str]]:
    """The span of sending a task, with which the trace of its chunk begins; the message's headers.

    Args:
        task: The task's name.
        job_id: The job.
        what: As `trace_id` takes it.
    """
    if _tracer is None:
        yield {}
        return
    from opentelemetry import trace
    from opentelemetry.context import Context

    cause = trace.get_current_span().get_span_context()
    token = _chosen.set(trace_id(job_id, *what))
    made = _tracer.start_span(
        f"send {task}",
        Context(),
        trace.SpanKind.PRODUCER,
        _attributes({"job": job_id}),
        # Who sent it is another trace: that of the chunk which was the last of its stage, or of a call.
        [trace.Link(cause)] if cause.is_valid else None,
    )
    _chosen.reset(token)
    with trace.use_span(made, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield dict(to_metadata())
        except Exception as error:
            fail(made, error)
            raise


def start_call(name: str) -> Any:
    """A client's span that ends elsewhere, by `end_call`; None where no span is open here."""
    if not inside():
        return None
    from opentelemetry import trace

    return _tracer.start_span(name, kind=trace.SpanKind.CLIENT)


def end_call(made: Any, error: Exception | None = None) -> None:
    """Ends a span that `start_call` gave."""
    if made is not None:
        if error is not None:
            fail(made, error)
        made.end()


def to_metadata(made: Any = None) -> list[tuple[str, str]]:
    """What tells the called that they are part of this trace; nothing where it is not sent.

    Args:
        made: The call's span; None for the one that is open here.
    """
    if _tracer is None:
        return []
    context = (made or _current()).get_span_context()
    # Triton traces whatever comes with a parent, sampled or not.
    if not (context.is_valid and context.trace_flags.sampled):
        return []
    return [(HEADER, f"00-{context.trace_id:032x}-{context.span_id:016x}-01")]


def mark(error: Exception) -> None:
    """Says in the span that is open here that something failed."""
    if inside():
        fail(_current(), error)


def fail(made: Any, error: Exception) -> None:
    """Marks a span with an error: the reason of ours, the type of others; messages may hold secrets."""
    from opentelemetry.trace import StatusCode

    reason = error.reason if isinstance(error, UnitScopeError) else type(error).__name__
    made.set_status(StatusCode.ERROR, reason)
    made.set_attribute("error.type", reason)


def _current() -> Any:
    from opentelemetry import trace

    return trace.get_current_span()


def _attributes(values: Mapping[str, str]) -> dict[str, str]:
    return {f"unitscope.{name}": value for name, value in values.items()}


def _from_header(value: str) -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({HEADER: value}, Context())


def _exporter(settings: TracesSettings) -> Any:
    import grpc
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    url = urlsplit(settings.endpoint)
    if url.scheme not in ("http", "https") or not url.netloc:
        raise InvalidArgumentError(
            f"UNITSCOPE_TRACES_ENDPOINT is {settings.endpoint!r}; write http://host:port, or https://host:port",
            reason="INVALID_TRACES_ENDPOINT",
        )
    if url.scheme == "http":
        return OTLPSpanExporter(url.netloc, insecure=True, timeout=SEND_SECONDS)
    try:
        authorities = settings.ca_file.read_bytes() if settings.ca_file else None
    except OSError as error:
        raise InvalidArgumentError(
            f"UNITSCOPE_TRACES_CA_FILE {settings.ca_file} cannot be read: {error.strerror}",
            reason="INVALID_TRACES_ENDPOINT",
        ) from error
    credentials = grpc.ssl_channel_credentials(authorities)
    return OTLPSpanExporter(url.netloc, credentials=credentials, timeout=SEND_SECONDS)
