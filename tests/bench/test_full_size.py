"""The benchmarks of the full networks, on the smallest ones: they run, and say what they found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import full_size, importing
from services.generator import configurations
from services.generator.importing.importer import import_stylegan_xl
from tests.support.tiny_pack import tiny_spec


def test_figures_are_of_pairs_of_one_round() -> None:
    def run(seconds: float, peak: float) -> dict[str, float]:
        return {"seconds": seconds, "cpu_seconds": 2 * seconds, "peak_bytes": peak, "loaded_bytes": 1e9,
                "threads": 2, "rows": 1}  # fmt: skip

    runs = {"plain": [run(30.0, 4e9), run(90.0, 4e9)], "fast": [run(10.0, 3e9), run(10.0, 3e9)]}
    found = full_size._figures("imagenet256", runs, run(5.0, 3e9), 0.001, 2.0)
    assert found["plain_over_fast"] == 6.0
    assert found["peak_gigabytes"] == {"plain": 4.0, "fast": 3.0}
    assert found["largest_difference_in_levels"] == pytest.approx(0.1275)


def test_a_child_that_fails_is_an_error() -> None:
    with (
        subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child,
        pytest.raises(RuntimeError, match="ended"),
    ):
        full_size._ask(child, "picture")


def test_what_is_imported_is_a_checkpoint_of_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configurations, "official_spec", lambda name: tiny_spec())
    path = tmp_path / "tiny.pkl"
    importing.write(path, "tiny", both=False)
    alone = path.stat().st_size
    card = import_stylegan_xl(path, tmp_path / "models", name="a/b")
    assert card.architecture["spec"]["resolution"] == tiny_spec().resolution
    importing.write(path, "tiny", both=True)
    assert path.stat().st_size > 1.8 * alone
