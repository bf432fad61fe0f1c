"""``unitscope units``: the units of a quantify job by what they do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unitscope.cli.answers import Form, opened, percent, print_plain, rows_of
from unitscope.cli.options import DEFAULT_HOME, AddressOption, HomeOption, example
from unitscope.cli.output import print_table
from unitscope.errors import FailedPreconditionError, InvalidArgumentError

if TYPE_CHECKING:
    import pyarrow as pa

    from unitscope.client import Result, SavedResult

BAR_WIDTH = 12
"""Characters of the longest bar."""
SHOWN_MEMBERS = 8
"""Units of a cluster that a table names."""


def register(app: typer.Typer) -> None:
    """Adds the command."""
    line = "unitscope units JOB --part glasses --measure area --increase --top 10"
    app.command("units", **example(line))(units)


def units(
    source: Annotated[
        str,
        typer.Argument(
            metavar="JOB", help="A quantify job's id, or a folder of its results.", show_default=False
        ),
    ],
    part: Annotated[
        str, typer.Option(help="The part that shall change.", metavar="PART", show_default=False)
    ] = "",
    measure: Annotated[
        str,
        typer.Option(
            help="The measure that shall change; without a part, in any.",
            metavar="MEASURE",
            show_default=False,
        ),
    ] = "",
    class_name: Annotated[
        str,
        typer.Option(
            "--class",
            metavar="CLASS",
            help="The class whose logit shall change; beside a part, both shall.",
            show_default=False,
        ),
    ] = "",
    increase: Annotated[
        bool | None,
        typer.Option(
            "--increase/--decrease", help="Only one direction; both if left out.", show_default=False
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, max=8192, help="Rows at most.")] = 20,
    like: Annotated[
        int | None,
        typer.Option(metavar="UNIT", help="Units whose effects resemble this one's.", show_default=False),
    ] = None,
    clusters: Annotated[
        bool, typer.Option("--clusters", help="Clusters of units with like effects.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also units that are not trusted.")] = False,
    screened: Annotated[
        bool, typer.Option("--screened", help="Also units that were not confirmed on further images.")
    ] = False,
    q: Annotated[
        float, typer.Option("--q", min=1e-9, max=1, help="False discovery rate; 1 lifts the bound.")
    ] = 0.05,
    output: Annotated[
        Form, typer.Option("--output", "-o", help="A table for people; JSON or CSV for programs.")
    ] = Form.TABLE,
    address: AddressOption = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Find units of a quantify job by what they change.

    The order is by strength times selectivity: first the units that change what is asked for much,
    and little else. Only trusted and confirmed units with q below --q are listed.
    """
    asked = {"--part": part, "--measure": measure, "--class": class_name}
    _check_ways(clusters, like, [name for name, value in asked.items() if value], increase)
    effects, table = _tables(source, address, home)
    if clusters:
        _show_clusters(effects, table, everything, top, output)
    elif like is not None:
        _show_resembling(effects, table, like, top, everything, screened, output, source)
    else:
        from unitscope.selection import choose

        found = choose(
            effects, table, part=part, measure=measure, logit=class_name, increase=increase,
            top=top, include_untrusted=everything, confirmed_only=not screened, q=q,
        )  # fmt: skip
        _show_selected(found.table, found.explanation, bool(class_name and (part or measure)), output, source)


def _check_ways(clusters: bool, like: int | None, asked: Sequence[str], increase: bool | None) -> None:
    """Raises `InvalidArgumentError` where two ways of asking are mixed."""
    ways = [name for name, used in (("--clusters", clusters), ("--like", like is not None)) if used]
    others = [*asked, *([] if increase is None else ["--increase/--decrease"])]
    if len(ways) > 1 or (ways and others):
        raise InvalidArgumentError(
            f"{ways[0]} does not go together with {', '.join([*ways[1:], *others])}; ask one after the other",
            reason="OPTIONS_EXCLUDE_EACH_OTHER",
        )


def _tables(source: str, address: str, home: Path) -> tuple[pa.Table, pa.Table]:
    """The tables ``effects`` and ``units`` of a job, or of a folder."""
    with opened(source, address, home) as found:
        return _both(found.result, source)


def _both(result: Result | SavedResult, source: str) -> tuple[pa.Table, pa.Table]:
    if not {"effects", "units"} <= set(result.tables):
        raise FailedPreconditionError(
            f"{source} has no table of effects; jobs of the kind 'quantify' have one, this one has: "
            f"{', '.join(result.tables) or 'none'}",
            reason="NOT_QUANTIFIED",
        )
    return result.table("effects"), result.table("units")


