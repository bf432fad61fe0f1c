"""The commands on the tiny pack: from a new set to a model that is judged and shown."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from services.generator.backend import GeneratorBackend
from services.generator.parts.commands import app
from services.generator.parts.dataset import PartSet
from services.generator.parts.workflow import Generator, evaluate, picture_digests
from tests.services.generator.parts.part_sets import small_set
from tests.support.tiny_pack import CLASSES, GENERATOR, write_tiny_pack
from unitscope.errors import InvalidArgumentError
from unitscope.models.registry import Registry

PARTS = ("background", "bright", "dark")
TRAIN = ("--name", "mine/parts", "--steps", "60", "--hidden", "8", "--threads", "1")


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def ok(*words: str | Path) -> str:
    done = run(*words)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry of its own: the commands write into it."""
    return write_tiny_pack(tmp_path_factory.mktemp("registry"))


def new_set(root: Path, folder: Path, *more: str) -> PartSet:
    ok(
        "sample", folder, "--part", "bright", "--part", "dark", "--count", "8",
        "--generator", GENERATOR, "--models", root, *more,
    )  # fmt: skip
    return PartSet.load(folder)


def label_by_brightness(part_set: PartSet, count: int) -> None:
    """Labels that a generator's features surely hold."""
    for index in range(count):
        light = part_set.image(index).mean(axis=-1)
        low, high = np.quantile(light, [0.33, 0.67])
        part_set.save_labels(index, np.where(light > high, 1, np.where(light < low, 2, 0)))


@pytest.fixture(scope="module")
def labelled(root: Path, tmp_path_factory: pytest.TempPathFactory) -> PartSet:
    part_set = new_set(root, tmp_path_factory.mktemp("sets") / "a")
    label_by_brightness(part_set, 7)
    return part_set


@pytest.fixture(scope="module")
def trained(root: Path, labelled: PartSet) -> str:
    return ok("train", labelled.folder, *TRAIN, "--models", root)


def test_a_set_is_rendered(root: Path, tmp_path: Path, backend: GeneratorBackend) -> None:
    part_set = new_set(root, tmp_path / "s", "--class", CLASSES[2], "--truncation", "0.5", "--seed", "4")
    assert part_set.parts == PARTS
    z = np.random.default_rng(4).standard_normal((8, backend.spec.z_dim), np.float32)
    w = backend.map(z, np.full(8, 2), 0.5)
    np.testing.assert_array_equal(part_set.images(range(8)), backend.render(w))


def test_training_says_how_good_it_is_on_what_it_did_not_see(
    root: Path, labelled: PartSet, trained: str
) -> None:
    assert "trained without 1 of the 7 labelled pictures" in trained
    assert "restart the stack" in trained
    card = Registry(root).resolve("mine/parts", "parts")
    assert card.classes == PARTS
    assert card.architecture["generator"]["digest"] == labelled.generator.digest
    assert card.training["pictures"] == picture_digests(labelled.w[:7])
    assert card.training["steps"] == 60
    held_out = card.metrics["held_out"]
    assert held_out["pictures"] == 1
    shown = re.search(r"mean +([\d.]+)", trained)
    assert shown is not None
    assert float(shown[1]) == pytest.approx(held_out["iou"]["mean"], abs=6e-4)
    assert held_out["iou"]["mean"] > 0.6


@pytest.mark.usefixtures("trained")
def test_evaluation_leaves_out_what_was_trained_on(root: Path, labelled: PartSet, tmp_path: Path) -> None:
    words = ("evaluate", labelled.folder, "--model", "mine/parts", "--models", root)
    refused = run(*words)
    assert refused.exit_code == 6
    assert "--all" in refused.stderr
    known = json.loads(ok(*words, "--all", "-o", "json"))
    assert known["pictures"] == list(range(7))
    others = new_set(root, tmp_path / "others", "--seed", "9")
    label_by_brightness(others, 4)
    table = ok("evaluate", others.folder, "--model", "mine/parts", "--models", root)
    assert re.search(r"^bright +0\.\d{3} +\d+", table, re.MULTILINE)
    found = json.loads(ok("evaluate", others.folder, "--model", "mine/parts", "--models", root, "-o", "json"))
    assert found["pictures"] == [0, 1, 2, 3]
    # A third of the pixels each: guessing scores 0.2.
    assert 0.3 < found["iou"]["mean"] < known["iou"]["mean"]


@pytest.mark.usefixtures("trained")
def test_labels_are_compared_by_the_names_of_the_parts(root: Path, labelled: PartSet, tmp_path: Path) -> None:
    other = new_set(root, tmp_path / "other").with_parts(("background", "dark", "bright"))
    swap = np.array([0, 2, 1], np.uint8)
    for index in range(7):
        other.save_labels(index, swap[labelled.labels(index)])
    generator = Generator.open(Registry(root), GENERATOR, threads=1)
    card = Registry(root).resolve("mine/parts")
    same, _ = evaluate(generator, card, labelled, everything=True)
    swapped, _ = evaluate(generator, card, other, everything=True)
    assert swapped.by_part == same.by_part
    with pytest.raises(InvalidArgumentError, match="no part 'shade'"):
        evaluate(generator, card, other.with_parts(("background", "shade", "bright")), everything=True)


