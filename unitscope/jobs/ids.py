"""Ids of jobs and chunks."""

from __future__ import annotations

import base64
import hashlib
import re
import uuid

from unitscope.errors import InvalidArgumentError

DEFAULT_PROJECT = "default"

_JOB_ID = re.compile(r"job-[a-z2-7]{24}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def job_id_of(request_id: str, project: str = DEFAULT_PROJECT) -> str:
    """The job that a request creates: repeated requests of one project name one job.

    Args:
        request_id: Unique to the request, e.g. a UUID; empty means that a fresh one is drawn.
        project: The caller's project.

    Raises:
        InvalidArgumentError: The request id has other characters or is too long.
    """
    if request_id and not _REQUEST_ID.fullmatch(request_id):
        raise InvalidArgumentError(
            f"request_id is {request_id[:40]!r}; use 1 to 128 letters, digits, '.', '_', ':' and "
            "'-', e.g. a UUID",
            reason="INVALID_REQUEST_ID",
            field="request_id",
        )
    # A request id holds no '/', so that no request of the default project is one of another.
    named = request_id or uuid.uuid4().hex
    text = named if project == DEFAULT_PROJECT else f"{project}/{named}"
    digest = hashlib.sha256(text.encode()).digest()
    return "job-" + base64.b32encode(digest[:15]).decode().lower()


def check_job_id(job_id: str) -> str:
    """The id, if it is one.

    Raises:
        InvalidArgumentError: It is none (reason INVALID_JOB_ID).
    """
    if not _JOB_ID.fullmatch(job_id):
        raise InvalidArgumentError(
            f"{job_id[:60]!r} is no job id; ids look like 'job-' and 24 letters and digits, as "
            "CreateAnalysisJob answered",
            reason="INVALID_JOB_ID",
            field="job_id",
        )
    return job_id


def chunk_id(plan_digest: str, stage: str, index: int) -> str:
    """The id of a chunk: index for order, and 16 digits of sha256(plan digest, stage, index)."""
    digest = hashlib.sha256(f"{plan_digest}/{stage}/{index}".encode()).hexdigest()
    return f"{index:04d}-{digest[:16]}"
