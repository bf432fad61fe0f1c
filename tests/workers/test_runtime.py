"""What a worker's process keeps between tasks, and when it lets go of it."""

import os

import pytest

from unitscope.settings import EndpointSettings, WorkerSettings
from workers import runtime


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setattr(runtime, "read_plan", lambda store, job_id: "plan")
    monkeypatch.setattr(runtime.Runtime, "_bind", lambda self, job_id, plan: object())
    return runtime.Runtime(None, None, None, EndpointSettings(gateway="a:1"), WorkerSettings(), 60.0)


def test_contexts_are_kept_until_certificates_change(made, monkeypatch, tmp_path):
    ca = tmp_path / "ca.pem"
    ca.write_text("first")
    monkeypatch.setenv("UNITSCOPE_TLS_SERVER_CA_FILE", str(ca))
    first = made.context("job")
    assert made.context("job") is first
    (tmp_path / "next").write_text("second")
    os.replace(tmp_path / "next", ca)
    second = made.context("job")
    assert second is not first
    # For a moment there is no file: what is open stays open.
    ca.unlink()
    assert made.context("job") is second


def test_contexts_are_kept_without_certificates(made):
    assert made.context("job") is made.context("job")
