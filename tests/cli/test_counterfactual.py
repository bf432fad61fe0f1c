"""``unitscope submit counterfactual``: flags, one's own pictures, and what is said at the end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from tests.support import quantified
from tests.support.found import pairs, rows, unknown_origin
from tests.support.scripted_gateway import ScriptedGateway
from unitscope.cli.app import app
from unitscope.client import Client
from unitscope.embedded.home import Endpoints, home_at
from unitscope.jobs.specs import CounterfactualSpec, parse_spec
from unitscope.settings import StoreSettings
from unitscope.store import ObjectStore, open_store
from unitscope.store.images import read_index
from unitscope.tables import LINKER_DIGEST, QUALITY

PACK = ("--pack", "avatars", "--classifier", "shortcut")
LINK = {"classifier": "avatars/shortcut", "generator": "avatars/generator"}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ObjectStore:
    url = f"directory:{tmp_path}/elsewhere"
    monkeypatch.setenv("UNITSCOPE_STORE_URL", url)
    return open_store(StoreSettings(url=url))


@pytest.fixture
def me(tmp_path: Path) -> str:
    Image.new("RGB", (40, 60), (200, 30, 30)).save(tmp_path / "me.png")
    return "me.png"


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["submit", "counterfactual", *words])


def answer(*words: str) -> Any:
    done = run(*words, "--output", "json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_help_ends_with_the_line_of_the_issue() -> None:
    line = "unitscope submit counterfactual --origin bun --target hat --pack avatars --classifier shortcut --watch"
    assert f"example: {line}" in re.sub(r"\s+", " ", run("--help").stdout)


def test_flags_become_the_spec(gateway: ScriptedGateway) -> None:
    job = answer("--origin", "bun", "--target", "hat", *PACK)
    assert job["kind"] == "counterfactual"
    assert parse_spec("counterfactual", job["spec"]) == CounterfactualSpec(
        link=LINK, origins=("bun",), targets=("hat",)
    )
    more = {
        "method": "descent", "norm": "l1", "plausibility": 0.5, "start": "own", "seeds": 3, "frames": 5,
        "top": 4, "max_steps": 100, "keep": "all", "seed": 9,
    }  # fmt: skip
    words = [word for name, value in more.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    spec = answer(*PACK, "--parts", "parts", "--samples", "50", "--link-seed", "3", "--runner-up", *words)[
        "spec"
    ]
    assert {name: spec[name] for name in more} == more
    assert (spec["runner_up"], spec["parts"]) == (True, "avatars/parts")
    assert (spec["link"]["samples_per_class"], spec["link"]["seed"]) == (50, 3)


def test_a_published_linker_and_the_start_of_the_published_method(gateway: ScriptedGateway) -> None:
    words = (
        "--pack",
        "avatars",
        "--linker",
        "ab" * 8,
        "--render-with",
        "avatars/grown",
        "--method",
        "descent",
    )
    spec = answer(*words, "--images", "faces")["spec"]
    assert (spec["link"], spec["linker"], spec["render_with"]) == (None, "ab" * 8, "avatars/grown")
    assert (spec["start"], spec["image_folder"]) == ("linked", "faces")


def test_the_client_takes_the_kind(gateway: ScriptedGateway) -> None:
    with Client() as client:
        values = {"link": LINK, "runner_up": True}
        status = client.submit("counterfactual", values).status()
        assert (status.kind, status.spec) == ("counterfactual", CounterfactualSpec(link=LINK, runner_up=True))
        assert client.validate("counterfactual", values).renders == 1200


def test_ones_own_pictures_are_put_into_the_store_once(
    gateway: ScriptedGateway, store: ObjectStore, me: str, tmp_path: Path
) -> None:
    first = run(*PACK, "--image", me, "--target", "hat", "-o", "json")
    spec = json.loads(first.stdout)["spec"]
    name = spec["image_folder"]
    assert first.stderr.splitlines()[0] == f"{name}: 1 image, added to the store"
    assert (spec["seeds"], spec["origins"]) == (1, [])
    assert [(entry.name, entry.width) for entry in read_index(store, name)] == [("me.png", 40)]

    again = run(*PACK, "--image", me, "--runner-up")
    assert again.stdout.splitlines()[0] == f"{name}: 1 image, in the store already"
    Image.new("RGB", (8, 8)).save(tmp_path / "you.png")
    both = answer(*PACK, "--image", me, "--image", "you.png")["spec"]
    assert both["seeds"] == 2
    assert [entry.name for entry in read_index(store, both["image_folder"])] == ["me.png", "you.png"]


def test_who_brings_many_pictures_is_told_how_far_it_is(
    gateway: ScriptedGateway, store: ObjectStore, tmp_path: Path
) -> None:
    names = [f"{k}.png" for k in range(5)]
    for k, name in enumerate(names):
        Image.new("RGB", (8, 8), (k, k, k)).save(tmp_path / name)
    few, many = (
        run(*PACK, *(word for name in names[:count] for word in ("--image", name)), "-o", "json").stderr
        for count in (3, 5)
    )
    assert " of " not in few
    assert "2 of 5 images" in many


def test_validation_puts_nothing_into_a_store(gateway: ScriptedGateway, store: ObjectStore, me: str) -> None:
    assert answer(*PACK, "--image", me, "--validate-only")["renders"] == 1200
    assert run(*PACK, "--image", me, "--frames", "1").exit_code == 2
    assert list(store.objects("images/")) == []


def test_the_store_of_the_stack_that_runs_here_is_used(
    gateway: ScriptedGateway, me: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stack = Endpoints(gateway=gateway.address)
    monkeypatch.setattr("unitscope.embedded.find", lambda home: stack)
    home_at(tmp_path / ".unitscope").store.mkdir(parents=True)
    name = answer(*PACK, "--image", me)["spec"]["image_folder"]
    found = open_store(StoreSettings(url=f"directory:{home_at(tmp_path / '.unitscope').store}"))
    assert len(read_index(found, name)) == 1


BAD = [
    (("--image", "me.png", "--origin", "bun"), 2, "--image does not go together with --origin"),
    (("--image", "me.png", "--images", "faces"), 2, "--image does not go together with --images"),
    (("--images", "faces", "--origin", "bun"), 2, "--images does not go together with --origin"),
    (("--runner-up", "--target", "hat"), 2, "--runner-up does not go together with --target"),
    (("--image", "nowhere.png"), 2, "nowhere.png cannot be taken: No such file or directory"),
    (("--image", "notes.txt"), 2, "notes.txt cannot be taken: it is none of JPEG, PNG"),
    (("--method", "dream"), 2, "'path' or 'descent' (given: 'dream')"),
    (("--target", "hat", "--target", "hat"), 2, "targets names a class twice"),
    (("--image", "me.png"), 6, "name it with UNITSCOPE_STORE_URL"),
]


@pytest.mark.parametrize(("words", "code", "message"), BAD)
def test_what_is_wrong_is_said_in_a_line(
    gateway: ScriptedGateway, me: str, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    done = run(*PACK, *words)
    assert (done.exit_code, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert gateway.history == {}


def test_no_stack_here_and_no_store_is_said(me: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("UNITSCOPE_STORE_URL", "UNITSCOPE_ENDPOINT_GATEWAY"):
        monkeypatch.delenv(name, raising=False)
    done = run(*PACK, "--image", me)
    assert done.exit_code == 6
    assert "there is no store in .unitscope; name the folder of a stack with --home" in done.stderr


def test_a_job_may_stand_for_its_linker(gateway: ScriptedGateway) -> None:
    quality = QUALITY.build({column.name: [] for column in QUALITY.columns})
    about = {**quality.schema.metadata, LINKER_DIGEST: "cd" * 32}
    noted = {"quality": quality.replace_schema_metadata(about)}

    def end(job_id: str, tables: dict[str, pa.Table]) -> None:
        files = quantified.files(tables)
        artifacts = [gateway.add_artifact(job_id, name, data) for name, data in files.items()]
        gateway.push(job_id, "SUCCEEDED", artifacts=artifacts)

    gateway.created = lambda job_id: end(job_id, noted)
    done = run(*PACK, "--watch")
    assert f"linker: {'cd' * 6}, for --linker of later jobs" in done.stdout.splitlines()
    fitted = next(iter(gateway.history))
    assert run("--linker", fitted, "--target", "hat").exit_code == 0
    *_, last = gateway.history.values()
    assert last[0].spec.counterfactual.linker == "cd" * 32
    gateway.created = lambda job_id: end(job_id, {"quality": quality})
    assert run(*PACK, "--watch").exit_code == 0
    *_, silent = gateway.history
    done = run("--linker", silent, "--target", "hat")
    assert done.exit_code == 6
    assert "note no linker" in done.stderr


def test_a_watched_job_ends_with_what_came_out(gateway: ScriptedGateway) -> None:
    tables = {"counterfactuals": rows({}, {}, unknown_origin("bum")), "pairs": pairs({})}

    def end(job_id: str) -> None:
        files = {**quantified.files(tables), "report/index.html": b"<html>"}
        artifacts = [gateway.add_artifact(job_id, name, data) for name, data in files.items()]
        gateway.push(job_id, "SUCCEEDED", artifacts=artifacts)

    gateway.created = end
    done = run(*PACK, "--origin", "bum", "--watch")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-3] == "reached 2 of 3; 1 unknown_class ('bum': did you mean 'bun'?)"
    assert re.match(r"more: unitscope counterfactuals job-\w+$", done.stdout.splitlines()[-2])
    assert re.match(
        r"report: unitscope download (job-\w+), then \1/report/index.html$", done.stdout.splitlines()[-1]
    )
    done = run(*PACK, "--watch", "-o", "json")
    assert json.loads(done.stdout)["state"] == "SUCCEEDED"
    assert "reached 2 of 3" in done.stderr
