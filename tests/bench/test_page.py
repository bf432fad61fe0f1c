"""The page of benchmarks: which there are, and what is written of them."""

from __future__ import annotations

import json

from bench.__main__ import FIGURES, PAGE, machine, names, page


def test_every_module_that_measures_is_found() -> None:
    assert {"generator", "linker"} <= set(names())
    assert "__main__" not in names()


def test_a_page_shows_every_figure_and_its_machine() -> None:
    figures = {"ratio": 12.345678, "runs": {"ours": {"seconds": 1.5}}, "sizes": [1, 2], "rows": [{"a": "x"}]}
    text = page({"linker": {"machine": machine(), "seconds": 3.0, "figures": figures}})
    for row in ("| ratio | 12.35 |", "| runs.ours.seconds | 1.5 |", "| sizes | 1, 2 |", "| rows.0.a | x |"):
        assert row in text
    assert "## linker" in text
    assert "The linker against scikit-learn" in text
    assert "- processor: " in text
    assert "python -m bench NAME" in text


def test_the_page_is_that_of_the_stored_figures() -> None:
    if FIGURES.exists() or PAGE.exists():
        assert PAGE.read_text(encoding="utf-8") == page(json.loads(FIGURES.read_text(encoding="utf-8")))
