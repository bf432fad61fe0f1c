"""What the report of a `counterfactual` job is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from unitscope.jobs.chunks import ChunkResult
from unitscope.jobs.planning.counterfactual import targets_of
from unitscope.jobs.specs import CounterfactualSpec
from unitscope.names import near_names
from workers.analyses import page
from workers.analyses.counterfactual.gather import Rows, pairs_of, searches
from workers.analyses.counterfactual.inversions import shown_inversions
from workers.analyses.counterfactual.naming import frame_picture, row_picture
from workers.analyses.counterfactual.rows import missing_origins
from workers.analyses.job import Job
from workers.analyses.linked import link_spec
from workers.counterfactual.result import softmax
from workers.measures import MEASURES
from workers.outputs import table_rows, unpack_images
from workers.report import ReportData
from workers.report.counterfactual.data import CounterfactualData, Shown
from workers.statistics import spaced

SHOWN_OF_PAIR = 2
MAX_SHOWN = 400
"""Counterfactuals with pictures that are offered to a report; it shows what its size allows of them."""
SHOWN_BYTES = 24 << 20
"""Pictures of all of them together, decoded."""
MAX_ROWS = 100_000
"""Rows of changes and of carriers that are offered to a report: of more pairs than it can show in full."""

_NOT_SHOWN = ("units", "shifts", "image_shard", "image_folder")
"""Columns of ``counterfactuals`` that are long or say where files are."""
MAX_UNKNOWN = 24
"""Names that are no class, of which a report says what is near them."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Tables:
    """The tables of a job, `rows` being the fixed columns of ``counterfactuals``."""

    rows: pa.Table
    pairs: pa.Table
    carriers: pa.Table
    changes: pa.Table
    quality: pa.Table
    inversions: pa.Table | None

    def others(self) -> list[tuple[str, pa.Table]]:
        """All but ``counterfactuals``, by name."""
        named = {name: getattr(self, name) for name in ("pairs", "carriers", "changes", "inversions")}
        return [(name, table) for name, table in named.items() if table is not None] + [
            ("quality", self.quality)
        ]


def counterfactual_report(context: Job, spec: CounterfactualSpec, found: Rows, tables: Tables) -> ReportData:
    """The report."""
    # Every row is held as a mapping: what the page never shows is left out.
    rows = table_rows(tables.rows.drop_columns(list(_NOT_SHOWN)))
    changes, carriers = _foremost(tables.changes, "share", 1), _foremost(tables.carriers, "rank", -1)
    unknown, more_unknown = _unknown(context, spec)
    inverted = () if tables.inversions is None else table_rows(tables.inversions)
    data = CounterfactualData(
        method=spec.method,
        norm=spec.norm,
        plausibility=spec.plausibility,
        start=spec.start,
        parts=context.card("parts").classes,
        measures=MEASURES,
        classes=context.card("classifier").classes,
        rows=rows,
        pairs=table_rows(tables.pairs),
        carriers=table_rows(carriers),
        changes=table_rows(changes),
        shown=list(_shown(context, spec, found, rows)),
        inverted=list(shown_inversions(context, spec, inverted)),
        unknown=unknown,
        more_unknown=more_unknown,
        renders=sum(stage.renders for stage in context.plan.stages),
    )
    return ReportData(
        **page.common(context, f"What would make {context.card('classifier').name} say something else"),
        quality=table_rows(tables.quality),
        survivors=[s for _, group in page.survivors(context) for s in group] if link_spec(context) else [],
        notes=_notes(context, spec, found, tables),
        tables=("counterfactuals", *(name for name, _ in tables.others())),
        counterfactual=data,
    )


def _foremost(table: pa.Table, by: str, sign: int) -> pa.Table:
    """At most `MAX_ROWS` rows of a table in its order: those that are largest (sign 1) or least (-1)."""
    if table.num_rows <= MAX_ROWS:
        return table
    weight = np.nan_to_num(pc.fill_null(table[by], 0).to_numpy().astype(np.float64)) * sign
    return table.take(np.sort(np.argsort(-weight, kind="stable")[:MAX_ROWS]))


