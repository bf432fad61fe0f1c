"""Settings, read from the environment when asked for, never at import.

Each class is one group with its own prefix; a field's docstring is its documentation. Secrets are
read from files whose paths are given, or from the environment; they have no defaults.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

MEBIBYTE = 1 << 20


class StoreSettings(BaseSettings):
    """The object store (``UNITSCOPE_STORE_*``)."""

    model_config = SettingsConfigDict(env_prefix="UNITSCOPE_STORE_", frozen=True)

    url: str
    """``directory:<path>`` or ``s3://<bucket>[/<prefix>]``."""
    endpoint: str = ""
    """Host and port of the S3 server, e.g. ``minio:9000``."""
    region: str = "us-east-1"
    """The S3 region; MinIO and SeaweedFS accept any."""
    secure: bool = True
    """Whether the S3 server is spoken to over TLS."""
    access_key: SecretStr | None = None
    """The S3 access key; better given as a file."""
    secret_key: SecretStr | None = None
    """The S3 secret key; better given as a file."""
    access_key_file: Path | None = None
    """A file that holds the S3 access key."""
    secret_key_file: Path | None = None
    """A file that holds the S3 secret key."""
    ca_file: Path | None = None
    """A file of PEM certificates that sign the S3 server's; None trusts the system's authorities."""
    public_endpoint: str = ""
    """Host and port of the S3 server in download links, where users reach it under another name."""
    public_secure: bool | None = None
    """Whether download links are https; None means as `secure` says."""
    part_bytes: int = Field(default=16 * MEBIBYTE, ge=5 * MEBIBYTE, le=1024 * MEBIBYTE)
    """Larger objects are created in parts of this size."""


class BrokerSettings(BaseSettings):
    """The Celery broker (``UNITSCOPE_BROKER_*``)."""

    model_config = SettingsConfigDict(env_prefix="UNITSCOPE_BROKER_", frozen=True)

    url: str = ""
    """``filesystem:<folder>``, ``amqp[s]://...`` or ``redis[s]://...``."""
    url_file: Path | None = None
    """A file that holds the URL, where it contains a password; it wins over `url`."""
    ca_file: Path | None = None
    """For ``amqps`` and ``rediss``: PEM certificates that sign the broker's; None trusts the system's."""
    certificate_file: Path | None = None
    """The certificate that is shown to a broker which asks for one."""
    key_file: Path | None = None
    """The certificate's private key."""
    interactive_renders: int = Field(default=2_000, ge=0)
    """Jobs that render at most so many images go to the queue ``interactive``, others to ``long``."""
    delivery_limit: int = Field(default=20, ge=1)
    """RabbitMQ: a message that came back so often goes to the queue of dead letters. Fixed when the
    queues are first declared."""
    redelivery_seconds: float = Field(default=900, gt=0)
    """Redis: a message that nobody acknowledged for so long is given to another worker."""


class EndpointSettings(BaseSettings):
    """Where the services answer (``UNITSCOPE_ENDPOINT_*``)."""

    model_config = SettingsConfigDict(env_prefix="UNITSCOPE_ENDPOINT_", frozen=True)

    gateway: str = "127.0.0.1:7400"
    """The job API."""
    classifier: str = "127.0.0.1:7401"
    """The classifier service."""
    linker: str = "127.0.0.1:7402"
    """The linker service."""
    generator: str = "127.0.0.1:7403"
    """The generator's V2 gRPC endpoint, i.e. Triton."""


class ModelSettings(BaseSettings):
    """The model registry (``UNITSCOPE_MODELS_*``)."""

    model_config = SettingsConfigDict(env_prefix="UNITSCOPE_MODELS_", frozen=True, protected_namespaces=())

    root: Path = Path("models")
    """The folder of packs."""
    threads: int = Field(default=0, ge=0, le=256)
    """Threads of a model server's tensor library; 0 leaves the choice to it."""


class ServerSettings(BaseSettings):
    """What every gRPC server of ours shares (``UNITSCOPE_SERVER_*``)."""

    model_config = SettingsConfigDict(env_prefix="UNITSCOPE_SERVER_", frozen=True)

    listen: str = ""
    """``host:port`` to listen on; empty means loopback and the service's own port."""
    max_message_bytes: int = Field(default=64 * MEBIBYTE, ge=MEBIBYTE, le=1024 * MEBIBYTE)
    """The largest message that is received or sent."""
    threads: int = Field(default=32, ge=2, le=512)
    """Calls that are handled at once."""
    max_deadline_seconds: float = Field(default=600, gt=0)
    """The longest a stream of requests or responses may go on."""
    drain_seconds: float = Field(default=5, ge=0)
    """How long running calls may finish after SIGTERM."""
    insecure: bool = False
    """Lets a server listen beyond loopback without TLS, or without asking who calls. For networks
    that something else guards; it is said in the log."""


class TlsSettings(BaseSettings):
    """TLS of every gRPC server and client of ours (``UNITSCOPE_TLS_*``); files are PEM.

    Servers read changed files again; see docs/security.md.
    """

    model_config = SettingsConfigDict(env_prefix="UNITSCOPE_TLS_", frozen=True, env_ignore_empty=True)

    certificate_file: Path | None = None
    """The certificate that this program shows, with its chain: as a server, and as a client to
    servers that ask for one."""
    key_file: Path | None = None
    """The certificate's private key, not encrypted."""
    client_ca_file: Path | None = None
    """Servers: clients must show a certificate that one of these authorities has signed."""
    server_ca_file: Path | None = None
    """Clients: speak TLS, to servers whose certificate one of these authorities has signed."""
    server_name: str = ""
    """Clients: the name in the servers' certificate, where it is not that of the address."""


