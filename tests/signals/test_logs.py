from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from unitscope.settings import LogSettings
from unitscope.signals import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A logger ``trial`` that writes JSON into a buffer."""
    buffer = io.StringIO()
    handler = logging.StreamHandler(buffer)
    handler.setFormatter(logs.JsonFormatter("gateway"))
    logger = logging.getLogger("trial")
    logger.addHandler(handler)
    logger.propagate = False
    yield buffer
    logger.removeHandler(handler)
    logger.propagate = True


def test_a_message_is_one_line_of_json_with_the_ids_that_are_bound(stream: io.StringIO) -> None:
    log = logging.getLogger("trial")
    with logs.bound(job="job-1"), logs.bound(chunk="sample/3"):
        log.warning("two\nlines of %s", "x")
    log.error("after")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "WARNING",
        "program": "gateway",
        "logger": "trial",
        "message": "two\nlines of x",
        "job": "job-1",
        "chunk": "sample/3",
    }
    assert "job" not in second


def test_errors_bring_their_traceback(stream: io.StringIO) -> None:
    try:
        raise KeyError("gone")
    except KeyError:
        logging.getLogger("trial").exception("failed")
    assert "KeyError: 'gone'" in json.loads(stream.getvalue())["error"]


def test_text_names_the_ids_in_brackets() -> None:
    record = logging.LogRecord("trial", logging.INFO, "", 0, "done", None, None)
    plain = logs.TextFormatter().format(record)
    with logs.bound(job="job-1"):
        assert logs.TextFormatter().format(record) == f"{plain} [job=job-1]"
    assert plain.endswith("INFO trial: done")


def test_ids_go_to_services_and_nothing_else_does() -> None:
    assert logs.to_metadata() == []
    with logs.bound(job="job-1", chunk="sample/3"):
        ((key, value),) = logs.to_metadata()
    assert key == logs.METADATA_KEY
    assert logs.from_metadata(value) == {"job": "job-1", "chunk": "sample/3"}


@pytest.mark.parametrize(
    "value",
    [
        "",
        "job",
        "job=",
        "job=a b",
        "job=a\nb",
        "job=x\u2028y",
        "level=ERROR",
        "chunk=a/b/c",
        f"job={'x' * 129}",
    ],
)
def test_what_a_caller_claims_is_left_out_unless_it_looks_like_an_id(value: str) -> None:
    assert logs.from_metadata(value) == {}


def test_logs_are_set_up_once_and_libraries_are_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    for name in ("celery", "minio"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    for _ in range(2):
        logs.configure("worker", LogSettings(format="json"))
    logging.getLogger("celery.worker").info("task received")
    logging.getLogger("workers.tasks").info("waiting")
    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["waiting"]
