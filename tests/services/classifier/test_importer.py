from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from services.classifier.classifier import load_classifier, preprocess
from services.classifier.commands import app
from services.classifier.importer import import_torchvision, read_state_dict
from services.classifier.networks import torchvision_model
from tests.services.classifier.conftest import ARCHITECTURE, IMPORTED, LABELS
from unitscope.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError
from unitscope.models.registry import Registry


def test_the_imported_network_computes_what_torchvision_does(registry: Registry, weights: Path) -> None:
    card = registry.resolve(IMPORTED)
    original = torchvision_model(ARCHITECTURE, len(LABELS)).eval()
    original.load_state_dict(torch.load(weights, weights_only=True))
    images = np.random.default_rng(2).integers(0, 256, (4, 64, 48, 3), dtype=np.uint8)
    assert card.input is not None
    with torch.inference_mode():
        expected = original(preprocess(torch.from_numpy(images), card.input))
    reading = load_classifier(card, registry).read(images)
    np.testing.assert_allclose(reading.logits, expected.numpy(), atol=1e-5)


def test_layers_are_measured(registry: Registry) -> None:
    card = registry.resolve(IMPORTED)
    found = [(layer.name, layer.units, layer.nonnegative, layer.has_head) for layer in card.layers]
    assert found == [("penultimate", 1024, True, True), ("maps", 1024, True, False)]
    assert card.architecture["head"] == "fc"


def test_a_network_without_relu_is_declared_as_such(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    torch.manual_seed(1)
    save_file(torchvision_model("mobilenet_v3_small", 3).state_dict(), path)
    card = import_torchvision(
        "mobilenet_v3_small", path, tmp_path, name="mine/mobile", classes=LABELS, size=(32, 32)
    )
    assert card.architecture["head"] == "classifier.3"
    assert not card.layer().nonnegative


def test_wrapped_state_dicts_are_read(weights: Path, tmp_path: Path) -> None:
    plain = read_state_dict(weights)
    wrapped = {"state_dict": {f"module.{key}": value for key, value in plain.items()}, "epoch": 3}
    torch.save(wrapped, tmp_path / "wrapped.pth")
    found = read_state_dict(tmp_path / "wrapped.pth")
    assert found.keys() == plain.keys()
    assert all(torch.equal(found[key], plain[key]) for key in plain)


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


def test_a_pickle_that_would_execute_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": _Bomb()}, "new.pth")
    Path("old.pth").write_bytes(pickle.dumps(_Bomb(), protocol=2))
    for name in ("new.pth", "old.pth"):
        with pytest.raises(InvalidArgumentError, match="cannot be read as a state dict"):
            read_state_dict(Path(name))
    assert not Path("exploded").exists()


def test_what_cannot_be_imported_is_refused(weights: Path, tmp_path: Path) -> None:
    def attempt(**changes: Any) -> None:
        arguments = {"architecture": ARCHITECTURE, "weights": weights, "root": tmp_path}
        options = {"name": "a/b", "classes": LABELS, "size": (32, 32)}
        import_torchvision(**{**arguments, **options, **changes})

    with pytest.raises(InvalidArgumentError, match=r"not those of .* with 2 classes"):
        attempt(classes=("a", "b"))
    with pytest.raises(FailedPreconditionError, match="no classification model 'resnet51'"):
        attempt(architecture="resnet51")
    with pytest.raises(FailedPreconditionError, match="no module 'nowhere'"):
        attempt(maps={"maps": "nowhere"})
    with pytest.raises(InvalidArgumentError, match="is no model name"):
        attempt(name="../evil")
    assert not list(tmp_path.rglob("*"))
    attempt()
    with pytest.raises(AlreadyExistsError, match="already"):
        attempt()


def test_the_command_imports_and_fails_with_a_sentence(weights: Path, tmp_path: Path) -> None:
    names = tmp_path / "classes.txt"
    names.write_text("one\ntwo\nthree\n")
    arguments = [
        "import-torchvision", ARCHITECTURE, str(weights), "--name", "mine/net", "--size", "32",
        "--classes", str(names), "--root", str(tmp_path), "--layer", "maps=conv5",
    ]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "3 classes; penultimate (1024 units), maps (1024 units)" in done.output
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2
    assert "there is a model 'mine/net' already" in again.output