def chosen(found: Rows, bytes_each: int) -> list[int]:
    """Rows that are shown: of each pair that of the median distance, then the next nearest to it.

    Args:
        found: All rows.
        bytes_each: Of the pictures of a row.

    Returns:
        Pairs in their order. Where there are too many, evenly spaced ones.
    """
    room = min(MAX_SHOWN, max(1, SHOWN_BYTES // bytes_each))
    first: list[tuple[int, int]] = []
    more: list[tuple[int, int]] = []
    for number, pair in enumerate(pairs_of(found)):
        kept = pair.reached[found.kept[pair.reached]]
        if len(kept):
            off = np.abs(found.l2[kept] - np.median(found.l2[pair.reached]))
            best, *rest = kept[np.argsort(off, kind="stable")][:SHOWN_OF_PAIR].tolist()
            first.append((number, best))
            more.extend((number, row) for row in rest)
    taken = [first[k] for k in spaced(len(first), room)]
    taken += [more[k] for k in spaced(len(more), room - len(taken))]
    # A stable sort: of each pair the first one stays the first.
    return [row for _, row in sorted(taken, key=lambda item: item[0])]


def _shown(context: Job, spec: CounterfactualSpec, found: Rows, rows: Sequence[Row]) -> Iterator[Shown]:
    edge = int(context.card("generator").architecture["spec"]["resolution"])
    wanted = chosen(found, edge * edge * (3 * spec.frames + 8))
    chunks = {int(found.chunk[row]) for row in wanted}
    seen: dict[int, Shown] = {}
    for index, _, chunk in searches(context, only=chunks):
        for row in wanted:
            if found.chunk[row] == index:
                seen[row] = _pictured(spec, rows[row], chunk, int(found.row[row]))
    yield from (seen[row] for row in wanted)


def _pictured(spec: CounterfactualSpec, row: Row, chunk: ChunkResult, place: int) -> Shown:
    """One row with its pictures."""
    data = chunk.tensors["pictures"].tobytes()
    pictures = unpack_images(data, [row_picture(place, name) for name in ("start", "counterfactual")])
    names = ("start-parts", "counterfactual-parts")
    labels = unpack_images(data, [row_picture(place, name) for name in names])
    return Shown(
        row=row,
        start=pictures[0],
        counterfactual=pictures[1],
        start_labels=labels[0],
        labels=labels[1],
        alphas=chunk.tensors["strip_alphas"],
        frames=unpack_images(data, [frame_picture(place, frame) for frame in range(spec.frames)]),
        probabilities=softmax(chunk.tensors["strip_logits"][place]),
    )


def _unknown(context: Job, spec: CounterfactualSpec) -> tuple[dict[str, list[str]], int]:
    """Names that are no class, with the classes that are called nearly so, and how many more there are."""
    classes = context.card("classifier").classes
    asked = {name: context.card("generator").classes for name in missing_origins(context, spec)}
    asked |= {name: classes for name in targets_of(spec, classes) if name and name not in classes}
    first = list(asked.items())[:MAX_UNKNOWN]
    return {name: near_names(name, among) for name, among in first}, len(asked) - len(first)


def _notes(context: Job, spec: CounterfactualSpec, found: Rows, tables: Tables) -> list[str]:
    """What the reader should know of the pictures and of the linker."""
    notes = []
    kept, reached = int(found.kept[found.reached].sum()), int(found.reached.sum())
    if kept < reached:
        notes.append(
            f"Pictures of {kept:,} of the {reached:,} counterfactuals were kept (keep: {spec.keep}); the "
            "figures count all of them."
        )
    if spec.start == "own":
        notes.append(
            "Searches started from the base images themselves, w + A (r' - r), not from what the linker "
            "makes of their features."
        )
    else:
        notes.append(
            "Searches started from what the linker makes of the base images' features, A r + b, as "
            "published; where that is read as the target already, a row says so."
        )
    if not found.gradients.all():
        notes.append(
            "Gradients through the picture were not served: an ONNX classifier has none, and the generator's "
            "may be switched off. So no counterfactual was refined, and what crossed nowhere was not "
            "pursued: distances may be longer, and fewer rows reached, than with gradients."
        )
    if spec.image_folder:
        notes.append(
            "One's own images were inverted to w first: searches start from the generator's picture of "
            "them, not from the image itself."
        )
    if max(tables.changes.num_rows, tables.carriers.num_rows) > MAX_ROWS:
        notes.append("Of changes and carriers the foremost are shown; the tables hold all of them.")
    if link_spec(context) is None:
        notes.append("The linker was fitted by an earlier job; its quality over all classes is shown.")
    return notes
