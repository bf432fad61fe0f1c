"""``unitscope images`` against the store of a home, and against that of the environment."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from unitscope.cli.app import app
from unitscope.settings import StoreSettings
from unitscope.store import open_store
from unitscope.store.images import read_index


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    for number in range(20):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "faces" / f"{number:02d}.png")
    (tmp_path / "faces" / "03.png").write_bytes(b"no picture")
    return tmp_path / "faces"


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["images", *words])


@pytest.mark.parametrize("words", ["add", "list", "remove"])
def test_every_help_ends_with_an_example(words: str) -> None:
    assert f"example: unitscope images {words}" in re.sub(r"\s+", " ", run(words, "--help").stdout)


def test_add_list_and_remove(folder: Path) -> None:
    done = run("add", "faces", "--name", "faces")
    assert done.exit_code == 0, done.stderr
    assert re.match(r"faces: 19 images, \d+(\.\d)? k?B$", done.stdout.strip())
    assert "left out: 03.png cannot be taken" in done.stderr
    assert "10 of 20 images" in done.stderr
    store = open_store(StoreSettings(url=f"directory:{folder.parent}/.unitscope/store"))
    assert len(read_index(store, "faces")) == 19

    assert [row["name"] for row in json.loads(run("list", "-o", "json").stdout)] == ["faces"]
    assert run("list").stdout.splitlines()[1].split()[:2] == ["faces", "19"]
    again = run("add", "faces", "--name", "faces")
    assert (again.exit_code, "already" in again.stderr) == (6, True)

    assert json.loads(run("remove", "faces", "-o", "json").stdout) == {"name": "faces", "images": 19}
    assert json.loads(run("list", "-o", "json").stdout) == []
    assert run("remove", "faces").exit_code == 3


def test_the_store_of_the_environment_wins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNITSCOPE_STORE_URL", f"directory:{folder.parent}/other")
    answer = json.loads(run("add", "faces", "--name", "few", "--limit", "4", "-o", "json").stdout)
    assert answer["images"] + len(answer["skipped"]) == 4
    assert not (folder.parent / ".unitscope").exists()
    assert run("list").stdout.splitlines()[1].split()[0] == "few"


def test_errors_are_a_line_with_an_exit_code(folder: Path) -> None:
    for words, code, message in (
        (("list",), 6, "no store in .unitscope"),
        (("remove", "faces"), 6, "--home"),
        (("add", "faces", "--name", "Faces!"), 2, "lower-case"),
        (("add", "nowhere", "--name", "faces"), 2, "nowhere is no folder"),
        (("add", "faces"), 2, "--name"),
    ):
        done = run(*words)
        assert (done.exit_code, message in done.stderr) == (code, True), done.stderr


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("UNITSCOPE_STORE_URL", "s3://x", "invalid bucket name x"),
        ("UNITSCOPE_STORE_URL", "nonsense", "write directory:<path> or s3://<bucket>"),
        ("UNITSCOPE_STORE_SECURE", "perhaps", "secure Input should be a valid boolean"),
    ],
)
def test_a_store_that_cannot_be_is_said_in_a_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    settings = {"URL": "s3://pictures", "ENDPOINT": "127.0.0.1:9", "ACCESS_KEY": "a", "SECRET_KEY": "b"}
    for key, setting in settings.items():
        monkeypatch.setenv(f"UNITSCOPE_STORE_{key}", setting)
    monkeypatch.setenv(name, value)
    done = run("list")
    assert (done.exit_code, says in done.stderr) == (2, True), done.stderr
