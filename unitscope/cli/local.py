"""``unitscope up`` and ``unitscope demo``: a whole installation on this machine."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unitscope.cli.options import (
    DEFAULT_HOME,
    LONG_SECONDS,
    HomeOption,
    ModelsOption,
    example,
)
from unitscope.cli.output import console, duration, print_table
from unitscope.cli.specs import noted_linker

if TYPE_CHECKING:
    from rich.table import Table

    from unitscope.client import Client, Result
    from unitscope.embedded import Embedded, ServiceState

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("demo", **example("unitscope demo --seed 3 --out demo-3"))(demo)
    app.command("up", **example("unitscope up --home .unitscope"))(up)


def up(
    home: HomeOption = DEFAULT_HOME,
    models: ModelsOption = None,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Chunks that are worked on at once.")] = 2,
) -> None:
    """Run a whole installation on this machine.

    Starts every service, the generator and a worker, and keeps them running until Ctrl-C.
    Jobs that were running when the stack last stopped go on.
    """
    from unitscope.embedded import Embedded

    stack = Embedded(home, models, concurrency=concurrency)
    try:
        with _running(stack):
            typer.echo(f"ready at {stack.endpoints.gateway}; Ctrl-C stops the stack")
            _attend(stack)
    except KeyboardInterrupt:
        typer.echo("stopped")


DEMO_LINK = {"samples_per_class": 300, "heldout_per_class": 40}
"""Enough for a good linker on the avatars, in minutes on two cores."""


DEMO_PAIRS = {"origins": ["bun"], "targets": ["short_hair", "hat"], "seeds": 8}
"""Counterfactuals that show what the shortcut classifier takes a bun to be."""


def demo(
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 2, help="Another seed gives other pictures.")] = 0,
    out: Annotated[Path, typer.Option(help="Where the results go.")] = Path("unitscope-demo"),
    home: HomeOption = DEFAULT_HOME,
    models: ModelsOption = None,
    classifier: Annotated[str, typer.Option(help="The classifier to look into.")] = "avatars/shortcut",
    generator: Annotated[str, typer.Option(help="The generator to look with.")] = "avatars/generator",
    shortlist: Annotated[
        int, typer.Option(min=1, help="How many units to measure on many images, after all were screened.")
    ] = 48,
    keep_running: Annotated[
        bool, typer.Option("--keep-running", help="Leave the stack running until Ctrl-C.")
    ] = False,
) -> None:
    """Go from nothing to a report.

    Fits a linker on the avatars, measures what every unit of a classifier does to hair, hat, glasses and
    the other parts of a face, and writes a report in which one finds the units for each. Then it looks for
    what would have to change for the classifier to say another class.
    Starts a stack of its own, unless one runs in --home already.
    """
    from unitscope.client import Client
    from unitscope.embedded import Embedded, find

    spec = {
        "link": {"classifier": classifier, "generator": generator, "seed": seed, **DEMO_LINK},
        "shortlist": shortlist,
        "seed": seed + 1,
    }
    endpoints = find(home)
    if endpoints is not None:
        typer.echo(f"using the stack that runs at {endpoints.gateway}")
        with Client(endpoints.gateway, patience=LONG_SECONDS) as client:
            _analyse(client, spec, out)
        return
    stack = Embedded(home, models)
    with _running(stack):
        with stack.client(patience=LONG_SECONDS) as client:
            _analyse(client, spec, out)
        if keep_running:
            typer.echo(f"the stack runs on at {stack.endpoints.gateway}; Ctrl-C stops it")
            _attend(stack)


@contextmanager
def _running(stack: Embedded) -> Iterator[None]:
    """The stack, started with its states shown, and stopped at the end or by a signal.

    Raises:
        KeyboardInterrupt: SIGINT, SIGTERM or SIGHUP came; the stack is stopped by then.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        # A second signal must not break off the stopping.
        for item in _SIGNALS:
            signal.signal(item, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        typer.echo(f"starting the stack in {stack.home.root}")
        with _states_shown() as show:
            stack.start(show)
        yield
    finally:
        stack.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def _attend(stack: Embedded) -> None:
    """Waits for a signal; tells of every restart. Raises KeyboardInterrupt, and never returns."""
    restarts: dict[str, int] = {}
    while True:
        for state in stack.states():
            if state.restarts > restarts.get(state.name, 0):
                typer.echo(f"the {state.name} ended and is restarted; its log: {state.log}")
            restarts[state.name] = state.restarts
        time.sleep(0.5)


def _analyse(client: Client, spec: dict[str, Any], out: Path) -> None:
    from unitscope.cli.jobs import follow_to_end

    handle = client.submit("quantify", spec)
    link = spec["link"]
    typer.echo(f"{handle.id}: links {link['classifier']} to {link['generator']}, then measures its units")
    status = follow_to_end(handle)
    result = handle.result()
    result.download(out)
    _show_units(result)
    typer.echo(f"\n{handle.id} took {duration(status.seconds)}")
    if linker := noted_linker(result):
        typer.echo(f"what it would take to say another class: {_counterfactuals(client, linker, spec, out)}")
    typer.echo(f"report: {out / 'report' / 'index.html'}")


def _counterfactuals(client: Client, linker: str, spec: dict[str, Any], out: Path) -> Path:
    """Searches for counterfactuals with the linker of the demo; the path of their report."""
    from unitscope.cli.jobs import follow_to_end
    from unitscope.selection.counterfactuals import summary

    handle = client.submit("counterfactual", {"linker": linker, "seed": spec["seed"], **DEMO_PAIRS})
    typer.echo(f"{handle.id}: what would have to change for it to say another class than a bun?")
    follow_to_end(handle)
    result = handle.result()
    result.download(out / "counterfactual")
    typer.echo(summary(result.table("counterfactuals")))
    return out / "counterfactual" / "report" / "index.html"


def _show_units(result: Result) -> None:
    """The best unit of every part, as a foretaste of the report."""
    from unitscope.selection import select
    from unitscope.selection.grid import PICTURE

    effects, units = result.table("effects"), result.table("units")
    parts = dict.fromkeys(effects.column("part").to_pylist())
    rows = []
    for part in parts:
        if part in (PICTURE, "logit"):
            continue
        for row in select(effects, units, part=part, top=1).to_pylist():
            interval = f"{row['effect']:+.3g} [{row['lower']:.3g}, {row['upper']:.3g}]"
            share = f"{row['share']:.0%}"
            rows.append((part, str(row["unit"]), row["measure"], interval, share, f"{row['trust']:.2f}"))
    typer.echo()
    print_table(("PART", "UNIT", "CHANGES", "BY", "OF ITS EFFECT", "TRUST"), rows)
    typer.echo(f"\nmore: unitscope units {result.handle.id} --part {next(iter(parts))} --top 10")


@contextmanager
def _states_shown() -> Iterator[Callable[[tuple[ServiceState, ...]], None]]:
    """Shows the states of starting programs: a live table on a terminal, lines elsewhere."""
    screen = console()
    if screen.is_terminal:
        from rich.live import Live

        with Live(console=screen, transient=True) as live:
            yield lambda states: live.update(_table(states))
        return
    last: dict[str, str] = {}

    def lines(states: tuple[ServiceState, ...]) -> None:
        for state in states:
            if state.state != last.get(state.name) and state.state not in ("waiting", "starting"):
                typer.echo(f"{state.name}: {state.state}")
            last[state.name] = state.state

    yield lines


def _table(states: tuple[ServiceState, ...]) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("SERVICE", "STATE", "ADDRESS", "PID"):
        table.add_column(column)
    styles = {"healthy": "green", "failed": "red", "restarting": "yellow"}
    for state in states:
        style = styles.get(state.state)
        table.add_row(state.name, state.state, state.address, str(state.pid or ""), style=style)
    return table
