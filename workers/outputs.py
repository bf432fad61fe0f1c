"""What jobs hand out: tables as Parquet and JSON, pictures as zips. Equal contents give equal bytes."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from unitscope.tables import to_parquet

MAX_JSON_ROWS = 100_000
"""Longer tables are written as Parquet alone."""

PNG_LEVEL = 1
"""Twice as fast as the usual level, for files that are a twentieth larger."""

_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class OutputFile:
    """One artifact of a job: its name below the job, e.g. ``tables/steps.parquet``, type and bytes."""

    name: str
    media_type: str
    data: bytes


def table_files(name: str, table: pa.Table) -> Iterator[OutputFile]:
    """The table as Parquet and, up to `MAX_JSON_ROWS` rows, as JSON beside it.

    The JSON has the layout that pandas calls ``split``.
    """
    yield parquet_file(name, table)
    if table.num_rows <= MAX_JSON_ROWS:
        yield OutputFile(f"tables/{name}.json", "application/json", table_json(table))


def parquet_file(name: str, table: pa.Table) -> OutputFile:
    """The table as Parquet alone."""
    return OutputFile(f"tables/{name}.parquet", "application/vnd.apache.parquet", to_parquet(table))


def with_metadata(table: pa.Table, about: Mapping[str, str]) -> pa.Table:
    """The table with more metadata of its own."""
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **about})


def nullable(values: NDArray[Any]) -> pa.Array:
    """An array in which what is not finite is missing, flat."""
    flat = np.ascontiguousarray(values).ravel()
    return pa.array(flat, mask=~np.isfinite(flat))


def table_json(table: pa.Table) -> bytes:
    """The table as ``{"columns": [...], "index": [...], "data": [[...], ...]}``; NaN becomes null."""
    body = {
        "columns": table.column_names,
        "index": list(range(table.num_rows)),
        "data": list(zip(*(_plain(column) for column in table.columns), strict=True)),
    }
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def table_rows(table: pa.Table) -> list[dict[str, Any]]:
    """The table's rows as mappings."""
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def pack_images(images: Mapping[str, NDArray[np.uint8]]) -> bytes:
    """A zip of PNGs.

    Args:
        images: uint8 (height, width, 3) by name, e.g. ``unit-0007/cat-000003/step-00.png``.
    """
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, image in images.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), png(image))
    return sink.getvalue()


def unpack_images(data: bytes, names: Iterable[str]) -> NDArray[np.uint8]:
    """Pictures of a zip, uint8 (names, height, width, 3)."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return np.stack([np.asarray(Image.open(archive.open(name))) for name in names])


def png(image: NDArray[np.uint8]) -> bytes:
    """A picture, uint8 (height, width, 3), as PNG."""
    sink = io.BytesIO()
    Image.fromarray(image).save(sink, "PNG", compress_level=PNG_LEVEL)
    return sink.getvalue()


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """The column's values, float32 ones with the digits that they have."""
    values: list[Any] = column.to_pylist()
    kind = column.type
    if pa.types.is_list(kind) and pa.types.is_float32(kind.value_type):
        return [[_short(value) for value in row] for row in values]
    if pa.types.is_float32(kind):
        return [_short(value) for value in values]
    return [None if isinstance(value, float) and value != value else value for value in values]


def _short(value: float | None) -> float | None:
    return None if value is None or value != value else float(f"{value:.7g}")
