"""Lists: filters, tokens, and what comes and goes between two pages; artifacts and links."""

import base64
import time
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.listing import Listing, Mark
from tests.services.gateway.conftest import reason, until
from tests.support.gateway import RunningGateway
from unitscope.jobs import layout
from unitscope.jobs.state import JobState
from unitscope.v1 import analysis_job_pb2 as pb


@pytest.fixture
def gateway(tmp_path, models):
    gateway = RunningGateway(tmp_path, models, max_active_jobs=50)
    yield gateway
    gateway.close()


def ids(gateway, **fields):
    """Ids of all pages, and the number of pages."""
    found, token, pages = [], "", 0
    while True:
        page = gateway.call("ListAnalysisJobs", page_token=token, **fields)
        found += [job.job_id for job in page.jobs]
        token, pages = page.next_page_token, pages + 1
        if not token:
            return found, pages


def moment(when):
    stamp = Timestamp()
    stamp.FromDatetime(when)
    return stamp


def test_pages_are_stable_while_jobs_come_and_go(gateway):
    made = [gateway.ended(request_id=f"{n}") for n in range(6)][::-1]
    first = gateway.call("ListAnalysisJobs", page_size=2)
    assert [job.job_id for job in first.jobs] == made[:2]
    gateway.create(request_id="later")
    gateway.call("DeleteAnalysisJob", job_id=made[1])
    gateway.call("DeleteAnalysisJob", job_id=made[3])
    second = gateway.call("ListAnalysisJobs", page_size=2, page_token=first.next_page_token)
    assert [job.job_id for job in second.jobs] == [made[2], made[4]]


def test_filters(gateway):
    done = gateway.ended(request_id="a", units=b"[1]")
    failed = gateway.ended(request_id="b", state=JobState.FAILED)
    between = datetime.now(UTC)
    time.sleep(0.002)
    queued = gateway.create(request_id="c").job.job_id
    assert ids(gateway, states=[pb.JOB_STATE_SUCCEEDED])[0] == [done]
    assert ids(gateway, states=[pb.JOB_STATE_SUCCEEDED, pb.JOB_STATE_QUEUED])[0] == [queued, done]
    assert ids(gateway, created_from=moment(between))[0] == [queued]
    assert ids(gateway, created_before=moment(between))[0] == [failed, done]
    assert ids(gateway, kinds=["traverse"])[0] == []
    assert ids(gateway, kinds=["link"], page_size=1) == ([queued, failed, done], 3)
    assert gateway.get(done).artifacts == gateway.call("ListArtifacts", job_id=done).artifacts
    assert not any(job.artifacts for job in gateway.call("ListAnalysisJobs").jobs)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"states": [0]}, "UNKNOWN_STATE"),
        ({"states": [99]}, "UNKNOWN_STATE"),
        ({"kinds": ["paint"]}, "UNKNOWN_KIND"),
        ({"created_from": Timestamp(seconds=1 << 60)}, "INVALID_TIME_RANGE"),
        (
            {"created_from": Timestamp(seconds=9), "created_before": Timestamp(seconds=9)},
            "INVALID_TIME_RANGE",
        ),
        ({"page_size": -1}, "INVALID_PAGE_SIZE"),
        ({"page_token": "x"}, "INVALID_PAGE_TOKEN"),
        ({"page_token": base64.urlsafe_b64encode(b"00000000:../../x").decode()}, "INVALID_PAGE_TOKEN"),
    ],
)
def test_wrong_filters(gateway, fields, wanted):
    assert reason(gateway.call, "ListAnalysisJobs", **fields) == ("INVALID_ARGUMENT", wanted)


def test_a_token_belongs_to_its_filters(gateway):
    for n in range(2):
        gateway.create(request_id=f"{n}")
    token = gateway.call("ListAnalysisJobs", page_size=1).next_page_token
    assert (
        reason(gateway.call, "ListAnalysisJobs", page_token=token, kinds=["link"])[1] == "INVALID_PAGE_TOKEN"
    )


