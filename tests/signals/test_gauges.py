from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.gateway.gauges import Gauges, outstanding
from tests.signals.scraped import Family
from unitscope.jobs.plan import Plan, Stage
from unitscope.jobs.specs import LinkSpec
from unitscope.jobs.state import JobRecord, JobState, StageProgress

Begin = Callable[[str], Callable[[], dict[str, Family]]]
SPEC = LinkSpec(classifier="tiny/classifier", generator="tiny/generator", samples_per_class=60, folds=2)
QUEUED = JobRecord("job-1", "link", SPEC, datetime.now(UTC), JobState.QUEUED)


def running(*stages: tuple[int, int], renders: int = 10) -> JobRecord:
    """A running job with so many chunks done, of so many, a stage."""
    progress = tuple(
        StageProgress(f"s{number}", frozenset(map(str, range(done))), total)
        for number, (done, total) in enumerate(stages)
    )
    plan = Plan.model_construct(stages=[Stage.model_construct(name="s0", chunks=[], renders=renders)])
    return replace(QUEUED, state=JobState.RUNNING, plan=plan, stages=progress)


@pytest.mark.parametrize(
    ("record", "count"),
    [
        (QUEUED, 1),
        (running((0, 8), (0, 4)), 8),
        (running((8, 8), (1, 4)), 3),
        (running((8, 8), (4, 4)), 1),
    ],
)
def test_outstanding_is_what_could_be_worked_on_now(record: JobRecord, count: int) -> None:
    assert outstanding(record) == count


def test_gauges_tell_of_the_last_look_alone(metered: Begin) -> None:
    scrape = metered("gateway")

    def queue(renders: int) -> str:
        return "long" if renders > 100 else "interactive"

    first = Gauges(queue)
    for record in (
        QUEUED,
        running((0, 8), renders=1000),
        running((3, 8)),
        replace(running((0, 8)), state=JobState.CANCELLING),
        replace(running((0, 8)), state=JobState.FAILED),
    ):
        first.count(record)
    first.show()
    found = scrape()
    chunks, jobs = found["unitscope_outstanding_chunks"], found["unitscope_jobs"]
    assert [chunks.value(queue=name) for name in ("interactive", "long")] == [6, 8]
    assert [jobs.value(state=name) for name in ("QUEUED", "RUNNING", "CANCELLING")] == [1, 2, 1]
    Gauges(queue).show()
    found = scrape()
    assert set(found["unitscope_outstanding_chunks"].samples.values()) == {0}
    assert set(found["unitscope_jobs"].samples.values()) == {0}
