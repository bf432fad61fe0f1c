"""Commands on jobs: list, get, watch, cancel, download, artifacts, delete."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unitscope.cli.options import (
    DEFAULT_HOME,
    LONG_SECONDS,
    AddressOption,
    HomeOption,
    JobArgument,
    Output,
    OutputOption,
    connect,
    ended,
    example,
)
from unitscope.cli.output import (
    console,
    duration,
    plain,
    print_json,
    print_pairs,
    print_table,
    size,
)
from unitscope.jobs.state import JobState

if TYPE_CHECKING:
    from unitscope.client import JobHandle, JobStatus


TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("list", **example("unitscope list --limit 5 --state failed --kind traverse"))(list_jobs)
    app.command("get", **example("unitscope get JOB --output json"))(get)
    app.command("watch", **example("unitscope watch JOB"))(watch)
    app.command("cancel", **example("unitscope cancel JOB"))(cancel)
    app.command("download", **example("unitscope download JOB --to results --artifact tables/units.parquet"))(
        download
    )
    app.command("artifacts", **example("unitscope artifacts JOB --links"))(artifacts)
    app.command("delete", **example("unitscope delete JOB --yes"))(delete)


def list_jobs(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Jobs at most.")] = 25,
    state: Annotated[
        list[JobState] | None,
        typer.Option(
            metavar="STATE",
            help="Only jobs in this state, e.g. failed; may be repeated.",
            case_sensitive=False,
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND", help="Only jobs of this kind, e.g. link; may be repeated.", show_default=False
        ),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            metavar="TIME",
            help="Only jobs created at this time (UTC) or later: 2026-11-21 or 2026-11-21T09:30.",
            formats=TIMES,
            show_default=False,
        ),
    ] = None,
    before: Annotated[
        datetime | None,
        typer.Option(
            metavar="TIME",
            help="Only jobs created before this time (UTC).",
            formats=TIMES,
            show_default=False,
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
    address: AddressOption = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """List jobs, newest first."""
    with connect(address, home) as client:
        found = client.jobs(
            min(limit, 100),
            states=state or (),
            kinds=kind or (),
            created_from=since.replace(tzinfo=UTC) if since else None,
            created_before=before.replace(tzinfo=UTC) if before else None,
        )
        jobs = list(islice(found, limit))
    if output is Output.JSON:
        print_json(jobs)
        return
    rows = [
        (
            job.id,
            job.kind,
            job.state.value,
            f"{job.progress.fraction:.0%}",
            job.created.strftime("%Y-%m-%d %H:%M:%S") if job.created else "",
            duration(job.seconds),
        )
        for job in jobs
    ]
    print_table(("JOB", "KIND", "STATE", "DONE", "CREATED (UTC)", "TIME"), rows)


def get(
    job: JobArgument,
    output: OutputOption = Output.TABLE,
    address: AddressOption = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Show a job and its artifacts."""
    with connect(address, home) as client:
        show(client.job(job).status(), output)


def watch(
    job: JobArgument,
    output: OutputOption = Output.TABLE,
    address: AddressOption = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Follow a job to its end.

    The exit code says how it ended. With JSON, there is one line for each change.
    """
    from unitscope.client.handle import raise_for_state

    with connect(address, home, LONG_SECONDS) as client:
        handle = client.job(job)
        if output is Output.JSON:
            for status in handle.watch():
                print_json(status, line=True)
        else:
            status = follow_to_end(handle)
        raise_for_state(status)


def cancel(
    job: JobArgument,
    output: OutputOption = Output.TABLE,
    address: AddressOption = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Ask a job to stop.

    Its state afterwards is shown; 'watch' follows it to its end.
    """
    with connect(address, home) as client:
        status = client.job(job).cancel()
    if output is Output.JSON:
        print_json(status)
    else:
        typer.echo(f"{status.id} is {status.state.value}")


def download(
    job: JobArgument,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="The folder; default: one with the job's id.", show_default=False),
    ] = None,
    artifact: Annotated[
        list[str] | None,
        typer.Option(help="Only this artifact; may be repeated.", show_default=False),
    ] = None,
    direct: Annotated[
        bool,
        typer.Option("--direct", help="Fetch them from the store itself, where it gives links."),
    ] = False,
    output: OutputOption = Output.TABLE,
    address: AddressOption = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Save the artifacts of a job.

    Each is checked against its sha256; those that are there already are not fetched again.
    """
    with connect(address, home, LONG_SECONDS) as client:
        paths = ended(client, job).download(to or Path(job), artifact or None, direct=direct)
    files = [(str(path), path.stat().st_size) for path in paths]
    if output is Output.JSON:
        print_json([{"path": path, "size": count} for path, count in files])
    else:
        print_table(("FILE", "SIZE"), [(path, size(count)) for path, count in files])


def artifacts(
    job: JobArgument,
    links: Annotated[
        bool,
        typer.Option("--links", help="With addresses to download from, if the store gives some."),
    ] = False,
    output: OutputOption = Output.TABLE,
    address: AddressOption = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """List what came out of a job: names, sizes, media types, digests.

    Whoever has an address of --links can read that artifact for an hour, without a token.
    """
    with connect(address, home) as client:
        handle = client.job(job)
        found = handle.artifacts()
        urls = {item.name: handle.link(item.name) or "" for item in found} if links else {}
    if output is Output.JSON:
        print_json([plain(item) | ({"url": urls[item.name]} if links else {}) for item in found])
        return
    head = ("ARTIFACT", "SIZE", "TYPE", "SHA256", *(("LINK",) if links else ()))
    rows = [
        (a.name, size(a.size), a.media_type, a.sha256[:16], *((urls[a.name] or "none",) if links else ()))
        for a in found
    ]
    print_table(head, rows)


def delete(
    job: JobArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output: OutputOption = Output.TABLE,
    address: AddressOption = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Delete a job that has ended, with all its images and tables.

    A line with the digest of its manifest stays and is shown. Linkers that it published stay as well.
    """
    if not yes:
        typer.confirm(f"delete {job} and all its results?", abort=True, err=True)
    with connect(address, home) as client:
        gone = client.job(job).delete()
    if output is Output.JSON:
        print_json(gone)
        return
    digest = gone.manifest_sha256[:16] or "none"
    typer.echo(f"{gone.id} is deleted: {gone.objects} objects, {size(gone.size)}; manifest {digest}")


def follow_to_end(handle: JobHandle, *, to_error: bool = False) -> JobStatus:
    """Shows the job's progress to its end; says what to do where that is interrupted."""
    from unitscope.cli.progress import follow

    try:
        return follow(handle.watch(), console(error=to_error))
    except KeyboardInterrupt:
        typer.echo(f"the job goes on; 'unitscope watch {handle.id}' follows it again", err=True)
        raise


def show(status: JobStatus, output: Output) -> None:
    """Prints a job with all that is known of it."""
    if output is Output.JSON:
        print_json(status)
        return
    from unitscope.cli.progress import line

    error = status.error
    print_pairs(
        (
            ("job", status.id),
            ("kind", status.kind),
            ("state", status.state.value),
            ("progress", line(status)),
            ("error", f"{error.reason}: {error.message}" if error else ""),
            ("chunk", error.chunk if error else ""),
            ("project", status.project),
            ("created by", status.creator),
            ("created", str(plain(status.created) or "")),
            ("ended", str(plain(status.ended) or "")),
            ("plan", status.plan_digest),
            *(("model", f"{m.name}@sha256:{m.digest[:12]} ({m.kind})") for m in status.models),
            *(("artifact", f"{a.name} ({size(a.size)})") for a in status.artifacts),
        )
    )
