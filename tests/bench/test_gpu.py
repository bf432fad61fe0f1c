"""The GPU's benchmark as far as it goes without one: the refusal, the table, the differences."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import __main__ as page
from bench import gpu
from unitscope.errors import UnavailableError

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: nothing is refused")


@without_gpu
def test_without_a_gpu_nothing_is_measured() -> None:
    with pytest.raises(UnavailableError, match="needs a GPU") as caught:
        gpu.measure(Path("models"), 1, 0.0, False)
    assert caught.value.reason == "NO_GPU"
    assert gpu.NO_DEVICE == page.NO_DEVICE


@without_gpu
def test_the_page_says_so_and_keeps_what_was_measured_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "FIGURES", tmp_path / "figures.json")
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(sys, "argv", ["bench", "gpu"])
    assert page.main() == 0
    assert "Not measured: run `python -m bench gpu`" in page.PAGE.read_text(encoding="utf-8")
    measured = {"gpu": {"machine": {}, "seconds": 1.0, "figures": {"images_per_second": 7.0}}}
    page.FIGURES.write_text(json.dumps(measured), encoding="utf-8")
    assert page.main() == 0
    assert "| images_per_second | 7 |" in page.PAGE.read_text(encoding="utf-8")


def test_a_benchmark_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        page.run("no_such_benchmark")


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989.4),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 NVL", 835.5),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA A10", 125.0),
        ("NVIDIA A10G", None),
        ("Another", None),
    ],
)
def test_the_peak_follows_the_name(name: str, peak: float | None) -> None:
    assert gpu.peak_tflops(name) == peak
    assert gpu.peak_tflops(name, 100.0) == 100.0


def test_differences_of_a_precision() -> None:
    base = np.full((2, 4, 4, 3), 100, np.uint8)
    moved = base.copy()
    moved[0, 0, 0, 0] = 104
    features = {"float32": np.array([[1.0, 0.0], [3.0, 4.0]]), "half": np.array([[1.0, 0.0], [3.5, 4.0]])}
    found = gpu.difference({"float32": base, "half": moved}, features, "half")
    assert found["largest_level"] == 4
    assert found["mean_level"] == pytest.approx(4 / 96)
    assert found["psnr_decibels"] == pytest.approx(10 * np.log10(255**2 / (16 / 96)))
    assert found["features_largest_over_spread"] == pytest.approx(0.5)
    assert found["features_relative"] == pytest.approx(0.5 / 26**0.5)
    assert gpu.difference({"float32": base, "half": base}, features, "half")["psnr_decibels"] is None
