"""What a port of metrics says, and what docs/signals.md says that it says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

PAGE = Path(__file__).parents[2] / "docs" / "signals.md"


@dataclass(frozen=True)
class Family:
    """One metric: its type, and its samples by labels (``le`` left out)."""

    type: str
    samples: dict[frozenset[tuple[str, str]], float] = field(default_factory=dict)

    def value(self, **labels: str) -> float:
        return self.samples[frozenset(labels.items())]

    @property
    def labels(self) -> set[str]:
        return {name for labels in self.samples for name, _ in labels}


def families(text: str) -> dict[str, Family]:
    """The metrics of a page by name; of histograms the samples are the counts."""
    found: dict[str, Family] = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        wanted = f"{name}_count" if family.type == "histogram" else name
        samples = {frozenset(s.labels.items()): s.value for s in family.samples if s.name == wanted}
        found[name] = Family(family.type, samples)
    return found


def table(heading: str) -> list[list[str]]:
    """The rows of the documented table whose first column has that heading, without back-ticks."""
    tables = re.findall(r"(?m)^\| " + heading + r" \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE.read_text("utf-8"))
    return [
        [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
        for text in tables
        for line in text.splitlines()
    ]


def words(cell: str) -> set[str]:
    """The words of a cell that lists some."""
    return set(cell.split(", ")) if cell else set()
