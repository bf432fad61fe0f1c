"""How far a piece of work is: a live bar on a terminal, plain lines elsewhere, on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from unitscope.cli.output import console, duration

SECONDS = 5.0
"""Off a terminal, a line comes no more often than this."""


@contextmanager
def counting(title: str) -> Iterator[Callable[[int, int], None]]:
    """Shows progress while the block runs.

    Args:
        title: What is done, e.g. ``training``.

    Yields:
        A function of what is done and how much there is.
    """
    shown = console(error=True)
    if not shown.is_terminal:
        started = last = time.monotonic()

        def tell(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= SECONDS:
                last = now
                shown.print(f"{duration(now - started)}  {done / total:4.0%}  {title} {done} of {total}")
                shown.file.flush()

        shown.print(f"{title} …")
        shown.file.flush()
        yield tell
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=shown, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
