"""Writes ``docs/tables.md`` from `unitscope.tables`: ``python -m scripts.tables_page``."""

from __future__ import annotations

from pathlib import Path

from unitscope.tables import SCHEMA_VERSION, TABLES, Table

PAGE = Path(__file__).parents[1] / "docs" / "tables.md"

_HEAD = f"""# Tables

Every job writes tidy tables as Parquet (`tables/<name>.parquet`) and as JSON beside them. Types, units
and meanings also stand in the Parquet files, as metadata of each field. This is schema
version {SCHEMA_VERSION}.
The page is written by `make generate` from `unitscope/tables/`; a test holds the two together.

A unit in square brackets follows the type. *May be missing* marks columns that can be null.
"""


def page() -> str:
    """The whole page, in Markdown."""
    return "\n".join([_HEAD, *(_section(table) for table in TABLES)])


def _section(table: Table) -> str:
    heading = f"{table.name} of {table.kind}" if table.kind else table.name
    lines = [f"## {heading}", "", table.meaning, "", "| column | type | meaning |", "|---|---|---|"]
    for column in table.columns:
        unit = f" [{column.unit}]" if column.unit else ""
        missing = " *May be missing.*" if column.nullable else ""
        meaning = column.meaning.replace("|", "\\|")
        lines.append(f"| `{column.name}` | {_type(str(column.type))}{unit} | {meaning}{missing} |")
    return "\n".join(lines) + "\n"


def _type(name: str) -> str:
    return {"list<item: float>": "list of float", "string": "text", "bool": "true or false"}.get(name, name)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
