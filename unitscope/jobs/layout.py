"""Where a job's objects lie in the store.

::

    jobs/<job>/spec.json               what to do; create-only: the job exists once this does
    jobs/<job>/plan.json               stages, chunks, models; create-only
    jobs/<job>/cancel.json             cancel was asked for; create-only
    jobs/<job>/released/<stage>        the stage is complete and what follows it was sent; create-only
    jobs/<job>/attempts/<chunk>/<n>    a worker is, or was, at this chunk; refreshed while it is
    jobs/<job>/failures/<chunk>/<n>    a reported failure
    jobs/<job>/waiting/<chunk>         what a chunk waits for
    jobs/<job>/chunks/<stage>/<chunk>.safetensors    a chunk's result; create-only
    jobs/<job>/results/...             files that stages hand on: statistics, solutions; create-only
    jobs/<job>/tables/ images/ report/ artifacts
    jobs/<job>/manifest.json           the artifacts with digests
    jobs/<job>/terminal.json           how it ended; create-only
    active/<project>/<job>             the job may not have ended; written before the spec, gone after the end
    listing/<project>/<day>/<time>-<kind>-<job>      for pages; written before the spec
    usage/<project>/<job>.<bytes>      what an ended job takes
    deleting/<job>.json                a deletion under way: its audit line
    audit/<job>.json                   the audit line of a deleted job; create-only, never removed
    linkers/<digest>/                  published linkers
    images/<name>/<00000>-<digest8>.png|jpg          real images, shown beside units; create-only
    images/<name>/index.json           what they are; create-only: the folder exists once this does
"""

from __future__ import annotations

JOBS = "jobs/"
ACTIVE = "active/"
LISTING = "listing/"
DELETING = "deleting/"
LINKERS = "linkers/"
IMAGES = "images/"


def job(job_id: str) -> str:
    """The prefix of all objects of a job."""
    return f"jobs/{job_id}/"


def spec(job_id: str) -> str:
    """The spec's key."""
    return f"jobs/{job_id}/spec.json"


def plan(job_id: str) -> str:
    """The plan's key."""
    return f"jobs/{job_id}/plan.json"


def cancel(job_id: str) -> str:
    """The key of the wish to cancel."""
    return f"jobs/{job_id}/cancel.json"


def manifest(job_id: str) -> str:
    """The manifest's key."""
    return f"jobs/{job_id}/manifest.json"


def terminal(job_id: str) -> str:
    """The key of the job's end."""
    return f"jobs/{job_id}/terminal.json"


def active_jobs(project: str) -> str:
    """The prefix of the marks of a project's active jobs."""
    return f"active/{project}/"


def active(project: str, job_id: str) -> str:
    """The key of the mark of an active job."""
    return f"active/{project}/{job_id}"


def listing(project: str) -> str:
    """The prefix of the days of a project's listing."""
    return f"listing/{project}/"


def usage(project: str) -> str:
    """The prefix of what a project's ended jobs take."""
    return f"usage/{project}/"


def deleting(job_id: str) -> str:
    """The key of a deletion under way."""
    return f"deleting/{job_id}.json"


def audit(job_id: str) -> str:
    """The key of a deleted job's audit line."""
    return f"audit/{job_id}.json"


def stage(job_id: str, name: str) -> str:
    """The prefix of a stage's chunks."""
    return f"jobs/{job_id}/chunks/{name}/"


def chunk(job_id: str, stage_name: str, chunk_id: str) -> str:
    """The key of a chunk's result."""
    return f"jobs/{job_id}/chunks/{stage_name}/{chunk_id}.safetensors"


def released(job_id: str, name: str) -> str:
    """The key that says that what follows a stage was sent."""
    return f"jobs/{job_id}/released/{name}"


def attempts(job_id: str, stage_name: str, chunk_id: str) -> str:
    """The prefix of a chunk's attempts."""
    return f"jobs/{job_id}/attempts/{stage_name}-{chunk_id}/"


def failures(job_id: str, stage_name: str, chunk_id: str) -> str:
    """The prefix of a chunk's reported failures."""
    return f"jobs/{job_id}/failures/{stage_name}-{chunk_id}/"


def waiting(job_id: str) -> str:
    """The key of what the job waits for."""
    return f"jobs/{job_id}/waiting.json"


def result(job_id: str, name: str) -> str:
    """The key of something that one stage hands to the next."""
    return f"jobs/{job_id}/results/{name}"


def artifact(job_id: str, name: str) -> str:
    """The key of an artifact, e.g. ``tables/steps.parquet``."""
    return f"jobs/{job_id}/{name}"


def linker_card(digest: str) -> str:
    """The key of a published linker's card."""
    return f"linkers/{digest}/card.json"


def linker_weights(digest: str) -> str:
    """The key of a published linker's tensors."""
    return f"linkers/{digest}/model.safetensors"


def image_folder(name: str) -> str:
    """The prefix of a folder of real images."""
    return f"images/{name}/"


def image_index(name: str) -> str:
    """The key of such a folder's index."""
    return f"images/{name}/index.json"


def image(name: str, file: str) -> str:
    """The key of one image of such a folder."""
    return f"images/{name}/{file}"
