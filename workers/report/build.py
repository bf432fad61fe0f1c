"""Writes the report: one HTML file that needs nothing but a browser."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from unitscope.errors import InvalidArgumentError
from workers.report import view, words
from workers.report.data import ReportData
from workers.report.pictures import within

MAX_BYTES = 25_000_000
"""A report is never larger, unless asked for otherwise."""


def build(report: ReportData, max_bytes: int = MAX_BYTES) -> bytes:
    """The report as HTML (UTF-8). Equal data give equal bytes.

    Args:
        report: What to show.
        max_bytes: Largest size of the file. Film strips that do not fit are left out, those of the
            unit's strongest traversals last, and the page says how many.

    Raises:
        InvalidArgumentError: Even without any picture the report is larger (REPORT_TOO_LARGE).
    """
    wanted = view.wanted_pictures(report)
    # A row's words cost about as much as a small picture, so the frame is measured with all of them.
    bare = _render(view.make(report, {key: "" for key, _ in wanted}, len(wanted)))
    if len(bare) > max_bytes:
        bare = _render(view.make(report, {}, len(wanted)))
        if len(bare) > max_bytes:
            raise InvalidArgumentError(
                f"without any picture the report takes {len(bare)} bytes, more than the {max_bytes} "
                "allowed; allow more",
                reason="REPORT_TOO_LARGE",
                field="max_bytes",
                bytes=len(bare),
            )
        return bare
    pictures, left_out = within(max_bytes - len(bare), wanted)
    return _render(view.make(report, pictures, left_out))


def _render(content: view.View) -> bytes:
    script, style = _asset("report.js"), _asset("report.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            view=content,
            report=content.report,
            style=Markup(style),
            script=Markup(script),
            script_hash=f"sha256-{digest}",
        )
        .encode()
    )


def _asset(name: str) -> str:
    return (files("workers.report") / "templates" / name).read_text("utf-8").strip()


@cache
def _environment() -> Environment:
    """Names come from outside, so everything is escaped whatever the template's suffix."""
    environment = Environment(
        loader=PackageLoader("workers.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    filters: dict[str, Any] = {
        "number": words.number,
        "feature": words.feature,
        "percent": words.percent,
        "whole": words.whole,
        "label": words.label,
        "method": words.method_label,
        "moment": words.moment,
        "level": lambda trust: words.trust_level(trust).word,
        "short": lambda digest: str(digest)[:12],
    }
    environment.filters.update(filters)
    environment.globals.update(
        metrics=words.METRICS,
        metric_key=words.metric_key,
        trust_parts=words.TRUST_PARTS,
        rows_at_first=view.ROWS_AT_FIRST,
        cards_at_first=view.CARDS_AT_FIRST,
    )
    return environment
