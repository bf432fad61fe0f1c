"""Launches the real Triton Inference Server and keeps it rendering.

The binary comes from the ``nvidia-pytriton`` wheel (installed without its dependencies) or from NVIDIA's
container image. A python backend whose process was killed leaves Triton "ready" while every inference
fails: only a small inference, repeated, tells.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.generator.parts.cards import usable
from services.generator.repository import export_repository
from services.generator.settings import GeneratorSettings
from unitscope.errors import InvalidArgumentError, UnavailableError
from unitscope.models.cards import ModelCard
from unitscope.models.registry import Registry
from unitscope.rpc.tls import offers_tls, server_credentials
from unitscope.settings import ModelSettings, TlsSettings, TracesSettings

log = logging.getLogger(__name__)

_SHARED = Path("/dev/shm")
_PREFIX = "unitscope-triton"
_CONTAINER = Path("/opt/tritonserver")
_in_use: set[str] = set()
"""Prefixes of what the runs of this process have laid down."""


@dataclass(frozen=True)
class TritonBinary:
    """Where a Triton that can run here lies.

    Attributes:
        server: The executable.
        backends: A folder that holds the ``python`` backend.
        stub: The python backend's process for this version of Python; None where the backend
            folder has it already.
        libraries: Folders of shared libraries.
    """

    server: Path
    backends: Path
    stub: Path | None
    libraries: tuple[Path, ...]


def find_triton() -> TritonBinary:
    """Looks for a Triton binary: in NVIDIA's container image, then in the wheel.

    Raises:
        UnavailableError: There is none that can run here; the message says why
            (reason TRITON_NOT_FOUND).
    """
    if (_CONTAINER / "bin" / "tritonserver").is_file():
        binary = TritonBinary(
            _CONTAINER / "bin" / "tritonserver",
            _CONTAINER / "backends",
            None,
            (_CONTAINER / "lib",),
        )
    else:
        binary = _from_wheel()
    _check_runs(binary)
    return binary


def _from_wheel() -> TritonBinary:
    packages = Path(sysconfig.get_path("purelib"))
    home = packages / "pytriton" / "tritonserver"
    if not (home / "bin" / "tritonserver").is_file():
        raise _not_found(
            "no tritonserver is installed; `pip install --no-deps nvidia-pytriton==0.7.0` brings one"
        )
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = home / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        have = ", ".join(sorted(path.name for path in stub.parents[1].iterdir()))
        raise _not_found(f"tritonserver has no stub for Python {version}; it has them for {have}")
    libraries = (Path(sysconfig.get_config_var("LIBDIR")), packages / "nvidia_pytriton.libs")
    return TritonBinary(home / "bin" / "tritonserver", home / "backends", stub, libraries)


def _check_runs(binary: TritonBinary) -> None:
    command = [str(binary.server), "--help"]
    try:
        done = subprocess.run(
            command, env=environment(binary), capture_output=True, text=True, timeout=60, check=False
        )
    except OSError as error:
        raise _not_found(f"{binary.server.name} cannot be run: {error}") from error
    if "model-repository" not in done.stdout + done.stderr:
        raise _not_found(f"{binary.server.name} does not run: {(done.stderr or done.stdout)[:200]}")


def environment(binary: TritonBinary) -> dict[str, str]:
    """The environment of Triton, in which the stub finds this very interpreter, its packages and our code."""
    own = [str(path) for path in binary.libraries if path.is_dir()]
    inherited = [p for p in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if p]
    binaries = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    return {
        **os.environ,
        "LD_LIBRARY_PATH": os.pathsep.join([*own, *inherited]),
        "PATH": os.pathsep.join(binaries),
        "PYTHONPATH": os.pathsep.join(str(Path(path or ".").resolve()) for path in sys.path),
    }


def _not_found(message: str) -> UnavailableError:
    return UnavailableError(message, reason="TRITON_NOT_FOUND")


class Triton:
    """One run of Triton: its files, its process, and what has to be cleaned after it.

    Attributes:
        models: Names of the V2 models.
        parts: The parts models among what is served.
    """

    def __init__(
        self,
        binary: TritonBinary,
        cards: Sequence[ModelCard],
        models: ModelSettings,
        settings: GeneratorSettings,
        address: str,
    ) -> None:
        """Prepares a scratch folder with backend and repository.

        Args:
            binary: What to run.
            cards: The generators to serve, each with all of its parts models.
            models: Where they lie.
            settings: Ports and patience.
            address: ``host:port`` of the gRPC endpoint.
        """
        self._binary = binary
        # Names carry our process id, so that a later run can tell what a dead one has left.
        self._shared = f"{_PREFIX}-{os.getpid()}-{secrets.token_hex(4)}-"
        _in_use.add(self._shared)
        remove_leftovers()
        self._scratch = Path(tempfile.mkdtemp(prefix=self._shared))
        self._process: subprocess.Popen[bytes] | None = None
        backends, repository = self._scratch / "backends", self._scratch / "repository"
        repository.mkdir()
        lay_backends(binary, backends)
        found = "cuda" if _has_gpu() else "cpu"
        device = found if settings.device == "auto" else settings.device
        registry = Registry(models.root)
        self.parts = usable(registry, cards)
        self.models = export_repository(
            registry,
            cards,
            repository,
            device,
            models.threads,
            settings.instances,
            self.parts,
            settings.gradients,
            settings.precision,
            settings.hidden,
        )
        self._command = command_line(binary, backends, repository, self._shared, settings, address)

    def start(self) -> None:
        """Starts the process; `ready` and probing are the caller's. Call from the main thread."""
        self._process = subprocess.Popen(
            self._command,
            env=environment(self._binary),
            # Triton logs to both; standard output belongs to whoever started us.
            stdout=2,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )

    @property
    def exit_code(self) -> int | None:
        """The exit code of a process that ended; None while it runs."""
        return None if self._process is None else self._process.poll()

    def stop(self, patience: float = 0.0) -> None:
        """Ends the process, its stubs too, and removes their shared memory.

        Args:
            patience: Seconds that running inferences may take to finish.
        """
        process = self._process
        if process is None:
            return
        if patience:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
        # Stubs outlive a killed server; the process group is theirs as well.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._process = None
        for path in _SHARED.glob(f"{self._shared}*"):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Stops, and removes the scratch folder."""
        self.stop()
        shutil.rmtree(self._scratch, ignore_errors=True)
        _in_use.discard(self._shared)


def remove_leftovers() -> None:
    """Removes shared memory and scratch folders of runs that died without cleaning up.

    In a container every run has the process id 1, hence the look at the runs of this very process.
    """
    for path in [*_SHARED.glob(f"{_PREFIX}-*"), *Path(tempfile.gettempdir()).glob(f"{_PREFIX}-*")]:
        owner = path.name.removeprefix(f"{_PREFIX}-").partition("-")[0]
        if owner == str(os.getpid()):
            used = path.name.startswith(tuple(_in_use))
        else:
            used = not owner.isdecimal() or Path(f"/proc/{owner}").exists()
        if used:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def lay_backends(binary: TritonBinary, folder: Path) -> None:
    """Copies the python backend, with the process for this version of Python, into a new folder."""
    shutil.copytree(binary.backends / "python", folder / "python")
    if binary.stub is not None:
        shutil.copy2(binary.stub, folder / "python")


def command_line(
    binary: TritonBinary,
    backends: Path,
    repository: Path,
    shared: str,
    settings: GeneratorSettings,
    address: str,
) -> list[str]:
    """The command line of a Triton.

    Args:
        binary: What to run.
        backends: What `lay_backends` has made.
        repository: What `export_repository` has written.
        shared: What names of its shared memory begin with.
        settings: Its other ports.
        address: ``host:port`` of the gRPC endpoint.
    """
    host, _, port = address.rpartition(":")
    command = [
        str(binary.server),
        f"--model-repository={repository}",
        f"--backend-directory={backends}",
        f"--backend-config=python,shm-region-prefix-name={shared}",
        f"--grpc-address={host}",
        f"--grpc-port={port}",
        "--exit-timeout-secs=20",
        "--log-info=false",
        "--pinned-memory-pool-byte-size=0",
        "--disable-auto-complete-config",
    ]
    tls = TlsSettings()
    command += tls_flags(tls)
    # Triton speaks no TLS on its HTTP port, which would infer for everybody.
    if settings.http_port and not offers_tls(tls):
        command += [f"--http-address={host}", f"--http-port={settings.http_port}"]
    else:
        command.append("--allow-http=false")
    if settings.metrics_port:
        command += [f"--metrics-address={host}", f"--metrics-port={settings.metrics_port}"]
    else:
        command.append("--allow-metrics=false")
    return command + trace_flags(TracesSettings())


def trace_flags(traces: TracesSettings) -> list[str]:
    """Triton's spans of requests that come with a ``traceparent``; it makes none of its own accord."""
    if not traces.http_endpoint:
        return []
    return [
        "--trace-config=mode=opentelemetry",
        "--trace-config=level=TIMESTAMPS",
        "--trace-config=rate=0",
        f"--trace-config=opentelemetry,url={traces.http_endpoint}",
        "--trace-config=opentelemetry,resource=service.name=triton",
        "--trace-config=opentelemetry,bsp_schedule_delay=1000",
    ]