def test_few_labels_are_trained_on_and_the_user_is_told(root: Path, tmp_path: Path) -> None:
    part_set = new_set(root, tmp_path / "few")
    label_by_brightness(part_set, 2)
    words = ("--name", "mine/few", "--steps", "2", "--hidden", "4", "--models", root)
    assert "nothing is known of its quality; label 5 or more" in ok("train", part_set.folder, *words)
    assert Registry(root).resolve("mine/few").metrics == {}
    assert "trained without 1 of the 2" in ok("train", part_set.folder, *words, "--held-out", "1")
    assert run("train", part_set.folder, *words, "--held-out", "2").exit_code == 2


@pytest.mark.usefixtures("trained")
def test_sheets_of_labels_and_of_what_a_model_finds(root: Path, labelled: PartSet, tmp_path: Path) -> None:
    out = tmp_path / "new" / "sheet.png"
    ok("show", labelled.folder, "--out", out, "--count", "4", "--columns", "2")
    with Image.open(out) as picture:
        of_labels = np.asarray(picture)
    ok(
        "show",
        labelled.folder,
        "--model",
        "mine/parts",
        "--models",
        root,
        "--out",
        out,
        "--count",
        "4",
        "--columns",
        "2",
    )
    with Image.open(out) as picture:
        of_model = np.asarray(picture)
    assert of_labels.shape == of_model.shape
    np.testing.assert_array_equal(of_labels[16:144, 16:144], of_model[16:144, 16:144])
    assert (of_labels != of_model).any()
    ok("show", "--model", "mine/parts", "--models", root, "--out", out, "--count", "2")
    assert run("show", "--out", out).exit_code == 2


def test_clusters_become_a_model(root: Path, tmp_path: Path) -> None:
    said = ok(
        "cluster", "--generator", GENERATOR, "--count", "3", "--pictures", "20",
        "--name", "mine/clusters", "--models", root, "--threads", "1",
    )  # fmt: skip
    assert "restart the stack" in said
    card = Registry(root).resolve("mine/clusters", "parts")
    assert (len(card.classes), card.architecture["head"]) == (3, "none")
    ok("show", "--model", "mine/clusters", "--models", root, "--out", tmp_path / "c.png", "--count", "2")


def test_coco_goes_both_ways(root: Path, labelled: PartSet, tmp_path: Path) -> None:
    file = tmp_path / "coco.json"
    assert "21 annotations of 7 pictures" in ok("export-coco", labelled.folder, file)
    other = new_set(root, tmp_path / "other")
    assert "7 pictures labelled" in ok("import-coco", other.folder, file)
    np.testing.assert_array_equal(other.label_maps(range(7)), labelled.label_maps(range(7)))
    assert run("import-coco", other.folder, file).exit_code == 6
    ok("import-coco", other.folder, file, "--replace")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["train", "nowhere", "--name", "mine/x"], 3, "unitscope parts sample"),
        (["sample", "new", "--part", "Hair!"], 2, "'Hair!' is no name of a part"),
        (["sample", "new", "--part", "a", "--generator", "tiny/none"], 3, "unitscope models"),
        (["sample", "new", "--part", "a", "--generator", GENERATOR, "--class", "oak"], 2, "ash, birch"),
        (["cluster", "--name", "x", "--generator", GENERATOR], 2, "'x' is no model name"),
        (["cluster", "--name", GENERATOR, "--generator", GENERATOR], 6, "choose another name"),
        (["show", "--model", GENERATOR], 2, "a parts model is needed"),
    ],
)
def test_errors_say_what_to_do(root: Path, words: list[str], code: int, says: str, tmp_path: Path) -> None:
    line = [str(tmp_path / word) if word in ("nowhere", "new") else word for word in words]
    done = run(*line, "--models", root)
    assert (done.exit_code, says in done.stderr) == (code, True), done.output
    assert "Traceback" not in done.output


def test_a_set_of_another_generator_is_refused(root: Path, tmp_path: Path) -> None:
    done = run("train", small_set(tmp_path / "s").folder, "--name", "mine/x", "--models", root)
    assert done.exit_code == 6
    assert Registry(root).resolve(GENERATOR).short_digest in done.stderr


@pytest.mark.parametrize(
    "command",
    ["sample", "label", "import-coco", "export-coco", "train", "cluster", "evaluate", "show"],
)
def test_every_command_has_an_example(command: str) -> None:
    assert f"example: unitscope parts {command}" in ok(command, "--help").replace("\n", " ")


def test_help_loads_no_tensor_library() -> None:
    code = "import sys, services.generator.parts.commands; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr


def test_the_page_runs_until_it_is_interrupted(tmp_path: Path) -> None:
    part_set = small_set(tmp_path / "set")
    part_set.save_labels(1, np.zeros(part_set.size, np.uint8))
    command = [sys.executable, "-m", "services.generator.parts.commands", "label", str(part_set.folder)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        with urllib.request.urlopen(f"{address}set", timeout=60) as answer:
            assert json.load(answer)["labelled"] == [False, True, False]
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, errors) == (0, "")
    assert "1 of 3 pictures are labelled" in said
