"""Settings, read from the environment when asked for, never at import.

Each class is one group with its own prefix; a field's docstring is its documentation. Secrets are
read from files whose paths are given, or from the environment; they have no defaults.
"""

from __future__ import annotations

from pathlib import Path

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


class BrokerSettings(BaseSettings):
    """The Celery broker (``UNITSCOPE_BROKER_*``)."""

    model_config = SettingsConfigDict(env_prefix="UNITSCOPE_BROKER_", frozen=True)

    url: str
    """``filesystem:<folder>``, ``amqp://...`` or ``redis://...``."""
    url_file: Path | None = None
    """A file that holds the URL, where it contains a password; it wins over `url`."""


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
    """The longest a call may take; calls without a deadline get this one."""
    drain_seconds: float = Field(default=5, ge=0)
    """How long running calls may finish after SIGTERM."""


class GatewaySettings(BaseSettings):
    """The gateway's job loop (``UNITSCOPE_GATEWAY_*``)."""

    model_config = SettingsConfigDict(env_prefix="UNITSCOPE_GATEWAY_", frozen=True)

    reconcile_seconds: float = Field(default=1.0, gt=0)
    """Pause between two looks at the active jobs."""
    lost_after_seconds: float = Field(default=60.0, gt=0)
    """An attempt that shows no life for this long is lost, and its chunk is sent again."""
    heartbeat_seconds: float = Field(default=15.0, gt=0)
    """How often a watcher hears from a job that does not change."""
    max_active_jobs: int = Field(default=50, ge=1)
    """Jobs that may be queued or running at once."""
    max_watchers: int = Field(default=64, ge=1)
    """Watch streams at once; threads are added for them."""


class WorkerSettings(BaseSettings):
    """A worker's patience (``UNITSCOPE_WORKER_*``)."""

    model_config = SettingsConfigDict(env_prefix="UNITSCOPE_WORKER_", frozen=True)

    call_seconds: float = Field(default=120.0, gt=0)
    """Deadline of one call to a service."""
    wait_seconds: float = Field(default=600.0, ge=0)
    """How long a chunk waits for an unavailable service before it is handed back."""
    refresh_seconds: float = Field(default=5.0, gt=0)
    """How often a running chunk shows that it lives."""
