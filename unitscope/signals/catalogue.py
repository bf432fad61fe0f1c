"""Every metric of ours, with the programs that keep it; docs/signals.md is its table for people."""

from __future__ import annotations

from unitscope.signals.instruments import Counter, Gauge, Histogram

SERVERS = ("gateway", "classifier", "linker", "generator")
SENDERS = ("gateway", "worker")
STORERS = ("gateway", "linker", "worker")

_CALLS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_CHUNKS = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800)

INFO = Gauge(
    "unitscope_info",
    "1, with the program and its version.",
    (*SERVERS, "worker"),
    ("program", "version"),
    multiprocess_mode="max",
)
RPC_CALLS = Counter("unitscope_rpc_calls_total", "Calls that have ended.", SERVERS, ("method", "code"))
RPC_SECONDS = Histogram(
    "unitscope_rpc_seconds", "Seconds of calls with one response.", SERVERS, ("method",), buckets=_CALLS
)
RPC_IN_FLIGHT = Gauge("unitscope_rpc_in_flight", "Calls that are being answered.", SERVERS, ("method",))

JOBS = Gauge("unitscope_jobs", "Jobs that have not ended.", ("gateway",), ("state",))
JOBS_ENDED = Counter(
    "unitscope_jobs_ended_total", "Jobs that this gateway saw end first.", ("gateway",), ("kind", "state")
)
OUTSTANDING = Gauge(
    "unitscope_outstanding_chunks",
    "Chunks that could be worked on now, running ones among them.",
    ("gateway",),
    ("queue",),
)
RECONCILE_SECONDS = Histogram(
    "unitscope_reconcile_seconds", "Seconds of a look at all active jobs.", ("gateway",), buckets=_CALLS
)
RESENT = Counter(
    "unitscope_tasks_resent_total", "Tasks sent again because they were lost.", ("gateway",), ("task",)
)
WATCHERS = Gauge("unitscope_watchers", "Watch streams that are open.", ("gateway",))

SENT = Counter("unitscope_tasks_sent_total", "Tasks sent.", SENDERS, ("task", "queue", "outcome"))

CHUNKS = Counter(
    "unitscope_chunks_total",
    "Attempts at chunks, by how they ended; lost ones are counted by the attempt that follows.",
    ("worker",),
    ("kind", "stage", "outcome"),
)
CHUNK_SECONDS = Histogram(
    "unitscope_chunk_seconds",
    "Seconds of chunks that were done.",
    ("worker",),
    ("kind", "stage"),
    buckets=_CHUNKS,
)
RENDERS = Counter("unitscope_renders_total", "Pictures that were asked of the generator.", ("worker",))
WAITING = Gauge(
    "unitscope_waiting_chunks",
    "Chunks that wait for a service or the store to come back.",
    ("worker",),
    multiprocess_mode="livesum",
)
WAITED = Counter("unitscope_wait_seconds_total", "Seconds that chunks waited so.", ("worker",))

ROWS = Counter(
    "unitscope_rows_total",
    "Pictures, features or pairs that were taken in.",
    ("classifier", "linker"),
    ("method",),
)
BATCH_SECONDS = Histogram(
    "unitscope_batch_seconds", "Seconds of one batch of the network.", ("classifier",), buckets=_CALLS
)
BATCH_QUEUE = Gauge("unitscope_batch_queue", "Batches that wait for the network.", ("classifier",))

STORE_OPERATIONS = Counter(
    "unitscope_store_operations_total",
    "Operations on the object store.",
    STORERS,
    ("operation", "outcome"),
)
STORE_SECONDS = Histogram(
    "unitscope_store_seconds",
    "Seconds of an operation on the object store.",
    STORERS,
    ("operation",),
    buckets=_CALLS,
)

TRITON_STARTS = Counter("unitscope_triton_starts_total", "Starts of Triton.", ("generator",))
