"""Private nodes of the real brokers: RabbitMQ and Redis, on ports and in folders of their own."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import kombu

from unitscope.embedded import guardian
from unitscope.embedded.ports import free_ports

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's server without the wrapper that would change to the system's user."""
SECONDS = 180.0


@dataclass
class Node:
    """A broker that is started and stopped, as often as one likes, with the data it had.

    Attributes:
        url: Where it answers.
        command: What runs it.
        environment: Variables beside ours.
        folder: Its data and log.
    """

    url: str
    command: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    tls: Mapping[str, object] | None = None
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Runs it and waits until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment, guardian.VARIABLE: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + SECONDS
        while not answers(self.url, self.tls):
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError("no broker:\n" + (self.folder / "log").read_text(errors="replace")[-2000:])
            time.sleep(0.2)

    def kill(self) -> None:
        """SIGKILL to all of it, as the system might."""
        kill_marked(self.mark)
        if self._process is not None:
            with suppress(ProcessLookupError):  # Redis writes its title over its environment
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def mark(self) -> str:
        """What its processes carry."""
        return f"broker-{self.folder}/"


def kill_marked(mark: str) -> None:
    """SIGKILL, and nothing before it, to all processes with the mark, until there are none."""
    while left := guardian.marked(mark):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def answers(url: str, tls: Mapping[str, object] | None = None) -> bool:
    """Whether a broker takes connections there."""
    connection = kombu.Connection(url, connect_timeout=2, ssl=dict(tls) if tls else False)
    with suppress(Exception), connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=3)
        connection.default_channel  # noqa: B018 - opens one
        return True
    return False


def rabbitmq_node(folder: Path, tls: tuple[Path, Path, Path] | None = None) -> Node:
    """A RabbitMQ node of its own.

    Args:
        folder: For its data, log and cookie.
        tls: Authority, certificate and key, to serve TLS alone.
    """
    port, distribution, epmd = free_ports(3)
    config = ["loopback_users.guest = true", "disk_free_limit.absolute = 50MB", "log.console = true"]
    scheme = "amqp"
    if tls is not None:
        authority, certificate, key = tls
        scheme = "amqps"
        config += [
            "listeners.tcp = none",
            f"listeners.ssl.default = 127.0.0.1:{port}",
            f"ssl_options.cacertfile = {authority}",
            f"ssl_options.certfile = {certificate}",
            f"ssl_options.keyfile = {key}",
            "ssl_options.verify = verify_none",
        ]
    (folder / "rabbitmq.conf").write_text("\n".join(config) + "\n")
    (folder / "plugins").write_text("[].\n")
    environment = {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"unitscope{port}@localhost",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_DIST_PORT": str(distribution),
        "ERL_EPMD_PORT": str(epmd),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder),
        # Erlang's schedulers spin for work by default, which two cores cannot spare.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
    }
    url = f"{scheme}://guest:guest@127.0.0.1:{port}//"
    trust = {"ca_certs": str(tls[0]), "cert_reqs": ssl.CERT_REQUIRED} if tls else None
    return Node(url, (str(RABBITMQ),), folder, environment, trust)


def redis_node(folder: Path, tls: tuple[Path, Path, Path] | None = None) -> Node:
    """A Redis server that keeps every message on disk.

    Args:
        folder: For its data and log.
        tls: Authority, certificate and key, to serve TLS alone.
    """
    (port,) = free_ports(1)
    binary = shutil.which("redis-server") or ""
    options = ["--bind", "127.0.0.1", "--dir", str(folder), "--appendonly", "yes"]
    if tls is None:
        return Node(f"redis://127.0.0.1:{port}/0", (binary, *options, "--port", str(port)), folder)
    authority, certificate, key = (str(path) for path in tls)
    options += ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"]
    options += ["--tls-ca-cert-file", authority, "--tls-cert-file", certificate, "--tls-key-file", key]
    trust = {"ssl_ca_certs": authority, "ssl_cert_reqs": ssl.CERT_REQUIRED}
    return Node(f"rediss://127.0.0.1:{port}/0", (binary, *options), folder, tls=trust)


@contextmanager
def running(node: Node) -> Iterator[Node]:
    """The node, started now and killed at the end."""
    node.start()
    try:
        yield node
    finally:
        node.kill()


def ask_to_end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, as a platform sends it."""
    process.send_signal(signal.SIGTERM)