class ClientSettings(BaseSettings):
    """What a client of the job API shows (``UNITSCOPE_CLIENT_*``)."""

    model_config = SettingsConfigDict(env_prefix="UNITSCOPE_CLIENT_", frozen=True, env_ignore_empty=True)

    token: SecretStr | None = None
    """The token; better given as a file."""
    token_file: Path | None = None
    """A file that holds the token; it wins over `token`, and is read again when it changes."""
    plaintext_token: bool = False
    """Lets the token go over a connection without TLS to another machine."""


class MetricsSettings(BaseSettings):
    """Prometheus metrics of a process (``UNITSCOPE_METRICS_*``); see docs/signals.md."""

    model_config = SettingsConfigDict(env_prefix="UNITSCOPE_METRICS_", frozen=True, env_ignore_empty=True)

    port: int = Field(default=0, ge=0, le=65535)
    """The HTTP port that metrics are read from; 0 keeps none. `unitscope up` gives each program its own,
    from this one upwards."""
    address: str = "127.0.0.1"
    """The address of that port. It answers everybody who reaches it, in plaintext."""


class TracesSettings(BaseSettings):
    """OpenTelemetry traces (``UNITSCOPE_TRACES_*``); see docs/signals.md."""

    model_config = SettingsConfigDict(env_prefix="UNITSCOPE_TRACES_", frozen=True, env_ignore_empty=True)

    endpoint: str = ""
    """Where spans are sent to: ``http[s]://host:port`` that speaks OTLP over gRPC; empty makes none."""
    ca_file: Path | None = None
    """PEM certificates that sign that of an ``https`` endpoint; None trusts the system's."""
    http_endpoint: str = ""
    """Where Triton sends its spans to, e.g. ``http://collector:4318/v1/traces``: it speaks OTLP over HTTP
    alone. Empty makes none."""
    ratio: float = Field(default=1.0, ge=0, le=1)
    """The share of chunks that are traced, and of other calls."""


class LogSettings(BaseSettings):
    """Logs of all programs (``UNITSCOPE_LOG_*``); see docs/signals.md."""

    model_config = SettingsConfigDict(env_prefix="UNITSCOPE_LOG_", frozen=True, env_ignore_empty=True)

    format: Literal["text", "json"] = "text"
    """``text`` for people, ``json`` for machines: one object a line."""
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least that is logged."""


class GatewaySettings(BaseSettings):
    """The gateway's job loop (``UNITSCOPE_GATEWAY_*``)."""

    model_config = SettingsConfigDict(env_prefix="UNITSCOPE_GATEWAY_", frozen=True, env_ignore_empty=True)

    reconcile_seconds: float = Field(default=1.0, gt=0)
    """Pause between two looks at the active jobs."""
    lost_after_seconds: float = Field(default=60.0, gt=0)
    """An attempt that shows no life for this long is lost, and its chunk is sent again."""
    heartbeat_seconds: float = Field(default=15.0, gt=0)
    """How often a watcher hears from a job that does not change."""
    max_active_jobs: int = Field(default=50, ge=1)
    """Jobs that may be queued or running at once, over all projects."""
    tokens_file: Path | None = None
    """The tokens of the job API's callers, see ``unitscope tokens``; without it nobody is asked."""
    max_watchers: int = Field(default=256, ge=1, le=4096)
    """Watch streams at once; threads are added for them."""
    project_active_jobs: int = Field(default=0, ge=0)
    """Jobs of one project that may be queued or running at once; 0 leaves it to `max_active_jobs`."""
    project_bytes: int = Field(default=0, ge=0)
    """Bytes that a project's ended jobs may take before new ones are refused; 0 sets no limit."""
    project_submissions_per_minute: int = Field(default=600, ge=0)
    """Jobs of one project that may be created a minute through one gateway; 0 sets no limit."""
    retention_days: float = Field(default=0, ge=0)
    """Days after its end at which a job is deleted; 0 keeps jobs for good."""
    retention_bytes: int = Field(default=0, ge=0)
    """Bytes of a project's ended jobs above which the oldest are deleted; 0 keeps them."""
    retention_seconds: float = Field(default=60, gt=0)
    """Pause between two looks for jobs to delete."""


class WorkerSettings(BaseSettings):
    """A worker's patience (``UNITSCOPE_WORKER_*``)."""

    model_config = SettingsConfigDict(env_prefix="UNITSCOPE_WORKER_", frozen=True)

    call_seconds: float = Field(default=120.0, gt=0)
    """Deadline of one call to a service."""
    wait_seconds: float = Field(default=600.0, ge=0)
    """How long a chunk waits for an unavailable service before it is handed back."""
    refresh_seconds: float = Field(default=5.0, gt=0)
    """How often a running chunk shows that it lives."""
    soft_shutdown_seconds: float = Field(default=20.0, ge=0)
    """How long running chunks may finish after SIGTERM before they are handed back."""
