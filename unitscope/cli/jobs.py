"""Commands on jobs: list, get, watch, cancel, download."""

from __future__ import annotations

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

if TYPE_CHECKING:
    from unitscope.client import JobHandle, JobStatus


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("list", **example("unitscope list --limit 5"))(list_jobs)
    app.command("get", **example("unitscope get JOB --output json"))(get)
    app.command("watch", **example("unitscope watch JOB"))(watch)
    app.command("cancel", **example("unitscope cancel JOB"))(cancel)
    app.command("download", **example("unitscope download JOB --to results --artifact tables/units.parquet"))(
        download
    )


def list_jobs(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Jobs at most.")] = 25,
    output: OutputOption = Output.TABLE,
    address: AddressOption = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """List jobs, newest first."""
    with connect(address, home) as client:
        jobs = list(islice(client.jobs(page_size=min(limit, 100)), limit))
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
    output: OutputOption = Output.TABLE,
    address: AddressOption = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Save the artifacts of a job.

    Each is checked against its sha256; those that are there already are not fetched again.
    """
    from unitscope.client.handle import raise_for_state
    from unitscope.errors import FailedPreconditionError

    with connect(address, home, LONG_SECONDS) as client:
        handle = client.job(job)
        status = handle.status()
        raise_for_state(status)
        if not status.state.terminal:
            raise FailedPreconditionError(
                f"{job} is still {status.state.lower()}; 'unitscope watch {job}' follows it to its end",
                reason="JOB_NOT_ENDED",
            )
        paths = handle.download(to or Path(job), artifact or None)
    files = [(str(path), path.stat().st_size) for path in paths]
    if output is Output.JSON:
        print_json([{"path": path, "size": count} for path, count in files])
    else:
        print_table(("FILE", "SIZE"), [(path, size(count)) for path, count in files])


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
            ("created", str(plain(status.created) or "")),
            ("ended", str(plain(status.ended) or "")),
            ("plan", status.plan_digest),
            *(("model", f"{m.name}@sha256:{m.digest[:12]} ({m.kind})") for m in status.models),
            *(("artifact", f"{a.name} ({size(a.size)})") for a in status.artifacts),
        )
    )
