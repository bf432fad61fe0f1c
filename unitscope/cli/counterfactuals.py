"""``unitscope counterfactuals``: the pairs of a counterfactual job, or its single rows."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unitscope.cli.answers import Form, Opened, opened, percent, print_plain, rows_of
from unitscope.cli.options import DEFAULT_HOME, AddressOption, HomeOption, example
from unitscope.cli.output import print_table
from unitscope.errors import FailedPreconditionError, InvalidArgumentError

if TYPE_CHECKING:
    import pyarrow as pa

    from unitscope.selection.counterfactuals import Known


class Order(StrEnum):
    """What comes first."""

    DISTANCE = "distance"
    VALIDITY = "validity"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    line = "unitscope counterfactuals JOB --origin bun --sort validity --top 10"
    app.command("counterfactuals", **example(line))(counterfactuals)


def counterfactuals(
    source: Annotated[
        str,
        typer.Argument(
            metavar="JOB", help="A counterfactual job's id, or a folder of its results.", show_default=False
        ),
    ],
    origin: Annotated[
        str,
        typer.Option(
            help="Only from this class, as read in the base image.", metavar="CLASS", show_default=False
        ),
    ] = "",
    target: Annotated[
        str, typer.Option(help="Only to this class.", metavar="CLASS", show_default=False)
    ] = "",
    rows: Annotated[
        bool, typer.Option("--rows", help="The single base images and targets, not the pairs of classes.")
    ] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only rows without a counterfactual, and why there is none.")
    ] = False,
    sort: Annotated[
        Order, typer.Option(help="The nearest first, or those that were reached most often.")
    ] = Order.DISTANCE,
    top: Annotated[int, typer.Option(min=1, max=1_000_000, help="Rows at most.")] = 60,
    output: Annotated[
        Form, typer.Option("--output", "-o", help="A table for people; JSON or CSV for programs.")
    ] = Form.TABLE,
    address: AddressOption = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Show how far classes are from each other, and what would have to change.

    One line for each pair of classes; with --rows, for each base image and target. DISTANCE is the length
    of the shift of the features, UNITS how many units hold 90 % of it, PART what changes most in the picture.
    """
    if rows and failed:
        raise InvalidArgumentError(
            "--failed shows rows already; leave --rows out", reason="OPTIONS_EXCLUDE_EACH_OTHER"
        )
    with opened(source, address, home) as found:
        _check_kind(found)
        table = found.result.table("counterfactuals")
        pairs = found.result.table("pairs")
    if rows or failed:
        _show_rows(found, table, origin, target, failed, sort, top, output)
    else:
        _show_pairs(found, table, pairs, origin, target, sort, top, output)


def _check_kind(found: Opened) -> None:
    there = found.result.tables
    if not {"counterfactuals", "pairs"} <= set(there):
        raise FailedPreconditionError(
            f"{found.source} has no table of counterfactuals; jobs of the kind 'counterfactual' have one, "
            f"this one has: {', '.join(there) or 'none'}",
            reason="NOT_COUNTERFACTUAL",
        )


def _show_pairs(
    found: Opened,
    table: pa.Table,
    pairs: pa.Table,
    origin: str,
    target: str,
    sort: Order,
    top: int,
    output: Form,
) -> None:
    from unitscope.selection.counterfactuals import choose_pairs, summary

    if not pairs.num_rows and output is Form.TABLE:
        typer.echo(f"No pair of classes was searched for. {summary(table)}")
        typer.echo(f"Why: unitscope counterfactuals {found.source} --failed")
        return
    chosen = choose_pairs(pairs, origin=origin, target=target, sort=sort.value)
    shown = chosen.slice(0, top)
    cells = rows_of(shown)
    if output is not Form.TABLE:
        print_plain(shown, cells, output)
        return
    head = ("ORIGIN", "TARGET", "REACHED", "DISTANCE [95 %]", "UNITS", "PART", "PLAUSIBLE", "CALLS")
    print_table(head, map(_pair, cells))
    typer.echo()
    typer.echo(f"{summary(table)}.{_more(chosen.num_rows, top, 'pairs')}")
    typer.echo(f"Pictures, film strips and the matrix of classes: {found.report}")


def _pair(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["origin"],
        row["target"],
        f"{row['reached']}/{row['images']}",
        _interval(row),
        _number(row["units_for_90"]),
        " ".join(filter(None, (row["part"], row["measure"], _share(row["part_share"])))),
        percent(row["plausible"]),
        _number(row["generator_calls"]),
    )


def _show_rows(
    found: Opened,
    table: pa.Table,
    origin: str,
    target: str,
    failed: bool,
    sort: Order,
    top: int,
    output: Form,
) -> None:
    from unitscope.selection.counterfactuals import choose_rows, known_in, summary

    chosen = choose_rows(table, origin=origin, target=target, failed=failed, sort=sort.value)
    shown = chosen.slice(0, top)
    cells = rows_of(shown)
    if output is not Form.TABLE:
        print_plain(shown, cells, output)
        return
    known = known_in(table)
    if failed and cells:
        head: tuple[str, ...] = ("ORIGIN", "TARGET", "IMAGE", "OUTCOME", "WHY")
        print_table(head, [_failure(row, known) for row in cells])
    elif cells:
        head = (
            "ORIGIN",
            "TARGET",
            "IMAGE",
            "OUTCOME",
            "DISTANCE",
            "UNITS",
            "PART",
            "PLAUSIBLE",
            "P(TARGET)",
            "CALLS",
        )
        print_table(head, map(_row, cells))
    if cells:
        typer.echo()
    typer.echo(f"{summary(table)}.{_more(chosen.num_rows, top, 'rows')}")


def _failure(row: dict[str, Any], known: Known) -> tuple[str, ...]:
    from unitscope.selection.counterfactuals import why

    return row["origin"] or "", row["target"], _image(row), row["outcome"], why(row, known)


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    moved = row["target_before"] is not None and row["target_after"] is not None
    return (
        row["origin"] or "",
        row["target"],
        _image(row),
        row["outcome"],
        _number(row["l2"]),
        _number(row["units_for_90"]),
        " ".join(filter(None, (row["part"], row["measure"]))),
        "" if row["plausible"] is None else "yes" if row["plausible"] else "no",
        f"{row['target_before']:.2f} to {row['target_after']:.2f}" if moved else "",
        str(row["generator_calls"]) if row["generator_calls"] else "",
    )


def _image(row: dict[str, Any]) -> str:
    """A file of one's own, or class and seed of a generated image."""
    if row["image"]:
        return str(row["image"])
    return "" if row["seed"] is None else f"{row['class'] or ''} {row['seed']}".strip()


def _interval(row: dict[str, Any]) -> str:
    if row["distance"] is None:
        return ""
    ends = [_number(row[f"distance_{end}"]) for end in ("lower", "upper")]
    return _number(row["distance"]) + (f" [{ends[0]}, {ends[1]}]" if all(ends) else "")


def _share(value: float | None) -> str:
    return "" if value is None else f"({value:.0%})"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def _more(count: int, top: int, what: str) -> str:
    return f" {top:,} of {count:,} {what} are shown; --top shows more." if count > top else ""
