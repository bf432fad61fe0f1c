"""A job's progress: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from unitscope.cli.output import duration
from unitscope.client import JobStatus

STEP = 0.05
"""Off a terminal a line is printed when this share of the work was done since the last one."""


def follow(statuses: Iterable[JobStatus], console: Console) -> JobStatus:
    """Shows every status; the last one. The statuses must end with a terminal one."""
    last: JobStatus | None = None
    with _shown(console) as show:
        for status in statuses:
            show(status)
            last = status
    if last is None:
        raise ValueError("a job was followed that had no status")
    return last


def line(status: JobStatus) -> str:
    """The status on one line, e.g. ``0:42  37 %  sample 3 of 20 (stage 1 of 8)``."""
    progress = status.progress
    words = f"{duration(status.seconds)}  {progress.fraction:4.0%}  {describe(status)}"
    return f"{words}  - waiting: {progress.waiting_for}" if progress.waiting_for else words


def describe(status: JobStatus) -> str:
    """State or stage, in words."""
    progress = status.progress
    if status.state.terminal or not progress.stage:
        return status.state.lower()
    stage = (
        f"{progress.stage} {progress.chunks_done} of {progress.chunks_total} "
        f"(stage {progress.stage_index + 1} of {progress.stage_count})"
    )
    return f"cancelling: {stage}" if status.state == "CANCELLING" else stage


@contextmanager
def _shown(console: Console) -> Iterator[Callable[[JobStatus], None]]:
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=28),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[elapsed]}"),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("queued", total=1.0, elapsed="0:00")

        def show(status: JobStatus) -> None:
            waiting = status.progress.waiting_for
            text = f"{describe(status)}  waiting: {waiting}" if waiting else describe(status)
            elapsed = duration(status.seconds)
            bar.update(task, completed=status.progress.fraction, description=text, elapsed=elapsed)

        yield show


def _lines(console: Console) -> Callable[[JobStatus], None]:
    """Prints a line where the stage, the state or what is waited for changed, and at each step."""
    shown: tuple[object, ...] = ()
    fraction = 0.0

    def show(status: JobStatus) -> None:
        nonlocal shown, fraction
        now = (status.state, status.progress.stage, status.progress.waiting_for)
        if now == shown and status.progress.fraction < fraction + STEP:
            return
        shown, fraction = now, status.progress.fraction
        console.print(line(status), soft_wrap=True)
        console.file.flush()

    return show
