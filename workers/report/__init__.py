"""The report of a job: one self-contained HTML file.

    >>> from workers.report import ReportData, build
    >>> html = build(report)  # bytes; opens from disk, needs no network

:class:`ReportData` says what a report is made of. Equal data give equal bytes.
"""

from workers.report.build import MAX_BYTES, build
from workers.report.data import LinkerSummary, Model, ReportData, Row, Survivor, Traversal

__all__ = [
    "MAX_BYTES",
    "LinkerSummary",
    "Model",
    "ReportData",
    "Row",
    "Survivor",
    "Traversal",
    "build",
]
