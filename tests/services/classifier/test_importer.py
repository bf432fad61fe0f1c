from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from services.classifier.classifier import preprocess
from services.classifier.declaring import Declaration
from services.classifier.importer import import_torchvision, read_state_dict
from services.classifier.loading import load_classifier
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
    said = Declaration("mobile", classes=LABELS, size=(32, 32))
    card = import_torchvision("mobilenet_v3_small", path, tmp_path, said)
    assert card.name == "mine/mobile"
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
        architecture = changes.pop("architecture", ARCHITECTURE)
        options = {"name": "a/b", "classes": LABELS, "size": (32, 32)}
        import_torchvision(architecture, weights, tmp_path, Declaration(**{**options, **changes}))

    with pytest.raises(InvalidArgumentError, match=r"not those of .* with 2 classes"):
        attempt(classes=("a", "b"))
    with pytest.raises(FailedPreconditionError, match="no classification model 'resnet51'"):
        attempt(architecture="resnet51")
    with pytest.raises(FailedPreconditionError, match="no module or tensor 'nowhere'"):
        attempt(layers={"maps": "nowhere"})
    with pytest.raises(InvalidArgumentError, match="is no model name"):
        attempt(name="../evil")
    assert not list(tmp_path.rglob("*"))
    attempt()
    with pytest.raises(AlreadyExistsError, match="already"):
        attempt()


def test_classes_are_counted_where_they_are_not_named(weights: Path, tmp_path: Path) -> None:
    card = import_torchvision(ARCHITECTURE, weights, tmp_path, Declaration("net", size=(32, 32)))
    assert card.classes == ("class 0", "class 1", "class 2")


def test_preprocessing_that_makes_no_sense_is_refused(weights: Path, tmp_path: Path) -> None:
    for changes, says in (
        ({"shorter_edge": 20}, "at least 32 is needed"),
        ({"std": (0.0, 1.0, 1.0)}, "above 0"),
        ({"channels": "hsv"}, "'rgb' or 'bgr'"),
    ):
        said = Declaration("net", classes=LABELS, size=(32, 32), **changes)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match=says):
            import_torchvision(ARCHITECTURE, weights, tmp_path, said)


def test_modules_whose_output_is_no_layer_are_refused(weights: Path, tmp_path: Path) -> None:
    said = Declaration("net", classes=LABELS, size=(32, 32), layers={"odd": "stage2.0.nothing"})
    with pytest.raises(FailedPreconditionError, match=r"the last ones are: .*fc"):
        import_torchvision(ARCHITECTURE, weights, tmp_path, said)
