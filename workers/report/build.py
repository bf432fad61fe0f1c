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
from workers.report.counterfactual import pictures as counterfactual_pictures
from workers.report.counterfactual import view as counterfactual_view
from workers.report.counterfactual.results import Results
from workers.report.data import ReportData
from workers.report.pictures import within
from workers.report.quantify import pictures as quantify_pictures
from workers.report.quantify import view as quantify_view
from workers.report.quantify.findings import Findings
from workers.report.quantify.phrases import TITLES

MAX_BYTES = 25_000_000
"""A report is never larger, unless asked for otherwise."""

NUMBERS_SHARE = 0.7
"""Share of that size that words and numbers may take before those of screened units are left out."""

QUANTIFY_SCRIPTS = ("numbers", "masks", "find", "chart", "unit", "map", "table")
"""Scripts of the quantify report, in the order in which they are joined."""


def build(report: ReportData, max_bytes: int = MAX_BYTES) -> bytes:
    """The report as HTML (UTF-8). Equal data give equal bytes.

    Args:
        report: What to show.
        max_bytes: Largest size of the file. Film strips that do not fit are left out, those of the
            unit's strongest traversals last, and the page says how many.

    Raises:
        InvalidArgumentError: Even without any picture the report is larger (REPORT_TOO_LARGE).
    """
    findings: Findings | Results | None = None
    wanted = view.wanted_pictures(report)
    if report.quantify is not None:
        findings = Findings(report.quantify)
        wanted += quantify_pictures.wanted(findings)
    elif report.counterfactual is not None:
        findings = Results(report.counterfactual)
        wanted = [*counterfactual_pictures.wanted(findings), *wanted]
    # A row's words cost about as much as a small picture, so the frame is measured with all of them.
    every = {key: "" for key, _ in wanted}
    everything = True
    bare = _page(report, findings, every, len(wanted), everything)
    if isinstance(findings, Findings) and len(bare) > NUMBERS_SHARE * max_bytes:
        everything = False
        bare = _page(report, findings, every, len(wanted), everything)
    if len(bare) > max_bytes:
        bare = _page(report, findings, {}, len(wanted), everything)
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
    return _page(report, findings, pictures, left_out, everything)


def _page(
    report: ReportData,
    findings: Findings | Results | None,
    pictures: dict[str, str],
    left_out: int,
    everything: bool,
) -> bytes:
    if findings is None:
        return _render(view.make(report, pictures, left_out))
    if isinstance(findings, Results):
        own = {key: uri for key, uri in pictures.items() if not key.startswith(view.SURVIVOR)}
        found = counterfactual_view.make(findings, own, left_out)
        return _render(view.make(report, pictures, 0, counterfactual=found))
    quantify = quantify_view.make(findings, pictures, everything=everything)
    return _render(view.make(report, pictures, 0, quantify))


def _render(content: view.View) -> bytes:
    script, style = _asset("report.js"), _asset("report.css")
    rules = payload = ""
    if content.quantify is not None:
        script = "\n".join([script, *(_asset(f"quantify/{name}.js") for name in QUANTIFY_SCRIPTS)])
        style = "\n".join([style, _asset("quantify/quantify.css")])
        rules, payload = content.quantify.rules, content.quantify.payload
    if content.counterfactual is not None:
        # Strips, axes and bars are those of the units' pages: one product, one look.
        script = "\n".join([script, _asset("counterfactual/counterfactual.js")])
        sheets = ("quantify/quantify.css", "counterfactual/counterfactual.css")
        style = "\n".join([style, *(_asset(name) for name in sheets)])
        rules = content.counterfactual.rules
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            view=content,
            report=content.report,
            style=Markup(style),
            rules=Markup(rules),
            payload=Markup(payload),
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
        "measure_title": lambda name: TITLES.get(name, words.label(name)),
        "short": lambda digest: str(digest)[:12],
    }
    environment.filters.update(filters)
    environment.globals.update(
        metrics=words.METRICS,
        metric_key=words.metric_key,
        trust_parts=words.TRUST_PARTS,
        rows_at_first=view.ROWS_AT_FIRST,
        cards_at_first=view.CARDS_AT_FIRST,
        strips_at_first=quantify_view.ROWS_AT_FIRST,
    )
    return environment
