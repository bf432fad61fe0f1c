"""The client: submit an analysis, watch it, read what came out.

::

    from unitscope import Client

    with Client() as client:
        job = client.submit("traverse", {"link": {"classifier": "avatars/shortcut",
                                                  "generator": "avatars/generator"}})
        for status in job.watch():
            print(status.state, status.progress.fraction)
        units = job.result().table("units")          # a pyarrow.Table
        later = client.job(job.id)                   # the same job, from any process
        job.download("results")

    SavedResult("results").table("units")            # the same table, without a gateway

Calls raise the errors of `unitscope.errors`, never those of gRPC. A gateway that restarts is waited
for; one that never answered is reported at once. Everything exported here is stable.
"""

from unitscope.client.client import Client
from unitscope.client.connection import ADDRESS_VARIABLE, DEFAULT_ADDRESS
from unitscope.client.handle import JobHandle, Result
from unitscope.client.saved import SavedResult
from unitscope.client.values import (
    Artifact,
    Capabilities,
    Cost,
    DeletedJob,
    JobError,
    JobStatus,
    ModelName,
    Progress,
)
from unitscope.jobs.state import JobState

__all__ = [
    "ADDRESS_VARIABLE",
    "DEFAULT_ADDRESS",
    "Artifact",
    "Capabilities",
    "Client",
    "Cost",
    "DeletedJob",
    "JobError",
    "JobHandle",
    "JobState",
    "JobStatus",
    "ModelName",
    "Progress",
    "Result",
    "SavedResult",
]