def tls_flags(tls: TlsSettings) -> list[str]:
    """Triton's TLS, which asks clients for certificates where there are authorities of clients.

    Raises:
        InvalidArgumentError: The settings are incomplete, a file cannot be used, or we could not probe
            Triton ourselves for want of authorities of servers (reason INVALID_TLS).
    """
    # Checks the files: Triton's own messages do not say which is wrong.
    if server_credentials(tls) is None:
        return []
    if tls.server_ca_file is None:
        raise InvalidArgumentError(
            "UNITSCOPE_TLS_SERVER_CA_FILE is needed beside UNITSCOPE_TLS_CERTIFICATE_FILE: the generator is "
            "a client of its own Triton, too",
            reason="INVALID_TLS",
        )
    flags = [
        "--grpc-use-ssl=true",
        f"--grpc-server-cert={tls.certificate_file}",
        f"--grpc-server-key={tls.key_file}",
    ]
    if tls.client_ca_file is not None:
        flags += ["--grpc-use-ssl-mutual=true", f"--grpc-root-cert={tls.client_ca_file}"]
    return flags


def _has_gpu() -> bool:
    # Without importing torch, which this process does not need.
    cpu_build = importlib.metadata.version("torch").endswith("+cpu")
    return Path("/dev/nvidiactl").exists() and not cpu_build


def _die_with_parent() -> None:
    """Has Linux kill the new process when ours dies, however it dies."""
    death_signal = 1  # PR_SET_PDEATHSIG
    ctypes.CDLL(None).prctl(death_signal, signal.SIGKILL)
