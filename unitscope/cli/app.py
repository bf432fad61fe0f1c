"""The command's own commands, and those that services add; see `unitscope.cli.groups`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from unitscope.cli import counterfactuals, describe, images, jobs, local, submit, tokens, units
from unitscope.cli.failures import EXIT_CODES, ExitCode, report
from unitscope.cli.groups import ExtensibleGroup
from unitscope.cli.options import ACCESS, AccessFiles
from unitscope.errors import UnitScopeError
from unitscope.version import package_version


class Commands(ExtensibleGroup):
    """Our commands, then those of entry points; errors become messages and exit codes."""

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
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            help="A file that holds the token to show to the gateway. Else UNITSCOPE_CLIENT_TOKEN_FILE.",
            show_default=False,
        ),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            "--ca-file",
            help="Speak TLS to the gateway; the file holds its authorities. Else "
            "UNITSCOPE_TLS_SERVER_CA_FILE.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Options before the command."""
    ACCESS.set(AccessFiles(token_file, ca_file))


local.register(app)
submit.register(app)
jobs.register(app)
units.register(app)
counterfactuals.register(app)
images.register(app)
describe.register(app)
tokens.register(app)
