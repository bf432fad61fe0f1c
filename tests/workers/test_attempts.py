"""Who may work at a chunk, with a real store and real processes."""

import multiprocessing
import os
import subprocess
import sys
import time

import pytest

from unitscope.errors import UnavailableError
from unitscope.jobs import layout
from unitscope.store.directory import DirectoryStore
from workers.attempts import Attempt

JOB, STAGE, CHUNK = "job-" + "a" * 24, "sample", "0000-abc"


@pytest.fixture
def store(tmp_path):
    return DirectoryStore(tmp_path)


def attempt(store, refresh=0.1):
    return Attempt(store, JOB, STAGE, CHUNK, refresh)


def test_only_one_attempt_at_a_time(store):
    with (first := attempt(store)):
        assert first.claim(60)
        assert not attempt(store).claim(60)
    assert store.objects(layout.attempts(JOB, STAGE, CHUNK)) == []
    assert attempt(store).claim(60)


def sign(store):
    """The one sign of life that is there."""
    (found,) = store.objects(layout.attempts(JOB, STAGE, CHUNK))
    return found


def make_old(store):
    """Two hours pass without another sign."""
    os.utime(store.local_path(sign(store).key), (time.time() - 7200,) * 2)


def test_an_attempt_shows_life_while_it_runs(store):
    first = attempt(store)
    assert first.claim(3600)
    make_old(store)
    old = sign(store).modified
    with first:
        until = time.monotonic() + 120
        while sign(store).modified == old and time.monotonic() < until:
            time.sleep(0.02)
        assert not attempt(store).claim(3600)


def test_an_attempt_without_life_is_lost_and_counted(store):
    assert attempt(store).claim(3600)
    make_old(store)
    second = attempt(store)
    assert second.claim(3600)
    assert second.lost == 1


def _claim_and_die(root):
    assert Attempt(DirectoryStore(root), JOB, STAGE, CHUNK, 60).claim(60)


def test_the_attempt_of_a_dead_process_of_this_host_is_lost_at_once(store):
    process = multiprocessing.get_context("spawn").Process(target=_claim_and_die, args=(store.root,))
    process.start()
    process.join()
    assert process.exitcode == 0
    second = attempt(store)
    assert second.claim(60)
    assert second.lost == 1


def test_so_is_that_of_one_whose_parent_has_not_looked_yet(store):
    # Nobody reaps what is left to a container whose first process does not do so.
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"from pathlib import Path; from {__name__} import _claim_and_die as f; f(Path({str(store.root)!r}))",
        ]
    )
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # It has ended, and stays to be looked at.
        second = attempt(store)
        assert second.claim(60)
        assert second.lost == 1
    finally:
        assert process.wait() == 0


def test_an_attempt_of_ours_whose_end_was_not_heard_is_neither_alive_nor_lost(store, monkeypatch):
    first = attempt(store)
    assert first.claim(60)
    with monkeypatch.context() as deaf, first:
        deaf.setattr(store, "delete", lambda key: None)
        first.__exit__(None, None, None)
    assert len(store.objects(layout.attempts(JOB, STAGE, CHUNK))) == 1
    second = attempt(store)
    assert second.claim(60)
    assert second.lost == 0


def test_a_claim_whose_answer_was_lost_can_be_made_again(store, monkeypatch):
    def stored_but_not_said(key, data):
        DirectoryStore(store.root).create(key, data)
        raise UnavailableError("no answer")

    with monkeypatch.context() as deaf:
        deaf.setattr(store, "create", stored_but_not_said)
        with pytest.raises(UnavailableError):
            attempt(store).claim(60)
    second = attempt(store)
    assert second.claim(60)
    assert second.lost == 0


def test_failures_are_counted(store):
    assert [attempt(store).fail({"message": "x"}) for _ in range(3)] == [1, 2, 3]
