"""The ``unitscope`` command. Commands of services join it by entry points; see `unitscope.cli.app`."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command and ends the process with one of the codes of `unitscope.cli.failures`."""
    from unitscope.cli.app import app

    app(args=arguments if arguments is None else list(arguments), prog_name="unitscope")
