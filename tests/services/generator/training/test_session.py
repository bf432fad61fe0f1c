"""Whole trainings: stages, interruption, resumption, refusal."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from services.generator.training import session as session_module
from services.generator.training.data import Pictures
from services.generator.training.plan import load_plan
from services.generator.training.session import Finished, Listener, Moment
from services.generator.training.trainer import Trainer
from tests.services.generator.training.sessions import tiny_pictures, tiny_plan, tiny_session
from unitscope.errors import CancelledError, FailedPreconditionError, InvalidArgumentError


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    return tiny_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def whole(pictures: Pictures, tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, Path]:
    """A training that nothing interrupts."""
    out = tmp_path_factory.mktemp("whole")
    return tiny_session(pictures, out).run(), out


class Kill(Exception):  # noqa: N818
    """Stands for SIGKILL: nothing of ours catches it."""


class At(Listener):
    """Does something after the step that reaches so many pictures of a resolution."""

    def __init__(self, resolution: int, pictures: int, act: Callable[[], None]) -> None:
        self.resolution, self.pictures, self.act = resolution, pictures, act
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, moment: Moment) -> None:
        if (moment.stage.resolution, moment.pictures) == (self.resolution, self.pictures):
            self.act()


def kill() -> None:
    raise Kill


def timeless(history: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in history]


def assert_same(found: Finished, wanted: Finished) -> None:
    state = wanted.network.state_dict()
    for name, value in found.network.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert found.distances == wanted.distances
    assert timeless(found.history) == timeless(wanted.history)


def test_all_stages_are_trained_looked_at_and_kept(whole: tuple[Finished, Path]) -> None:
    finished, out = whole
    seen = [(entry["resolution"], entry["pictures"]) for entry in finished.history]
    assert seen == [(16, 0), (16, 12), (16, 24), (16, 30), (32, 0), (32, 12), (32, 18)]
    assert finished.network.spec.resolution == 32
    assert finished.distances.generated == finished.distances.real == 20
    sheets = sorted(path.name for path in (out / "sheets").iterdir())
    assert sheets[0] == "0-16px-0000000000.png"
    assert sheets[-2:] == ["1-32px-0000000018.png", "final.png"]
    assert json.loads((out / "history.json").read_text()) == list(finished.history)
    checkpoints = sorted(path.name for path in (out / "checkpoints").glob("*.json"))
    assert checkpoints == ["checkpoint-01-000000000012.json", "checkpoint-01-000000000018.json"]


def test_a_stage_starts_from_the_best_of_the_one_before_and_shares_its_w(
    whole: tuple[Finished, Path], pictures: Pictures
) -> None:
    finished, out = whole
    again = tiny_session(pictures, out)
    stem, best = again._best(0).state_dict(), finished.network.state_dict()
    for name, value in stem.items():
        if name.startswith(("mapping.", "synthesis.input.")) and name != "mapping.w_avg":
            assert torch.equal(best[name], value), name
    for index in (0, 1):
        own = [entry for entry in finished.history if entry["stage"] == index]
        values = [entry["distances"]["frechet"]["value"] for entry in own]
        marked = [entry for entry in own if entry["best"]]
        assert marked[-1]["distances"]["frechet"]["value"] == min(values)


def test_means_of_the_classes_are_those_of_many_latents(whole: tuple[Finished, Path]) -> None:
    network = whole[0].network
    z = torch.randn((4000, network.spec.z_dim), generator=torch.Generator().manual_seed(99))
    for index in range(2):
        mean = network.mapping(z, torch.full((4000,), index)).mean(0)
        spread = network.mapping(z, torch.full((4000,), index)).std(0)
        assert ((network.mapping.w_avg[index] - mean).abs() < 5 * spread / 10 + 1e-6).all()


def test_the_guide_comes_above_its_resolution(whole: tuple[Finished, Path]) -> None:
    guided = [entry["resolution"] for entry in whole[0].history if "guide" in entry]
    assert guided == [32]
    entry = next(entry for entry in whole[0].history if "guide" in entry)
    assert entry["guide"]["held_out_pictures"] == 4
    assert 0 <= entry["guide"]["held_out_accuracy"] <= 1
    assert {"guidance", "guided_accuracy"} <= set(whole[0].history[-1]["figures"])


@pytest.mark.parametrize(("resolution", "at"), [(16, 18), (32, 6), (32, 12)])
def test_a_killed_training_goes_on_as_if_it_had_not_been(
    pictures: Pictures, whole: tuple[Finished, Path], tmp_path: Path, resolution: int, at: int
) -> None:
    with pytest.raises(Kill):
        tiny_session(pictures, tmp_path, listener=At(resolution, at, kill)).run()
    assert_same(tiny_session(pictures, tmp_path).run(), whole[0])


def test_a_stopped_training_loses_nothing(
    pictures: Pictures, whole: tuple[Finished, Path], tmp_path: Path
) -> None:
    listener = At(16, 18, lambda: session.stop())
    session = tiny_session(pictures, tmp_path, listener=listener)
    with pytest.raises(CancelledError, match="stopped at 18 pictures of 16 pixels, with a checkpoint"):
        session.run()
    again = tiny_session(pictures, tmp_path)
    assert [(stage.resolution, left) for stage, left in again.remaining()] == [(16, 12), (32, 18)]
    assert_same(again.run(), whole[0])


def test_a_damaged_checkpoint_is_passed_over(
    pictures: Pictures, whole: tuple[Finished, Path], tmp_path: Path
) -> None:
    with pytest.raises(Kill):
        tiny_session(pictures, tmp_path, listener=At(16, 30, kill)).run()
    newest = tmp_path / "checkpoints" / "checkpoint-00-000000000024.safetensors"
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    newest.write_bytes(data)
    listener = At(0, 0, kill)
    assert_same(tiny_session(pictures, tmp_path, listener=listener).run(), whole[0])
    assert listener.notes[0].startswith("checkpoint-00-000000000024.json is passed over: ")
    assert listener.notes[1] == "going on at 12 pictures of 16 pixels"


def test_a_finished_training_finishes_again_without_a_step(
    pictures: Pictures, whole: tuple[Finished, Path]
) -> None:
    session = tiny_session(pictures, whole[1])
    assert [left for _, left in session.remaining()] == [0]
    assert session.estimate() == 0
    assert_same(session.run(), whole[0])


def test_a_training_can_be_made_longer(
    pictures: Pictures, whole: tuple[Finished, Path], tmp_path: Path
) -> None:
    with pytest.raises(Kill):
        tiny_session(pictures, tmp_path, listener=At(32, 12, kill)).run()
    longer = tiny_session(pictures, tmp_path, tiny_plan(pictures=(30, 24))).run()
    assert timeless(longer.history)[:6] == timeless(whole[0].history)[:6]
    assert longer.history[-1]["pictures"] == 24


def test_other_settings_and_other_data_are_refused(
    pictures: Pictures, whole: tuple[Finished, Path], tmp_path: Path
) -> None:
    with pytest.raises(FailedPreconditionError) as caught:
        tiny_session(pictures, whole[1], tiny_plan(seed=4, trainer={"batch": 7}))
    assert caught.value.reason == "OTHER_TRAINING"
    assert "seed is 4 here and 0 in the checkpoint" in caught.value.message
    assert "trainer.batch is 7 here and 6 in the checkpoint" in caught.value.message
    others = Pictures(pictures.folder, pictures.classes, pictures.labels, "0" * 64)
    with pytest.raises(FailedPreconditionError, match="the data are others"):
        tiny_session(others, whole[1])


def test_two_processes_do_not_train_in_one_folder(pictures: Pictures, tmp_path: Path) -> None:
    session = tiny_session(pictures, tmp_path)
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FailedPreconditionError, match="another process is training"):
            session.run()


def test_a_diverged_training_says_so(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "step", diverged)
    with pytest.raises(FailedPreconditionError, match="0 pictures of 16 pixels: the training has diverged"):
        tiny_session(pictures, tmp_path).run()


def diverged(*_: Any) -> dict[str, float]:
    raise FailedPreconditionError("a loss is not finite", reason="TRAINING_DIVERGED")


def test_checkpoints_come_in_time(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Kill):
        tiny_session(pictures, tmp_path, listener=At(16, 24, kill)).run()
    assert (tmp_path / "checkpoints" / "checkpoint-00-000000000018.json").is_file()


def test_the_estimate_times_every_stage(pictures: Pictures, tmp_path: Path) -> None:
    session = tiny_session(pictures, tmp_path)
    seconds = session.estimate()
    assert seconds > 0
    assert set(session._rates) == {0, 1}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"resolution": 48}, "resolution is 48; upon a stem of 16 it must be one of 16, 32, 64, 128"),
        ({"resolution": 8}, "resolution is 8; upon a stem of 16"),
        ({"stem": 12}, "stem is 12; it must be a power of two"),
        ({"pictures": (1, 2, 3, 4)}, "pictures has 4 numbers; there are 2 stages"),
        ({"pictures": (0,)}, "every stage needs at least 1"),
        ({"batch": 0}, "batch is 0; it must be at least 1"),
    ],
)
def test_plans_that_make_no_sense(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        load_plan("tiny", **options)
    assert words in caught.value.message


def test_a_plan_comes_from_preset_file_and_options(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("seed: 5\ntrainer: {generator_rate: 0.001, batch: 9}\nresolution: 16\n")
    plan = load_plan("tiny", file, seed=7, flip=None)
    assert (plan.seed, plan.resolution, plan.pictures, plan.flip) == (7, 16, (8000,), True)
    assert (plan.trainer.generator_rate, plan.trainer.batch) == (0.001, 9)
    assert plan.trainer.projection_channels == 32
    assert load_plan("paper", batch=8).trainer.batch == 8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trainer: {rate: 1}", "there is no setting 'trainer.rate'"),
        ("sede: 1", "there is no setting 'sede'"),
        ("seed: many", "seed: Input should be a valid integer"),
        ("- 1", "holds no settings"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_files_that_make_no_plan(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    with pytest.raises(InvalidArgumentError) as caught:
        load_plan("tiny", file)
    assert words in caught.value.message