def _show_selected(table: pa.Table, words: str, with_logit: bool, output: Form, source: str) -> None:
    rows = rows_of(table)
    if output is not Form.TABLE:
        print_plain(table, rows, output)
        typer.echo(words, err=True)
        return
    if rows:
        head = ["UNIT", "WHAT", "EFFECT [95 %]", "STRENGTH", "", "SELECTIVE", "SIGN", "Q", "TRUST", "ALSO"]
        longest = max(abs(row["standardised"]) for row in rows)
        lines = [
            [
                _name(row),
                f"{row['part']} {row['measure']}",
                f"{_number(row['effect'])} [{_number(row['lower'])}, {_number(row['upper'])}]",
                f"{row['standardised']:+.2f} sd",
                _bar(abs(row["standardised"]), longest),
                percent(row["selectivity"]),
                f"{percent(row['same_sign'])} of {row['seeds']}",
                "screened" if row["stage"] != "confirm" and row["q"] is None else _q(row["q"]),
                _trust(row),
                _change(row, "also"),
            ]
            for row in rows
        ]
        if with_logit:
            head.append("LOGIT")
            lines = [[*line, _number(row["logit_effect"])] for line, row in zip(lines, rows, strict=True)]
        print_table(head, lines)
        typer.echo()
    typer.echo(words)
    if rows:
        typer.echo(_pointer(source, rows[0]["unit"]))


def _show_resembling(
    effects: pa.Table,
    units: pa.Table,
    unit: int,
    top: int,
    everything: bool,
    screened: bool,
    output: Form,
    source: str,
) -> None:
    from unitscope.selection import resembling

    table = resembling(effects, units, unit, top, include_untrusted=everything, confirmed_only=not screened)
    rows = rows_of(table)
    if output is not Form.TABLE:
        print_plain(table, rows, output)
        return
    if not rows:
        typer.echo(
            f"No unit to compare with unit {unit} is trusted and confirmed; --all and --screened show "
            "the others."
        )
        return
    lines = [
        (
            _name(row),
            f"{row['cosine']:+.2f}",
            _bar(max(0.0, row["cosine"]), 1.0),
            _change(row, "common"),
            f"{row['common_reference']:+.2f} sd" if row["common_part"] else "",
            _trust(row),
        )
        for row in rows
    ]
    print_table(("UNIT", "LIKENESS", "", "IN COMMON", f"UNIT {unit}", "TRUST"), lines)
    typer.echo(f"\nLikeness is the cosine of the standardised effects on all parts. {_pointer(source, unit)}")


def _show_clusters(effects: pa.Table, units: pa.Table, everything: bool, top: int, output: Form) -> None:
    from unitscope.selection import clusters

    table = clusters(units, effects, include_untrusted=everything).slice(0, top)
    rows = rows_of(table)
    if output is not Form.TABLE:
        print_plain(table, rows, output)
        return
    if not rows:
        typer.echo("No cluster has a trusted unit; --all counts the others.")
        return
    lines = [
        (
            str(row["cluster"]),
            str(row["size"]),
            f"{row['part']} {row['measure']} {row['standardised']:+.2f} sd",
            percent(row["same_sign"]),
            _change(row, "also"),
            f"{row['cohesion']:.2f}",
            " ".join(map(str, row["members"][:SHOWN_MEMBERS]))
            + (" ..." if row["size"] > SHOWN_MEMBERS else ""),
        )
        for row in rows
    ]
    print_table(("CLUSTER", "UNITS", "IN COMMON", "SIGN", "AND", "COHESION", "MEMBERS"), lines)


def _pointer(source: str, unit: int) -> str:
    """Where more of a unit is to be seen."""
    page = f"report/index.html#unit-{unit}"
    if Path(source).is_dir():
        return f"Film strips and all effects: {Path(source) / page}"
    return f"Film strips and all effects: unitscope download {source}, then {source}/{page}"


def _name(row: dict[str, Any]) -> str:
    return f"{row['unit']} ({row['group']})" if row["group"] else str(row["unit"])


def _change(row: dict[str, Any], which: str) -> str:
    """A part, a measure and a standardised effect; empty where there is none."""
    if row[f"{which}_part"] is None:
        return ""
    return f"{row[f'{which}_part']} {row[f'{which}_measure']} {row[f'{which}_standardised']:+.2f} sd"


def _trust(row: dict[str, Any]) -> str:
    value = "" if row["trust"] is None else f"{row['trust']:.2f}"
    return value if row["trusted"] else f"{value} not trusted".strip()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:+.3g}"


def _q(value: float | None) -> str:
    return "no q" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def _bar(value: float, longest: float) -> str:
    """A bar in eighths of a character."""
    eighths = round(8 * BAR_WIDTH * value / longest) if longest > 0 else 0
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]
