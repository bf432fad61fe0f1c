"""The command's own commands, and those that services add.

A package adds commands with entry points of the group ``unitscope.commands``: each names a
`typer.Typer`, and is loaded when its command is asked for::

    [project.entry-points."unitscope.commands"]
    train = "my_package.cli:app"
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from unitscope.cli import describe, images, jobs, local, submit, units
from unitscope.cli.failures import EXIT_CODES, ExitCode, report
from unitscope.errors import FailedPreconditionError, UnitScopeError
from unitscope.version import package_version

GROUP = "unitscope.commands"


class Commands(TyperGroup):
    """Our commands, then those of entry points; errors become messages and exit codes."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of all commands; nothing is loaded."""
        own = super().list_commands(ctx)
        return own + sorted(set(_added()) - set(own))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by name; one that a service adds is loaded now."""
        own = super().get_command(ctx, cmd_name)
        added = _added()
        return own if own is not None or cmd_name not in added else _load(added[cmd_name])

    def invoke(self, ctx: Any) -> Any:
        """Runs the command that was asked for."""
        try:
            return super().invoke(ctx)
        except UnitScopeError as error:
            raise typer.Exit(report(error)) from None
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None


app = typer.Typer(
    cls=Commands,
    help="See, measure and audit what the units of an image classifier have learned.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"unitscope {package_version()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    """Options before the command."""


local.register(app)
submit.register(app)
jobs.register(app)
units.register(app)
images.register(app)
describe.register(app)


def _added() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _load(point: EntryPoint) -> Any:
    """The command of an entry point; one that cannot be loaded becomes a command that says so."""
    try:
        return typer.main.get_command(point.load())
    except (ImportError, AttributeError) as error:
        reason = f"the command {point.name!r} ({point.value}) cannot be loaded: {error}"

    broken = typer.Typer(rich_markup_mode=None)

    @broken.command(
        point.name,
        help="(cannot be loaded)",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def fail() -> None:
        raise FailedPreconditionError(f"{reason}; install what it needs", reason="COMMAND_NOT_INSTALLED")

    return typer.main.get_command(broken)
