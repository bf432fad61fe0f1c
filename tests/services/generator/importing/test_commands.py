from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.services.generator.importing.official import checkpoint_bytes
from unitscope.cli.app import app
from unitscope.models.registry import Registry

POINTS = """[unitscope.commands.models.import]
stylegan-xl = services.generator.importing.commands:app
"""


@pytest.fixture(autouse=True)
def entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry point of pyproject.toml, whether the environment was made before it or after."""
    info = tmp_path / "site" / "importing-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: importing\nVersion: 1\n")
    (info / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.chdir(tmp_path)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["models", "import", *words])


def test_the_command_imports(tmp_path: Path) -> None:
    Path("official.pkl").write_bytes(checkpoint_bytes(16))
    Path("names.txt").write_text("\n".join(f"class {i}" for i in range(10)))
    done = run("stylegan-xl", "official.pkl", "--name", "mine", "--classes", "names.txt", "--models", "m")
    assert done.exit_code == 0, done.output
    assert "16 pixels, 10 classes" in done.stdout
    card = Registry(Path("m")).resolve("stylegan-xl/mine", "generator")
    assert card.classes[3] == "class 3"
    assert f"stylegan-xl/mine@sha256:{card.short_digest}" in done.stdout
    again = run("stylegan-xl", "official.pkl", "--name", "mine", "--models", "m")
    assert again.exit_code == 6
    assert "already" in again.stderr


def test_the_command_answers_programs() -> None:
    Path("official.pkl").write_bytes(checkpoint_bytes(16))
    words = ("stylegan-xl", "official.pkl", "--name", "a/b", "--models", "m", "--output", "json")
    assert json.loads(run(*words).stdout)["training"]["imported_from"] == "official.pkl"


def test_the_command_refuses_with_a_sentence() -> None:
    Path("official.pkl").write_bytes(checkpoint_bytes(16)[:1000])
    done = run("stylegan-xl", "official.pkl", "--name", "a/b", "--models", "m")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: the file is cut off")
    assert "Traceback" not in done.stderr
    assert run("stylegan-xl", "absent.pkl", "--name", "a/b").exit_code == 3
    assert not Path("m").exists()


def test_the_group_says_what_can_be_imported() -> None:
    assert "stylegan-xl" in run("--help").stdout
    assert "example: unitscope models import stylegan-xl" in run("stylegan-xl", "--help").stdout