def test_a_page_reads_only_the_jobs_it_needs(gateway, monkeypatch):
    for n in range(12):
        gateway.ended(request_id=f"{n}")
    until(lambda: not gateway.store.objects("active/default/"))
    read = []
    honest = gateway.jobs.read
    monkeypatch.setattr(gateway.jobs, "read", lambda job_id: read.append(job_id) or honest(job_id))
    monkeypatch.setattr("services.gateway.jobs.MAX_LOOKED", 5)
    assert len(gateway.call("ListAnalysisJobs", page_size=3).jobs) == 3
    assert len(read) == 3
    read.clear()
    page = gateway.call("ListAnalysisJobs", page_size=3, states=[pb.JOB_STATE_FAILED])
    assert (len(page.jobs), len(read), bool(page.next_page_token)) == (0, 5, True)
    assert ids(gateway, states=[pb.JOB_STATE_FAILED]) == ([], 3)


def test_marks_that_a_broken_creation_left_are_passed_over(gateway):
    job_id = gateway.create().job.job_id
    listing = Listing(gateway.store)
    listing.add("default", Mark(datetime.now(UTC), "link", job_id))
    listing.add("default", Mark(datetime.now(UTC), "link", "job-" + "b" * 24))
    gateway.store.create("listing/default/20260101/rubbish", b"{}")
    assert ids(gateway)[0] == [job_id]


def test_jobs_of_an_older_version_are_taken_in(gateway):
    job_id = gateway.ended()
    until(lambda: not gateway.store.objects("active/default/"))
    for prefix in ("listing/", "usage/"):
        for info in gateway.store.objects(prefix):
            gateway.store.delete(info.key)
    assert ids(gateway)[0] == []
    assert gateway.jobs.listing.adopt() == 1
    assert gateway.jobs.listing.adopt() == 0
    assert ids(gateway)[0] == [job_id]
    until(lambda: gateway.store.objects("usage/default/") and not gateway.store.objects("active/default/"))


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(9998, 1, 1)),
    st.datetimes(datetime(1970, 1, 2), datetime(9998, 1, 1)),
)
def test_marks_are_read_back_and_sort_by_time(one, two):
    marks = [Mark(when.replace(tzinfo=UTC), "link", "job-" + "a" * 24) for when in (one, two)]
    for mark in marks:
        assert Mark.parse(*mark.position.split("/")) == mark
    assert (marks[0].position < marks[1].position) == (marks[0].created < marks[1].created)


def test_artifacts_come_page_by_page_with_digests_and_types(gateway):
    job_id = gateway.ended(**{name: name.encode() for name in "cabde"})
    names, token = [], ""
    while True:
        page = gateway.call("ListArtifacts", job_id=job_id, page_size=2, page_token=token)
        names += [artifact.name for artifact in page.artifacts]
        assert all(len(a.sha256) == 64 and a.size == 1 and a.media_type for a in page.artifacts)
        token = page.next_page_token
        if not token:
            break
    assert names == [f"tables/{name}.json" for name in "abcde"]
    assert reason(gateway.call, "ListArtifacts", job_id=job_id, page_token="x")[1] == "INVALID_PAGE_TOKEN"
    running = gateway.create().job.job_id
    assert list(gateway.call("ListArtifacts", job_id=running).artifacts) == []


def test_links_come_from_stores_that_give_some(gateway, monkeypatch):
    job_id = gateway.ended(units=b"[1]")
    ask = {"job_id": job_id, "artifact": "tables/units.json"}
    answer = gateway.call("GetArtifactLink", **ask)
    assert (answer.url, answer.HasField("expire_time"), answer.artifact.size) == ("", False, 3)

    def link(key, expires, filename=None, media_type=None):
        assert (key, filename) == (layout.artifact(job_id, "tables/units.json"), "units.json")
        return f"https://store/{key}?for={expires}"

    monkeypatch.setattr(gateway.store, "link", link)
    answer = gateway.call("GetArtifactLink", lifetime_seconds=60, **ask)
    assert answer.url.endswith("units.json?for=60")
    left = answer.expire_time.ToDatetime(UTC) - datetime.now(UTC)
    assert timedelta(seconds=50) < left <= timedelta(seconds=60)
    for seconds in (-1, 86_401):
        assert (
            reason(gateway.call, "GetArtifactLink", lifetime_seconds=seconds, **ask)[1] == "INVALID_LIFETIME"
        )
    ask["artifact"] = "spec.json"
    assert reason(gateway.call, "GetArtifactLink", **ask) == ("NOT_FOUND", "ARTIFACT_NOT_FOUND")
