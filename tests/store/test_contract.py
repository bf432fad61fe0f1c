"""What every object store promises, on a folder and on a real S3 server."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unitscope.errors import DataLossError, InvalidArgumentError, NotFoundError
from unitscope.settings import StoreSettings
from unitscope.store import ObjectStore, get_verified
from unitscope.store.base import sha256
from unitscope.store.s3 import S3Store

SEGMENT = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,40}\Z")
# A fixed last segment: no key is then a folder of another, which file systems cannot hold.
KEYS = st.lists(SEGMENT, min_size=1, max_size=4).map(lambda parts: "/".join([*parts, "end_"]))


def test_an_object_comes_back_as_it_went_in(store: ObjectStore) -> None:
    data = bytes(range(256)) * 20_000  # 5 MB: beyond one part and one stream piece
    assert store.create("jobs/a/big.bin", data)
    assert store.get("jobs/a/big.bin") == data
    assert b"".join(store.stream("jobs/a/big.bin", 100_000)) == data
    info = store.stat("jobs/a/big.bin")
    assert info is not None
    assert (info.key, info.size) == ("jobs/a/big.bin", len(data))
    assert abs(datetime.now(UTC) - info.modified) < timedelta(minutes=5)


def test_create_never_replaces(store: ObjectStore) -> None:
    assert store.create("jobs/a/spec.json", b"first")
    assert not store.create("jobs/a/spec.json", b"second")
    assert store.get("jobs/a/spec.json") == b"first"
    big = b"x" * (3 << 20)
    assert not store.create("jobs/a/spec.json", big)
    assert store.get("jobs/a/spec.json") == b"first"


def test_a_large_object_is_created_once(store: ObjectStore) -> None:
    """Of several parts where the store has parts; of writers at the same time one wins."""
    writers = [bytes([65 + i]) * (11 << 20) for i in range(3)]
    with ThreadPoolExecutor(3) as pool:
        won = list(pool.map(lambda data: store.create("jobs/a/large.bin", data), writers))
    # SeaweedFS looks and completes in two steps: now and then, two that come at once are both told so.
    assert any(won) if isinstance(store, S3Store) else sum(won) == 1
    assert store.get("jobs/a/large.bin") in [data for data, mine in zip(writers, won, strict=True) if mine]
    assert not store.create("jobs/a/large.bin", writers[0])
    assert [info.key for info in store.objects("jobs/a/")] == ["jobs/a/large.bin"]


def test_put_replaces(store: ObjectStore) -> None:
    store.put("jobs/a/attempts/0", b"one")
    store.put("jobs/a/attempts/0", b"two")
    assert store.get("jobs/a/attempts/0") == b"two"
    assert not store.create("jobs/a/attempts/0", b"three")


def test_an_empty_object_is_an_object(store: ObjectStore) -> None:
    assert store.create("empty", b"")
    assert store.get("empty") == b""
    assert not store.create("empty", b"x")
    info = store.stat("empty")
    assert info is not None
    assert info.size == 0


def test_what_is_not_there(store: ObjectStore) -> None:
    assert store.stat("no/such") is None
    for read in (store.get, store.stream):
        with pytest.raises(NotFoundError) as caught:
            read("no/such")
        assert caught.value.reason == "OBJECT_NOT_FOUND"
    assert store.objects("no/such/") == []
    assert store.children("no/such/") == []
    store.delete("no/such")
    assert store.local_path("no/such") is None


def test_a_folder_is_no_object(store: ObjectStore) -> None:
    store.create("jobs/a/spec.json", b"{}")
    assert store.stat("jobs/a") is None
    with pytest.raises(NotFoundError):
        store.get("jobs/a")


def test_listings_are_sorted_and_stay_below_their_prefix(store: ObjectStore) -> None:
    keys = ["jobs/b/x", "jobs/a/z/1", "jobs/a/y", "jobs/a/z/0", "jobs/ab/q", "linkers/c"]
    for key in keys:
        store.create(key, key.encode())
    assert [info.key for info in store.objects("jobs/")] == sorted(k for k in keys if "jobs" in k)
    assert [info.key for info in store.objects("jobs/a/")] == ["jobs/a/y", "jobs/a/z/0", "jobs/a/z/1"]
    assert [info.size for info in store.objects("jobs/a/z/")] == [10, 10]
    assert store.children("jobs/") == ["a", "ab", "b"]
    assert store.children("jobs/a/") == ["y", "z"]


@pytest.mark.parametrize("store_settings", [pytest.param("s3", marks=pytest.mark.integration)], indirect=True)
def test_a_listing_of_more_than_one_page_is_whole(store: ObjectStore) -> None:
    names = [f"pages/{i:04d}" for i in range(1005)]  # a page of S3 holds 1,000
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.put(name, b"."), names))
    assert [info.key for info in store.objects("pages/")] == names
    assert store.children("pages/") == [name.removeprefix("pages/") for name in names]


def test_deleted_is_gone_and_the_name_is_free(store: ObjectStore) -> None:
    store.create("jobs/a/x", b"1")
    store.delete("jobs/a/x")
    assert store.stat("jobs/a/x") is None
    assert store.objects("jobs/a/") == []
    assert store.create("jobs/a/x", b"2")
    assert store.get("jobs/a/x") == b"2"


def test_get_verified_refuses_other_bytes(store: ObjectStore) -> None:
    store.create("a", b"data")
    assert get_verified(store, "a", sha256(b"data")) == b"data"
    with pytest.raises(DataLossError) as caught:
        get_verified(store, "a", sha256(b"other"))
    assert caught.value.reason == "DIGEST_MISMATCH"


@pytest.mark.parametrize(
    "key",
    ["", "/", "/a", "a/", "a//b", "..", "a/../b", "../../etc/passwd", ".tmp/x", "a/.", "a b",
     "a\n", "a\x00b", "é", "-a", "a?b", "a%2e", "x" * 201, "/".join(["x" * 100] * 10)],
)  # fmt: skip
def test_what_is_no_key_is_refused_everywhere(store: ObjectStore, key: str) -> None:
    calls = [
        lambda: store.create(key, b""),
        lambda: store.put(key, b""),
        lambda: store.get(key),
        lambda: store.stream(key),
        lambda: store.stat(key),
        lambda: store.delete(key),
        lambda: store.local_path(key),
        lambda: store.link(key, 60),
        lambda: store.objects(key + "/"),
        lambda: store.children(key + "/"),
    ]
    for call in calls:
        with pytest.raises(InvalidArgumentError) as caught:
            call()
        assert caught.value.reason == "INVALID_KEY"


def test_a_prefix_ends_in_a_slash(store: ObjectStore) -> None:
    for listing in (store.objects, store.children):
        with pytest.raises(InvalidArgumentError, match="must end in '/'"):
            listing("jobs")


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(contents=st.dictionaries(KEYS, st.binary(max_size=200), min_size=1, max_size=4))
def test_any_keys_and_bytes(store: ObjectStore, contents: dict[str, bytes]) -> None:
    root = f"p{uuid.uuid4().hex}/"
    for key, data in contents.items():
        assert store.create(root + key, data)
    assert {i.key.removeprefix(root): i.size for i in store.objects(root)} == {
        key: len(data) for key, data in contents.items()
    }
    assert [i.key for i in store.objects(root)] == sorted(root + key for key in contents)
    assert store.children(root) == sorted({key.split("/")[0] for key in contents})
    for key, data in contents.items():
        assert store.get(root + key) == data


_RACER = """
import json, sys
from unitscope.settings import StoreSettings
from unitscope.store import open_store

store = open_store(StoreSettings(**json.loads(sys.argv[1])))
me = sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps([store.create(f"race/{i}", me.encode() * 1000) for i in range(12)]), flush=True)
"""


def test_among_racing_processes_exactly_one_creates(
    store: ObjectStore, store_settings: StoreSettings
) -> None:
    values = store_settings.model_dump(mode="json", exclude_none=True)
    for name in ("access_key", "secret_key"):
        secret = getattr(store_settings, name)
        if secret is not None:
            values[name] = secret.get_secret_value()
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _RACER, json.dumps(values), str(number)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(3)
    ]  # fmt: skip
    try:
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        won = [json.loads(racer.communicate(timeout=240)[0]) for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()
    for i in range(12):
        winners = [number for number in range(3) if won[number][i]]
        assert len(winners) == 1
        assert store.get(f"race/{i}") == str(winners[0]).encode() * 1000
