"""The directory store when the disk or the folder lets it down."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from unitscope.errors import ResourceExhaustedError, UnavailableError
from unitscope.store.directory import DirectoryStore

# A limit on the size of files stands for a full disk: writes fail half-way, as they do there.
_FULL = """
import resource, signal, sys
from pathlib import Path
from unitscope.errors import ResourceExhaustedError
from unitscope.store.directory import DirectoryStore

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
store = DirectoryStore(Path(sys.argv[1]))
assert store.create("small", b"fits")
for write in (store.create, store.put):
    try:
        write("big", b"x" * 1_000_000)
    except ResourceExhaustedError as error:
        assert error.reason == "STORE_FULL", error.reason
    else:
        raise SystemExit("no error")
try:
    store.put("small", b"y" * 1_000_000)
except ResourceExhaustedError:
    pass
assert store.stat("big") is None
assert store.get("small") == b"fits"
assert store.create("next", b"still works")
"""


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / ".tmp").iterdir()) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == [".tmp", "next", "small"]


def test_a_full_file_system(tmp_path: Path) -> None:
    """The same on a real, full, tiny file system, where one may be mounted."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)]
    try:
        mounted = subprocess.run(mount, capture_output=True, timeout=60).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no right to mount a file system; the limit on file sizes stands for it")
    try:
        store = DirectoryStore(tmp_path / "store")
        assert store.create("small", b"fits")
        with pytest.raises(ResourceExhaustedError, match="is full"):
            store.create("big", b"x" * 1_000_000)
        assert store.get("small") == b"fits"
        assert store.stat("big") is None
        assert store.create("next", b"still works")
    finally:
        # Lazily: whoever looks through all file systems just now does not matter.
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True, timeout=60)


def test_a_store_that_went_away_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    store.create("a/b", b"1")
    shutil.move(tmp_path / "store", tmp_path / "away")
    calls = [
        lambda: store.create("a/c", b""),
        lambda: store.put("a/c", b""),
        lambda: store.get("a/b"),
        lambda: store.stream("a/b"),
        lambda: store.stat("a/b"),
        lambda: store.objects("a/"),
        lambda: store.children("a/"),
    ]
    for call in calls:
        with pytest.raises(UnavailableError) as caught:
            call()
        assert caught.value.reason == "STORE_UNAVAILABLE"
    assert not (tmp_path / "store").exists()
    shutil.move(tmp_path / "away", tmp_path / "store")
    assert store.get("a/b") == b"1"


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    with pytest.raises(UnavailableError):
        DirectoryStore(tmp_path / "store")


def test_a_killed_writer_leaves_no_half_object(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from unitscope.store.directory import DirectoryStore

store = DirectoryStore(Path(sys.argv[1]))
print("ready", flush=True)
for i in range(1_000_000):
    store.create(f"k/{i}", bytes([i % 251]) * 200_000)
"""
    writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    store = DirectoryStore(tmp_path)
    while len(store.children("k/")) < 5:
        assert writer.poll() is None
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    found = store.objects("k/")
    assert len(found) >= 5
    for info in found:
        number = int(info.key.removeprefix("k/"))
        assert store.get(info.key) == bytes([number % 251]) * 200_000


def test_deleting_leaves_no_folders_and_disturbs_no_writer(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    failures: list[BaseException] = []

    def churn(name: str) -> None:
        try:
            for round_ in range(150):
                key = f"jobs/one/deep/{name}"
                assert store.create(key, b"1")
                store.put(key, b"2")
                assert store.get(key) == b"2", round_
                store.delete(key)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=churn, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.children("jobs/") == []
    assert not (tmp_path / "jobs").exists()


@pytest.mark.parametrize("key", ["deep/below/object", "object"])
def test_a_store_that_goes_away_amid_a_write_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Its folder may be a mount: what came in its place would hide it, and keep it from coming back."""
    store = DirectoryStore(tmp_path / "store")
    written = store._written

    @contextmanager
    def away_by_then(data: bytes) -> Iterator[Path]:
        with written(data) as temporary:
            shutil.move(tmp_path / "store", tmp_path / "away")
            yield temporary

    monkeypatch.setattr(store, "_written", away_by_then)
    with pytest.raises(UnavailableError):
        store.create(key, b"1")
    assert not (tmp_path / "store").exists()
    shutil.move(tmp_path / "away", tmp_path / "store")
    monkeypatch.undo()
    assert store.create(key, b"1")
