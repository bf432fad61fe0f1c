"""Commands on tokens of the job API: create, check. They speak with no server."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from unitscope.cli.options import Output, OutputOption, example
from unitscope.cli.output import print_json, print_pairs, print_table
from unitscope.errors import FailedPreconditionError, InvalidArgumentError


def register(app: typer.Typer) -> None:
    """Adds the group of commands."""
    group = typer.Typer(help="Create and check tokens of the job API.", no_args_is_help=True)
    group.command("create", **example("unitscope tokens create --project lab --name alice --append tokens"))(
        create
    )
    group.command("check", **example("unitscope tokens check tokens"))(check)
    app.add_typer(group, name="tokens")


def create(
    project: Annotated[str, typer.Option(help="The project that the caller's jobs belong to.")],
    name: Annotated[str, typer.Option(help="Who calls; for people and the audit only.")],
    expires: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="The last day, in UTC, that it is good for; for ever otherwise."
        ),
    ] = None,
    append: Annotated[
        Path | None,
        typer.Option(help="Append the line to this file, made where it is missing.", show_default=False),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Draw a token and print it, once, with the line that lets the gateway know it.

    The line holds the token's hash only. It goes into the file that the gateway's variable
    UNITSCOPE_GATEWAY_TOKENS_FILE names; a running gateway notices.
    """
    from unitscope.rpc.tokens import FILE_VARIABLE, create_token

    token, entry = create_token(name, project, expires.date() if expires else None)
    line = entry.to_line()
    if append is not None:
        _append(append, line)
    if output is Output.JSON:
        print_json({"token": token, "line": line})
        return
    print_pairs([("token", token), ("line", line)])
    where = f"the line is in {append}" if append else f"add the line to the gateway's {FILE_VARIABLE}"
    typer.echo(f"the token is shown this once; {where}", err=True)


def check(
    file: Annotated[Path, typer.Argument(help="A file of tokens' hashes.", show_default=False)],
    output: OutputOption = Output.TABLE,
) -> None:
    """List whom a file of tokens lets in, and refuse it where a line is wrong."""
    from unitscope.rpc.tokens import parse_tokens

    try:
        entries, problems = parse_tokens(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        # The text of a decoding error quotes the file.
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidArgumentError(f"{file} cannot be read: {why}", reason="TOKENS_UNREADABLE") from None
    today = datetime.now(UTC).date()
    rows = [
        {
            "name": entry.principal.name,
            "project": entry.principal.project,
            "expires": entry.expires.isoformat() if entry.expires else None,
            "good": entry.expires is None or today <= entry.expires,
        }
        for entry in entries
    ]
    if output is Output.JSON:
        print_json({"tokens": rows, "problems": problems})
    else:
        columns = ("NAME", "PROJECT", "EXPIRES", "GOOD")
        print_table(
            columns,
            [
                (
                    str(r["name"]),
                    str(r["project"]),
                    str(r["expires"] or "never"),
                    "yes" if r["good"] else "no",
                )
                for r in rows
            ],
        )
    if problems:
        raise InvalidArgumentError(
            f"{file} has {len(problems)} wrong lines, which let nobody in: " + "; ".join(problems),
            reason="INVALID_TOKENS",
        )


def _append(file: Path, line: str) -> None:
    """Appends a line, in one write, to a file that only its owner and group may read."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        with open(descriptor, "ab") as handle:
            ends = handle.tell() == 0 or file.read_bytes().endswith(b"\n")
            handle.write(b"" if ends else b"\n")
            handle.write(f"{line}\n".encode())
    except OSError as error:
        raise FailedPreconditionError(
            f"{file} cannot be written: {error.strerror}", reason="TOKENS_NOT_WRITTEN"
        ) from error
