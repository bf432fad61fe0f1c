"""``unitscope models import ...``, ``layers`` and ``check``, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from services.classifier.import_commands import class_names
from services.classifier.loading import load_classifier
from tests.services.classifier.conftest import ARCHITECTURE
from tests.services.classifier.exported import EDGE
from unitscope.cli.app import app
from unitscope.errors import InvalidArgumentError
from unitscope.models.registry import Registry


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["models", *(str(argument) for argument in arguments)])


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "classes.txt"
    path.write_text("one\ntwo\n\n three \n")
    return path


def test_torchvision_weights_are_imported_listed_and_checked(
    weights: Path, names: Path, tmp_path: Path
) -> None:
    root = tmp_path / "models"
    arguments = ("import", "torchvision", ARCHITECTURE, weights, "--name", "mine/net", "--classes", names,
                 "--size", 32, "--layer", "maps=conv5", "--models", root)  # fmt: skip
    done = call(*arguments)
    assert done.exit_code == 0, done.output
    assert "1024 units, never negative, leads to the logits" in done.output
    assert Registry(root).resolve("mine/net").classes == ("one", "two", "three")
    again = call(*arguments)
    assert again.exit_code == 6
    assert "there is a model 'mine/net' already" in again.output
    listed = call("layers", "mine/net", "--models", root, "--output", "json")
    found = [(row["name"], row["units"], row["size"], row["has_head"]) for row in json.loads(listed.output)]
    assert found == [("penultimate", 1024, "", True), ("maps", 1024, "1 x 1", False)]
    everything = call("layers", "mine/net", "--models", root, "--all", "--output", "json")
    assert "stage2.0.branch1" in {row["module"] for row in json.loads(everything.output)}
    checked = call("check", "mine/net", "--models", root)
    assert (checked.exit_code, "no examples" in checked.output) == (0, True)


def test_layers_of_files_are_what_an_import_takes(
    export_files: dict[str, Path], onnx_files: dict[str, Path], tmp_path: Path
) -> None:
    files = export_files["residual"], onnx_files["residual"]
    for kind, file in zip(("export", "onnx"), files, strict=True):
        rows = json.loads(call("layers", file, "--output", "json").output)
        maps = next(row for row in reversed(rows) if row["size"] == "16 x 16" and row["nonnegative"])
        assert rows[-1]["has_head"]
        images = np.random.default_rng(1).integers(0, 256, (2, EDGE, EDGE, 3), dtype=np.uint8)
        done = call("import", kind, file, "--name", kind, "--layer", f"maps={maps['module']}", "--mean",
                    "0.5,0.4,0.3", "--std", "1,1,1", "--models", tmp_path)  # fmt: skip
        assert done.exit_code == 0, done.output
        card = Registry(tmp_path).resolve(f"mine/{kind}")
        assert card.input is not None
        assert card.input.mean == (0.5, 0.4, 0.3)
        np.savez(tmp_path / "examples.npz", images=images,
                 logits=load_classifier(card, Registry(tmp_path)).read(images).logits)  # fmt: skip
    wrong = call("import", "onnx", files[1], "--name", "other", "--examples", tmp_path / "examples.npz",
                 "--models", tmp_path)  # fmt: skip
    assert (wrong.exit_code, "self-test failed" in wrong.output) == (6, True)
    right = call("import", "onnx", files[1], "--name", "other", "--examples", tmp_path / "examples.npz",
                 "--models", tmp_path, "--mean", "0.5,0.4,0.3", "--std", "1,1,1")  # fmt: skip
    assert "self-test" in right.output, right.output
    checked = json.loads(call("check", "mine/other", "--models", tmp_path, "--output", "json").output)
    assert checked["examples"] == 2
    assert checked["largest_difference"] <= checked["tolerance"] == 0.01


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--size", "big"), "height x width, e.g. 192x256"),
        (("--mean", "1,2"), "three numbers"),
        (("--layer", "maps"), "maps=layer4"),
        (("--layer", "a+b=conv5"), "maps=layer4"),
        (("--classes", "nowhere.txt"), "cannot be read as class names"),
        (("--examples", "nowhere.npz"), "cannot be read as examples"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    weights: Path, tmp_path: Path, options: tuple[str, str], says: str
) -> None:
    done = call(
        "import", "torchvision", ARCHITECTURE, weights, "--name", "net", "--models", tmp_path, *options
    )
    assert done.exit_code == 2
    assert says in done.output


def test_files_that_are_missing_are_named(tmp_path: Path) -> None:
    for kind, name in (("onnx", "m.onnx"), ("export", "m.pt2")):
        done = call("import", kind, tmp_path / name, "--name", "net", "--models", tmp_path)
        assert done.exit_code == 2
        assert name in done.output
    assert call("layers", "mine/nothing", "--models", tmp_path).exit_code == 3


def test_class_names_stand_once(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("a\nb\na\n")
    with pytest.raises(InvalidArgumentError, match="'a' twice"):
        class_names(str(tmp_path / "c.txt"))
    assert class_names("") == []
    found = class_names("imagenet")
    assert (len(set(found)), found[0], found[999]) == (1000, "tench", "toilet tissue")
    assert [name for name in found if name.startswith("crane")] == ["crane bird", "crane"]
