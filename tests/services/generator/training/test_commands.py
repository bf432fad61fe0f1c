"""``unitscope train generator``: from a folder of pictures to a model that renders."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

from services.generator.backend import GeneratorBackend
from services.generator.training import commands, projector
from services.generator.training.commands import app
from services.generator.training.plan import Plan
from services.generator.training.session import Moment, Session
from tests.services.generator.training.folders import write_classes
from tests.services.generator.training.sessions import CLASSES, SETTINGS
from tests.services.generator.training.tiny import TinyFeatures
from unitscope.models.lineage import lineage
from unitscope.models.registry import Registry


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projector, "LiteFeatures", lambda side: TinyFeatures())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    write_classes(place / "birds", CLASSES, 13)
    settings = {**SETTINGS, "pictures": [18, 12]}
    (place / "plan.yaml").write_text(yaml.safe_dump(settings))
    return place


def run(place: Path, *words: str, name: str = "mine/birds") -> Result:
    out = name.replace("/", "-")
    common = (
        f"generator --name {name} --config {place}/plan.yaml --cache {place}/cache --models {place}/models "
        f"--out {place}/{out} --device cpu --threads 1"
    )
    data = () if "--data" in words else ("--data", f"{place}/birds")
    return CliRunner().invoke(app, [*common.split(), *data, *words])


@pytest.fixture(scope="module")
def made(place: Path) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projector, "LiteFeatures", lambda side: TinyFeatures())
        done = run(place, "--yes", "--license", "CC0-1.0")
    assert done.exit_code == 0, done.output
    return done


def test_the_plan_is_told_before_and_the_model_after(made: Result, place: Path) -> None:
    for words in (
        "data: 26 pictures, classes: 2 (of 13 to 13 pictures)",
        "stage 0: 16 pixels, 18 pictures",
        "stage 1: 32 pixels, 12 pictures",
        "of training, looking at samples not counted",
        "16 pixels, 0 pictures: Fréchet ",
    ):
        assert words in made.stderr
    assert "mine/birds@sha256:" in made.stdout
    assert "frechet distance" in made.stdout


def test_the_model_renders_and_its_card_says_how_it_was_made(made: Result, place: Path) -> None:
    registry = Registry(place / "models")
    card = registry.resolve("mine/birds", "generator")
    backend = GeneratorBackend.load(card, registry.verified(card))
    z = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    pictures = backend.render(backend.map(z, np.array([0, 1, 1]), 0.7))
    assert pictures.shape == (3, 32, 32, 3)
    assert card.classes == CLASSES
    assert card.license == "CC0-1.0"
    assert card.training["data"]["by_class"] == {"owl": 13, "wren": 13}
    assert len(card.training["data"]["sha256"]) == 64
    assert card.training["settings"]["trainer"]["batch"] == 6
    stages = card.metrics["stages"]
    assert [(s["resolution"], s["pictures_seen"]) for s in stages] == [(16, 18), (32, 12)]
    assert "guide" not in stages[0]
    assert stages[1]["guide"]["held_out_pictures"] == 4
    assert card.metrics["distances"]["features"] == "tiny"
    assert card.metrics["distances"]["frechet"].keys() == {"value", "low", "high"}
    found = lineage(card, registry.folder(card.name))
    assert card.metrics["lineage"]["mapping_sha256"] == found.mapping
    assert str(place) not in card.model_dump_json()


def test_a_taken_name_is_refused_at_once(made: Result, place: Path) -> None:
    done = run(place, "--yes")
    assert done.exit_code == 6
    assert "there is a model 'mine/birds' already" in done.stderr
    assert "reading" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_writes_a_checkpoint_and_the_same_command_goes_on(
    made: Result, place: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    name = f"mine/{number.name.lower()}"
    tell = Session._tell

    def interrupting(self: Session, stage: Any, trainer: Any, *rest: Any) -> None:
        tell(self, stage, trainer, *rest)
        if trainer.pictures_seen == 6:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(Session, "_tell", interrupting)
        stopped = run(place, "--yes", name=name)
    assert stopped.exit_code == 130
    assert "stopped at 6 pictures of 16 pixels, with a checkpoint" in stopped.stderr
    assert "go on with: unitscope" in stopped.stderr
    assert signal.getsignal(number) == before
    done = run(place, "--yes", "--output", "json", name=name)
    assert done.exit_code == 0, done.output
    assert "going on from the checkpoint checkpoint-00-000000000006.safetensors" in done.stderr
    assert "M parameters, 12 to go" in done.stderr
    card = json.loads(done.stdout)
    assert card["name"] == name
    # Interrupted or not, the weights are the same.
    assert card["files"] == Registry(place / "models").resolve("mine/birds").model_dump()["files"]


def test_nobody_to_ask_is_no_yes(place: Path) -> None:
    done = run(place, name="mine/asked")
    assert done.exit_code == 2
    assert "pass --yes to start it" in done.stderr
    assert "reading" not in done.stderr
    assert not (place / "models" / "mine" / "asked").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--data", "{place}/gone"), 3, "name a folder of pictures"),
        (("--resolution", "48"), 2, "resolution is 48; upon a stem of 16 it must be one of 16, 32, 64"),
        (("--batch", "9", "--pictures", "0"), 2, "every stage needs at least 1"),
        (("--device", "cuda"), 6, "torch finds no GPU here"),
        (("--name", "No Name"), 2, "is no model name"),
    ],
)
def test_wrong_options(
    place: Path, words: tuple[str, ...], code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = run(place, "--yes", *(word.format(place=place) for word in words), name="mine/wrong")
    assert done.exit_code == code, done.output
    assert said in done.stderr
    assert "Traceback" not in done.output


def test_a_class_of_one_picture_cannot_guide(place: Path, tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "few", CLASSES, 20)
    for path in list((folder / "wren").iterdir())[1:]:
        path.unlink()
    done = run(place, "--data", str(folder), "--yes", name="mine/few")
    assert done.exit_code == 2
    assert "the class 'wren' has 1 picture" in done.stderr
    assert "trainer.guidance_weight" in done.stderr


def test_missing_packages_are_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    real = projector.importlib.import_module

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("efficientnet"):
            raise ModuleNotFoundError(name=name)
        return real(name, *rest)

    monkeypatch.setattr(projector.importlib, "import_module", without)
    done = run(place, "--yes", name="mine/bare")
    assert done.exit_code == 6
    assert 'pip install "unitscope[train]"' in done.stderr


def test_a_line_says_where_it_is_how_fast_and_how_long() -> None:
    stage = Plan.model_validate(SETTINGS).stages(2)[1]
    moment = Moment(stage, 9, 12.34, {"loss_generator": 1.5}, 3725.0)
    line = commands.progress_line(moment)
    assert line == "32 px   50%  9 of 18  12.3 pictures/s  loss generator 1.500  left 1:02:05"
