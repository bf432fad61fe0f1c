"""Exports: equal pictures for any number of rows, and what happens where they cannot be made."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from services.generator import export
from services.generator.backend import GeneratorBackend
from services.generator.commands import onnx_app
from services.generator.export import export_onnx, export_program, onnx_difference
from unitscope.cli.app import app
from unitscope.errors import AlreadyExistsError, DataLossError, FailedPreconditionError
from unitscope.models.cards import ModelCard


@pytest.fixture(scope="module")
def written(backend: GeneratorBackend, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """An ONNX file of the tiny generator, and the difference that its writer found."""
    path = tmp_path_factory.mktemp("onnx") / "folder" / "tiny.onnx"
    return path, export_onnx(backend.network, path)


def test_an_exported_program_gives_the_same_pictures_for_any_rows(backend: GeneratorBackend) -> None:
    program = export_program(backend.network)
    rendering = program.module()
    spec = backend.spec
    for rows in (1, 2, 7):
        w = torch.randn(rows, spec.num_ws, spec.w_dim, generator=torch.Generator().manual_seed(rows))
        with torch.inference_mode():
            expected = backend.network.synthesis(w)
        assert (rendering(w) - expected).abs().max() < 1e-5
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    foreign = {name for name in targets if not name.startswith(("aten.", "<built-in function"))}
    assert not foreign, "operations that other runtimes may not know"


def test_onnxruntime_renders_the_same_pictures(
    backend: GeneratorBackend, written: tuple[Path, float]
) -> None:
    path, difference = written
    assert difference < 1e-5
    spec = backend.spec
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,), (found,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape[1:]) == ("w", "tensor(float)", [spec.num_ws, spec.w_dim])
    assert (found.name, found.shape[1:]) == ("image", [3, spec.resolution, spec.resolution])
    assert isinstance(given.shape[0], str), "the number of rows is not fixed"
    w = np.random.default_rng(1).standard_normal((11, spec.num_ws, spec.w_dim)).astype(np.float32)
    (images,) = session.run(None, {"w": w})
    pixels = np.clip(np.round((images + 1) * 127.5), 0, 255).transpose(0, 2, 3, 1)
    assert np.abs(pixels - backend.render(w)).max() <= 1
    assert sorted(file.name for file in path.parent.iterdir()) == ["tiny.onnx"]


def test_it_needs_no_operators_but_onnx_own(written: tuple[Path, float]) -> None:
    model = onnx.load(written[0])
    onnx.checker.check_model(model)
    assert {node.domain for node in model.graph.node} == {""}


def test_large_weights_lie_beside_the_file(
    backend: GeneratorBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "EXTERNAL_BYTES", 1)
    assert export_onnx(backend.network, tmp_path / "tiny.onnx") < 1e-5
    assert sorted(file.name for file in tmp_path.iterdir()) == ["tiny.onnx", "tiny.onnx.data"]
    assert onnx_difference(backend.network, tmp_path / "tiny.onnx") < 1e-5


def test_an_export_that_differs_is_not_kept(
    backend: GeneratorBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", 0.0)
    with pytest.raises(DataLossError, match="differ by up to") as caught:
        export_onnx(backend.network, tmp_path / "tiny.onnx")
    assert caught.value.reason == "EXPORT_DIFFERS"
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_not_written_over(backend: GeneratorBackend, written: tuple[Path, float]) -> None:
    before = written[0].stat()
    with pytest.raises(AlreadyExistsError, match="name a new file"):
        export_onnx(backend.network, written[0])
    assert written[0].stat() == before


def test_without_the_packages_the_message_names_them(
    backend: GeneratorBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "onnxruntime" else find(name)
    )
    with pytest.raises(FailedPreconditionError, match="onnxruntime is needed") as caught:
        export_onnx(backend.network, tmp_path / "tiny.onnx")
    assert caught.value.reason == "EXTRA_NOT_INSTALLED"


def test_the_command_states_the_difference(pack: Path, card: ModelCard, tmp_path: Path) -> None:
    target = tmp_path / "tiny.onnx"
    arguments = [str(target), "--model", card.name, "--models", str(pack)]
    done = CliRunner().invoke(onnx_app, arguments)
    assert done.exit_code == 0, done.output
    assert f"{card.name} {card.short_digest}, {target.stat().st_size} bytes" in done.output
    assert "under onnxruntime: " in done.output
    again = CliRunner().invoke(app, ["models", "export-onnx", *arguments])
    assert again.exit_code != 0
    assert "name a new file" in again.output
