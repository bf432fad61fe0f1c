import pytest

from unitscope.errors import InvalidArgumentError
from unitscope.jobs.ids import check_job_id, chunk_id, job_id_of


def test_a_request_names_one_job():
    assert job_id_of("abc") == job_id_of("abc") != job_id_of("abd")
    assert check_job_id(job_id_of("abc")) == job_id_of("abc")


def test_no_request_id_means_a_fresh_job():
    assert job_id_of("") != job_id_of("")


@pytest.mark.parametrize("bad", ["../x", "job-../../etc", "", "job-" + "A" * 24, job_id_of("x") + "/.."])
def test_paths_are_no_job_ids(bad):
    with pytest.raises(InvalidArgumentError) as caught:
        check_job_id(bad)
    assert caught.value.reason == "INVALID_JOB_ID"


@pytest.mark.parametrize("bad", ["a b", "x" * 129, "a/b", "ü"])
def test_odd_request_ids_are_refused(bad):
    with pytest.raises(InvalidArgumentError):
        job_id_of(bad)


def test_chunk_ids_differ_by_plan_stage_and_index_and_sort_by_index():
    ids = [chunk_id(plan, stage, i) for plan in "ab" for stage in "cd" for i in (0, 1)]
    assert len(set(ids)) == 8
    assert chunk_id("a", "c", 9) < chunk_id("a", "c", 10)
