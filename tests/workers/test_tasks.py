"""What a task does while the store is away, and when it comes twice."""

import json
from types import SimpleNamespace

import pytest
from celery.exceptions import Ignore

from unitscope.errors import DeadlineError, FailedPreconditionError, ResourceExhaustedError, UnavailableError
from unitscope.jobs import broker, layout
from unitscope.jobs.plan import Stage
from unitscope.store.directory import DirectoryStore
from workers import tasks

JOB = "job-" + "a" * 24


@pytest.fixture
def naps(monkeypatch):
    taken = []
    monkeypatch.setattr(tasks.time, "sleep", taken.append)
    monkeypatch.setattr(tasks, "runtime", object)
    return taken


def failing(times, error):
    calls = []

    def act(here):
        calls.append(here)
        if len(calls) <= times:
            raise error

    return act, calls


def test_a_task_waits_and_begins_anew(naps):
    act, calls = failing(3, UnavailableError("the store is away"))
    tasks._when_reachable(act)
    assert len(calls) == 4
    assert naps == [0.5, 1.0, 2.0]


def test_patience_has_an_end(naps, monkeypatch):
    monkeypatch.setenv("UNITSCOPE_WORKER_WAIT_SECONDS", "0")
    act, calls = failing(99, UnavailableError("the store is away"))
    tasks._when_reachable(act)
    assert (len(calls), naps) == (1, [])


def test_what_waiting_cannot_mend_is_not_waited_for(naps):
    act, calls = failing(99, FailedPreconditionError("the key is refused"))
    with pytest.raises(FailedPreconditionError):
        tasks._when_reachable(act)
    assert (len(calls), naps) == (1, [])


class Sender:
    """A worker at a job of two stages, and what it sends."""

    def __init__(self, folder, monkeypatch):
        stages = (Stage(name="one", chunks=({}, {})), Stage(name="two", chunks=({}, {}, {})))
        plan = SimpleNamespace(stages=stages, stage_index=["one", "two"].index, renders=0)
        self.store, self.app, self.job_id, self.plan = DirectoryStore(folder), None, JOB, plan
        self.sent, self.broker_is_there = [], True
        monkeypatch.setattr(broker, "send", self.take)

    def take(self, app, task, *ids, renders):
        if not self.broker_is_there:
            raise UnavailableError("the broker is away")
        self.sent.append((task, *ids[1:]))

    def finished(self, stage, chunk):
        self.store.create(layout.chunk(JOB, stage, chunk), b"")
        tasks._release_next(self, self, stage)


@pytest.fixture
def sender(tmp_path, monkeypatch):
    return Sender(tmp_path, monkeypatch)


def test_the_last_chunk_of_a_stage_releases_the_next(sender):
    sender.finished("one", "a")
    assert sender.sent == []
    sender.finished("one", "b")
    assert sender.sent == [(broker.RUN_CHUNK, "two", index) for index in range(3)]
    sender.sent.clear()
    for chunk in "cde":
        sender.finished("two", chunk)
    assert sender.sent == [(broker.FINALISE,)]


def test_messages_that_come_again_beget_no_others(sender):
    """Each would otherwise send a whole stage: a few of them once filled a queue within a minute."""
    for chunk in "abbbabab":
        sender.finished("one", chunk)
    assert len(sender.sent) == 3


def test_what_the_broker_did_not_take_is_sent_by_the_next(sender):
    sender.broker_is_there = False
    sender.finished("one", "a")
    sender.finished("one", "b")
    sender.broker_is_there = True
    sender.finished("one", "b")
    assert len(sender.sent) == 3


@pytest.mark.parametrize(
    ("error", "times"),
    [
        (ResourceExhaustedError("as many calls as it can", reason="SERVER_BUSY"), 4),
        (ResourceExhaustedError("no room", reason="STORE_FULL"), 4),
        (UnavailableError("it restarts"), 4),
        (DeadlineError("it is stuck"), 4),
        (ResourceExhaustedError("send less", reason="MESSAGE_TOO_LARGE"), 1),
    ],
)
def test_what_passes_is_waited_for_and_counts_as_no_failure(naps, tmp_path, monkeypatch, error, times):
    """A service that is busy for a minute must not end a job of hours."""
    act, calls = failing(3, error)
    settings = SimpleNamespace(wait_seconds=60)
    here = SimpleNamespace(settings=settings, store=DirectoryStore(tmp_path))
    beats = []
    context = SimpleNamespace(job_id=JOB, beat=lambda: beats.append(1))
    clock = iter(range(10_000))
    monkeypatch.setattr(tasks, "time", SimpleNamespace(sleep=naps.append, monotonic=lambda: next(clock)))
    if times == 1:
        with pytest.raises(ResourceExhaustedError):
            tasks._patiently(here, context, lambda: act(None))
    else:
        assert tasks._patiently(here, context, lambda: act(None))
        assert beats
        assert json.loads(here.store.get(layout.waiting(JOB)))["message"] == error.message
    assert len(calls) == times


def test_what_never_answers_in_time_fails_in_the_end(naps, tmp_path):
    """Handed back it would come again for ever, each time too large for its deadline."""
    here = SimpleNamespace(settings=SimpleNamespace(wait_seconds=0), store=DirectoryStore(tmp_path))
    context = SimpleNamespace(job_id=JOB, beat=lambda: None)
    away, _ = failing(9, UnavailableError("it restarts"))
    assert tasks._patiently(here, context, lambda: away(None)) is False
    stuck, calls = failing(9, DeadlineError("it did not answer within 120 s"))
    with pytest.raises(DeadlineError, match="within 120 s"):
        tasks._patiently(here, context, lambda: stuck(None))
    assert len(calls) == 1


def test_what_another_did_between_our_look_and_our_claim_is_not_done_again(tmp_path, monkeypatch):
    """The last two chunks of a stage may both send the next one: its messages then come twice, at once."""
    store, worked = DirectoryStore(tmp_path), []
    here = SimpleNamespace(
        store=store, settings=SimpleNamespace(refresh_seconds=9, wait_seconds=0), lost_after=60
    )
    context = SimpleNamespace(job_id=JOB, plan=SimpleNamespace(kind="quantify"))
    key, claim = layout.chunk(JOB, "sample", "a"), tasks.Attempt.claim

    def attempted():
        def work():
            worked.append(store.create(key, b""))

        return tasks._attempted(here, context, "sample", "a", work, lambda: store.stat(key) is not None)

    def late(attempt, lost_after):
        monkeypatch.setattr(tasks.Attempt, "claim", claim)
        assert attempted()
        return claim(attempt, lost_after)

    monkeypatch.setattr(tasks.Attempt, "claim", late)
    assert attempted()
    assert worked == [True]
    assert store.objects(layout.attempts(JOB, "sample", "a")) == []


def test_what_another_is_at_is_left_to_it_without_a_success(tmp_path, monkeypatch):
    """To Celery both have one id: were one a success, it would wait for the other at its end for ever."""
    here = SimpleNamespace(
        store=DirectoryStore(tmp_path), settings=SimpleNamespace(refresh_seconds=9), lost_after=60
    )
    context = SimpleNamespace(job_id=JOB, plan=SimpleNamespace(kind="quantify"))
    other = tasks.Attempt(here.store, JOB, "sample", "a", 9)
    assert other.claim(60)
    with other, pytest.raises(Ignore):
        tasks._attempted(here, context, "sample", "a", pytest.fail, lambda: False)
