"""Checkpoints: whole or not there, the last two kept, others' refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from services.generator.training import checkpoints as checkpoints_module
from services.generator.training.checkpoints import Checkpoints, Identity, Record
from unitscope.errors import DataLossError, FailedPreconditionError, ResourceExhaustedError

IDENTITY = Identity(data="a" * 64, classes=("owl", "wren"), settings={"seed": 1, "trainer": {"batch": 4}})


def state(value: float) -> dict[str, Tensor]:
    shared = torch.full((6,), value)
    return {"a": shared[:3], "b": shared[:3], "c": torch.tensor(7, dtype=torch.int64)}


def record(pictures: int, stage: int = 0, **changes: Any) -> Record:
    return Record(identity=IDENTITY, stage=stage, pictures=pictures, seconds=1.5, **changes)


def names(folder: Checkpoints) -> list[str]:
    return sorted(path.name for path in folder.folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints")


def test_what_is_saved_comes_back(folder: Checkpoints) -> None:
    assert folder.newest(IDENTITY) is None
    folder.save(state(1), record(100, history=({"stage": 0},)))
    found = folder.newest(IDENTITY)
    assert found is not None
    assert found.record == record(100, history=({"stage": 0},))
    for name, tensor in found.tensors().items():
        assert torch.equal(tensor, state(1)[name])
        assert tensor.dtype == state(1)[name].dtype


def test_the_last_two_stay_and_a_later_stage_is_newer(folder: Checkpoints) -> None:
    for stage, pictures in ((0, 1_000_000), (0, 2_000_000), (1, 5)):
        folder.save(state(pictures), record(pictures, stage))
    found = folder.newest(IDENTITY)
    assert found is not None
    assert (found.record.stage, found.record.pictures) == (1, 5)
    assert names(folder) == [
        "checkpoint-00-000002000000.json",
        "checkpoint-00-000002000000.safetensors",
        "checkpoint-01-000000000005.json",
        "checkpoint-01-000000000005.safetensors",
    ]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def lie(path: Path) -> None:
    found = json.loads(path.read_text())
    found["record"]["pictures"] = 999
    path.write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("suffix", "harm", "words"),
    [
        (".safetensors", flip, "do not match their digest"),
        (".safetensors", cut, "do not match their digest"),
        (".safetensors", Path.unlink, "missing"),
        (".json", cut, "cannot be read"),
        (".json", lie, "does not match its digest"),
    ],
)
def test_a_damaged_one_is_passed_over(
    tmp_path: Path, suffix: str, harm: Callable[[Path], None], words: str
) -> None:
    warnings: list[str] = []
    folder = Checkpoints(tmp_path, warnings.append)
    folder.save(state(1), record(100))
    path = folder.save(state(2), record(200))
    harm(path.with_suffix(suffix))
    found = folder.newest(IDENTITY)
    assert found is not None
    assert found.record.pictures == 100
    assert len(warnings) == 1
    assert words in warnings[0]


def test_one_without_its_record_was_never_finished(folder: Checkpoints) -> None:
    folder.save(state(1), record(100))
    folder.save(state(2), record(200)).with_suffix(".json").unlink()
    found = folder.newest(IDENTITY)
    assert found is not None
    assert found.record.pictures == 100


def test_weights_stay_as_long_as_a_kept_checkpoint_names_them(folder: Checkpoints) -> None:
    first = folder.save_weights(state(1))
    folder.save(state(1), record(100, weights={"best-0": first}))
    second = folder.save_weights(state(2))
    folder.save(state(2), record(200, weights={"best-0": second}))
    assert torch.equal(folder.weights(first)["a"], state(1)["a"])
    folder.save(state(3), record(300, weights={"best-0": second}))
    assert [name for name in names(folder) if name.startswith("weights")] == [second]
    with pytest.raises(DataLossError):
        folder.weights(first)
    cut(folder.folder / second)
    with pytest.raises(DataLossError, match="missing or damaged"):
        folder.weights(second)


def test_a_checkpoint_whose_weights_are_gone_is_passed_over(folder: Checkpoints) -> None:
    name = folder.save_weights(state(1))
    folder.save(state(1), record(100, weights={"best-0": name}))
    (folder.folder / name).unlink()
    assert folder.newest(IDENTITY) is None


def test_another_training_is_refused_and_the_differences_said(folder: Checkpoints) -> None:
    folder.save(state(1), record(100))
    other = Identity(
        data="b" * 64, classes=("owl",), settings={"seed": 1, "trainer": {"batch": 8}, "flip": True}
    )
    with pytest.raises(FailedPreconditionError) as caught:
        folder.newest(other)
    for words in (
        "the data are others (bbbbbbbbbbbb here and aaaaaaaaaaaa in the checkpoint)",
        "there are 1 classes here and 2 in the checkpoint",
        "trainer.batch is 8 here and 4 in the checkpoint",
        "flip is True here and not set in the checkpoint",
        "--out",
    ):
        assert words in caught.value.message
    assert "seed" not in caught.value.message


def test_a_full_disk_leaves_what_was_there(folder: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.save(state(1), record(100))
    before = names(folder)

    def full(tensors: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints_module, "save_file", full)
    with pytest.raises(ResourceExhaustedError, match="No space left on device; make room"):
        folder.save(state(2), record(200))
    assert names(folder) == before
