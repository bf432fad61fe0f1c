"""The home of an embedded stack: a folder with its store, broker, logs, lock and endpoints."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import unitscope
from unitscope.embedded.ports import free_or_wanted
from unitscope.errors import FailedPreconditionError
from unitscope.settings import ModelSettings

DEFAULT_HOME = Path(".unitscope")
LOCK_SECONDS = 4.0


@dataclass(frozen=True)
class Endpoints:
    """Where the parts of a stack answer, as ``host:port``."""

    gateway: str = "127.0.0.1:7400"
    classifier: str = "127.0.0.1:7401"
    linker: str = "127.0.0.1:7402"
    generator: str = "127.0.0.1:7403"
    generator_http: str = "127.0.0.1:7413"
    generator_metrics: str = "127.0.0.1:7423"

    @classmethod
    def allocate(cls) -> Endpoints:
        """The default ports where they are free, and other free ports where they are not."""
        ports = (int(address.rpartition(":")[2]) for address in asdict(cls()).values())
        return cls(*(f"127.0.0.1:{port}" for port in free_or_wanted(ports)))


@dataclass(frozen=True)
class Home:
    """Paths below the folder of a stack."""

    root: Path

    @property
    def store(self) -> Path:
        """The object store."""
        return self.root / "store"

    @property
    def broker(self) -> Path:
        """Celery's messages."""
        return self.root / "broker"

    @property
    def logs(self) -> Path:
        """One log file a service."""
        return self.root / "logs"

    @property
    def mark(self) -> str:
        """What every process of a stack in this home carries; see `unitscope.embedded.guardian`."""
        return hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16] + "/"

    def prepare(self) -> None:
        """Makes the folders; the logs are for their owner alone, for specs may be in them."""
        for folder in (self.root, self.store, self.broker, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        self.logs.chmod(0o700)

    def lock(self) -> int:
        """Takes the home for this process; the open descriptor holds it.

        Raises:
            FailedPreconditionError: Another stack runs here (reason HOME_IN_USE).
        """
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        until = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < until:
                    time.sleep(0.05)
                    continue
                os.close(descriptor)
                raise FailedPreconditionError(
                    f"another stack runs, or is just ending, in {self.root}; stop it, wait for it, or "
                    "choose another folder with --home",
                    reason="HOME_IN_USE",
                    home=self.root,
                ) from None
            return descriptor

    def publish(self, endpoints: Endpoints) -> None:
        """Writes ``endpoints.json`` for clients to find."""
        path = self.root / "endpoints.json"
        part = path.with_suffix(".part")
        part.write_text(json.dumps(asdict(endpoints), indent=1) + "\n", encoding="utf-8")
        part.replace(path)

    def withdraw(self) -> None:
        """Removes ``endpoints.json``."""
        (self.root / "endpoints.json").unlink(missing_ok=True)


def home_at(folder: str | os.PathLike[str]) -> Home:
    """The home at a folder, as an absolute path."""
    return Home(Path(folder).absolute())


def find(folder: str | os.PathLike[str] = DEFAULT_HOME) -> Endpoints | None:
    """Where the stack of a home answers; None where none runs there."""
    home = home_at(folder)
    with suppress(OSError, ValueError, TypeError):
        endpoints = Endpoints(**json.loads((home.root / "endpoints.json").read_text("utf-8")))
        if _locked(home.root / "lock"):
            return endpoints
    return None


def models_root(folder: str | os.PathLike[str] | None = None) -> Path:
    """The folder of model packs, absolute.

    Args:
        folder: What the caller wants; where None, UNITSCOPE_MODELS_ROOT, else ``./models``, and where
            that does not exist, the packs beside the installed code.
    """
    if folder is not None:
        return Path(folder).absolute()
    root = ModelSettings().root
    if "UNITSCOPE_MODELS_ROOT" not in os.environ and not root.is_dir():
        root = code_root() / "models"
    return root.absolute()


def code_root() -> Path:
    """The folder that holds our packages: a checkout, or the environment's site-packages."""
    return Path(unitscope.__file__).absolute().parent.parent


def _locked(path: Path) -> bool:
    """Whether some process holds the lock. A shared lock is tried, so that two who ask both succeed."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
