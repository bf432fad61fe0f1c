"""The page, the catalogue and the dashboard speak of the same metrics."""

from __future__ import annotations

import json
import re

from tests.signals.scraped import PAGE, table, words
from unitscope.signals import catalogue
from unitscope.signals.instruments import INSTRUMENTS

DASHBOARD = PAGE.parents[1] / "k8s" / "components" / "monitoring" / "dashboard.json"


def test_the_page_lists_what_there_is() -> None:
    documented = {row[0]: (row[1], words(row[2]), words(row[3])) for row in table("metric") if len(row) == 5}
    declared = {
        name: (type(instrument).__name__.lower(), set(instrument.labels), set(instrument.programs))
        for name, instrument in INSTRUMENTS.items()
    }
    assert documented == declared


def test_names_follow_the_rules_of_prometheus_and_labels_are_few() -> None:
    for name, instrument in INSTRUMENTS.items():
        assert re.fullmatch(r"unitscope(_[a-z]+)+", name)
        assert name.endswith("_total") == isinstance(instrument, catalogue.Counter), name
        assert not {"job", "chunk", "project", "model", "trace"} & set(instrument.labels)


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    board = json.loads(DASHBOARD.read_text("utf-8"))
    triton = {row[0] for row in table("metric") if len(row) == 2}
    suffixes = ("", "_bucket", "_sum", "_count")
    known = {name + suffix for name in INSTRUMENTS for suffix in suffixes} | triton
    asked: set[str] = set()
    for panel in (panel for panel in board["panels"] if panel["type"] != "row"):
        assert panel["datasource"]["uid"] == "${source}", panel["title"]
        assert panel["description"]
        for target in panel["targets"]:
            asked |= set(re.findall(r"\b(?:unitscope|nv)_\w+", target["expr"]))
    assert asked - known == set()
    assert {"unitscope_outstanding_chunks", "unitscope_chunks_total", "nv_inference_count"} <= asked
    places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
    assert len(set(places)) == len(places)
