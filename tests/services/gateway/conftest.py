import time

import pytest

from tests.support.gateway import PATIENCE, RunningGateway
from tests.support.tiny_pack import write_tiny_pack
from unitscope.errors import UnitScopeError


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    return write_tiny_pack(tmp_path_factory.mktemp("models"))


@pytest.fixture
def gateway(tmp_path, models):
    gateway = RunningGateway(tmp_path, models)
    yield gateway
    gateway.close()


def reason(call, *arguments, **fields):
    with pytest.raises(UnitScopeError) as caught:
        call(*arguments, **fields)
    return caught.value.status, caught.value.reason


def until(condition, seconds=PATIENCE):
    """Waits for what the gateway's own threads do in their own time."""
    deadline = time.monotonic() + seconds
    while not (seen := condition()):
        assert time.monotonic() < deadline, f"it did not come to pass within {seconds} s: {seen!r}"
        time.sleep(0.02)
