from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from services.classifier.declaring import Declaration
from services.classifier.examples import EXAMPLES_FILE, Examples, read_examples
from services.classifier.importer import import_export
from services.classifier.loading import load_classifier
from tests.services.classifier.exported import CLASSES, residual
from unitscope.errors import DataLossError, FailedPreconditionError, InvalidArgumentError
from unitscope.models.registry import Registry

IMAGES = np.random.default_rng(7).integers(0, np.array([250, 150, 50]), (5, 32, 32, 3)).astype(np.uint8)
HALF = (0.5, 0.5, 0.5)


@pytest.fixture(scope="module")
def program(export_files: dict[str, Path]) -> Path:
    return export_files["residual"]


@pytest.fixture(scope="module")
def logits() -> Any:
    """What the network says of the images where it comes from: in plain torch, without our code."""
    with torch.inference_mode():
        return residual()((torch.from_numpy(IMAGES).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5).numpy()


def said(examples: Examples, **changes: Any) -> Declaration:
    options = {"mean": HALF, "std": HALF, "examples": examples}
    return Declaration("mine/net", **{**options, **changes})


def test_a_model_that_agrees_is_imported_and_checked_at_every_load(
    program: Path, logits: Any, tmp_path: Path
) -> None:
    card = import_export(program, tmp_path, said(Examples(IMAGES, logits, 1e-4)))
    assert card.metrics["self_test"]["largest_difference"] < 1e-4
    assert load_classifier(card, Registry(tmp_path)).read(IMAGES).logits.shape == (5, CLASSES)
    assert card.input is not None
    other = card.model_copy(update={"input": card.input.model_copy(update={"mean": (0.4, 0.4, 0.4)})})
    with pytest.raises(FailedPreconditionError, match="examples are read as the same class") as caught:
        load_classifier(other, Registry(tmp_path))
    assert caught.value.reason == "SELF_TEST_FAILED"


@pytest.mark.parametrize("changes", [{"std": (0.6, 0.5, 0.5)}, {"channels": "bgr"}, {"shorter_edge": 40}])
def test_wrong_preprocessing_is_found_and_nothing_is_written(
    program: Path, logits: Any, tmp_path: Path, changes: dict[str, Any]
) -> None:
    examples = Examples(IMAGES, logits, 1e-3)
    with pytest.raises(FailedPreconditionError, match="self-test failed"):
        import_export(program, tmp_path, said(examples, **changes))
    assert not list(tmp_path.rglob("*"))


def test_examples_are_under_the_digest(program: Path, logits: Any, tmp_path: Path) -> None:
    card = import_export(program, tmp_path, said(Examples(IMAGES, logits)))
    assert EXAMPLES_FILE in card.files
    (tmp_path / "mine" / "net" / EXAMPLES_FILE).write_bytes(b"")
    with pytest.raises(DataLossError, match=EXAMPLES_FILE):
        load_classifier(card, Registry(tmp_path))


@pytest.mark.parametrize("name", ["e.npz", "e.safetensors"])
def test_both_formats_are_read(logits: Any, tmp_path: Path, name: str) -> None:
    save = np.savez if name.endswith("npz") else lambda path, **arrays: save_file(arrays, path)
    save(tmp_path / name, images=IMAGES, logits=logits)
    found = read_examples(tmp_path / name, 0.5)
    np.testing.assert_array_equal(found.images, IMAGES)
    np.testing.assert_array_equal(found.logits, logits)
    assert found.tolerance == 0.5


def test_the_tolerance_is_kept(logits: Any, tmp_path: Path) -> None:
    Examples(IMAGES, logits, 0.25).save(tmp_path / "e.safetensors")
    assert read_examples(tmp_path / "e.safetensors").tolerance == 0.25


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.mkdir, ("exploded",)


def test_no_object_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("e.npz", images=np.array([_Bomb()], object), logits=np.zeros((1, 3)))
    with pytest.raises(InvalidArgumentError, match="cannot be read as examples"):
        read_examples(Path("e.npz"))
    assert not Path("exploded").exists()


@pytest.mark.parametrize(
    ("images", "logits"),
    [
        (IMAGES.astype(np.float32), np.zeros((5, 3), np.float32)),
        (IMAGES, np.zeros((4, 3), np.float32)),
        (IMAGES[:0], np.zeros((0, 3), np.float32)),
        (np.repeat(IMAGES, 7, 0), np.zeros((35, 3), np.float32)),
        (IMAGES, np.full((5, 3), np.nan, np.float32)),
        (IMAGES[..., 0], np.zeros((5, 3), np.float32)),
    ],
)
def test_what_are_no_examples_is_refused(images: Any, logits: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", images=images, logits=logits)
    with pytest.raises(InvalidArgumentError, match="1 to 32 images") as caught:
        read_examples(tmp_path / "e.npz")
    assert caught.value.reason == "INVALID_EXAMPLES"


def test_other_classes_fail(program: Path, tmp_path: Path) -> None:
    with pytest.raises(FailedPreconditionError, match="it gives 5 logits; the examples have 4"):
        import_export(program, tmp_path, said(Examples(IMAGES, np.zeros((5, 4), np.float32))))
