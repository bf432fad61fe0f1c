"""The command: its answers, its exit codes and its errors, against a real server."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from tests.support.scripted_gateway import ScriptedGateway
from unitscope.cli.app import app
from unitscope.errors import (
    FailedPreconditionError,
    InternalError,
    ResourceExhaustedError,
    UnitScopeError,
)
from unitscope.jobs.ids import job_id_of
from unitscope.models.cards import LayerCard, ModelCard
from unitscope.v1 import analysis_job_pb2 as pb
from unitscope.version import package_version

JOB = job_id_of("a-job")
LINK = ["submit", "link", "--classifier", "a/c", "--generator", "a/g"]
COMMAND = [sys.executable, "-m", "unitscope.cli"]
PATIENCE = 120
"""Seconds that the command may take on a machine that is busy with other things."""


def run(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, words, input=stdin)


def answer(*words: str, stdin: str | None = None) -> Any:
    done = run(*words, "--output", "json", stdin=stdin)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def end(gateway: ScriptedGateway, state: str, **fields: Any) -> None:
    gateway.push(JOB, "QUEUED")
    gateway.push(JOB, state, **fields)


def test_version_and_exit_codes_are_in_the_help() -> None:
    assert run("--version").stdout == f"unitscope {package_version()}\n"
    assert "3 not found" in re.sub(r"\s+", " ", run("--help").stdout)


COMMANDS = (
    "demo", "up", "list", "get", "watch", "cancel", "download", "artifacts", "delete", "capabilities", "models",
)  # fmt: skip
GROUPED = ("models show", "submit link", "submit traverse")


@pytest.mark.parametrize("words", [*COMMANDS, *GROUPED])
def test_every_help_ends_with_an_example(words: str) -> None:
    done = run(*words.split(), "--help")
    assert done.exit_code == 0
    assert f"example: unitscope {words}" in re.sub(r"\s+", " ", done.stdout)


def test_submitted_jobs_are_listed_and_shown(gateway: ScriptedGateway) -> None:
    first = answer(*LINK, "--truncation", "0.5", "--class", "cap", "--class", "hat")
    assert first["spec"]["truncation"] == 0.5
    assert first["spec"]["classes"] == ["cap", "hat"]
    assert first["state"] == "QUEUED"
    assert [job["id"] for job in answer("list")] == [first["id"]]
    assert answer("get", first["id"]) == first
    assert first["id"] in run("list").stdout
    assert "QUEUED" in run("get", first["id"]).stdout


def test_a_submit_repeated_with_its_request_id_is_one_job(gateway: ScriptedGateway) -> None:
    assert answer(*LINK, "--request-id", "r")["id"] == answer(*LINK, "--request-id", "r")["id"]


TRAVERSE = {
    "link": {"classifier": "a/c", "generator": "a/g", "truncation": 0.9},
    "units": {"indices": [4, 2]},
    "steps": 3,
}


@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump], ids=["json", "yaml"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_spec_comes_from_a_file_and_flags_win(
    gateway: ScriptedGateway, tmp_path: Path, write: Any, nested: bool
) -> None:
    file = tmp_path / "spec"
    file.write_text(write({"traverse": TRAVERSE} if nested else TRAVERSE))
    words = ("submit", "traverse", "--spec", str(file), "--truncation", "0.6", "--keep", "all")
    spec = answer(*words)["spec"]
    assert spec["link"]["truncation"] == 0.6
    assert spec["link"]["classifier"] == "a/c"
    assert spec["units"]["indices"] == [4, 2]
    assert (spec["steps"], spec["keep"]) == (3, "all")


def test_a_spec_comes_from_standard_input(gateway: ScriptedGateway) -> None:
    job = answer("submit", "traverse", "--spec", "-", stdin=yaml.safe_dump(TRAVERSE))
    assert job["spec"]["steps"] == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [("[1, 2]", "holds no fields"), ("a: b: c", "in line 1"), ("x" * (5 << 20), "larger than")],
)
def test_a_spec_file_that_is_none(gateway: ScriptedGateway, tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "spec"
    file.write_text(text)
    done = run("submit", "link", "--spec", str(file))
    assert done.exit_code == 2
    assert words in done.stderr


def test_validate_only_creates_nothing(gateway: ScriptedGateway) -> None:
    assert answer(*LINK, "--validate-only")["renders"] == 1200
    shown = run(*LINK, "--validate-only").stdout
    assert "1,200" in shown
    assert "1:01" in shown
    assert gateway.history == {}


def test_watching_prints_lines_and_no_bar_off_a_terminal(gateway: ScriptedGateway) -> None:
    progress = pb.JobProgress(stage="sample", stage_count=8, chunks_done=3, chunks_total=20, fraction=0.4)
    gateway.push(JOB, "QUEUED")
    gateway.push(JOB, "RUNNING", progress=progress)
    gateway.push(JOB, "SUCCEEDED")
    done = run("watch", JOB)
    assert done.exit_code == 0
    assert "40%  sample 3 of 20 (stage 1 of 8)" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("succeeded")
    assert "\x1b" not in done.stdout
    lines = run("watch", JOB, "--output", "json").stdout.splitlines()
    assert [json.loads(line)["state"] for line in lines] == ["QUEUED", "RUNNING", "SUCCEEDED"]


ERROR = pb.JobError(status="INVALID_ARGUMENT", reason="DEAD_UNIT", message="unit 3 is dead")


@pytest.mark.parametrize(
    ("state", "fields", "code"),
    [("SUCCEEDED", {}, 0), ("FAILED", {"error": ERROR}, 1), ("CANCELLED", {}, 5)],
)
def test_how_a_job_ends_is_the_exit_code(
    gateway: ScriptedGateway, state: str, fields: dict[str, Any], code: int
) -> None:
    gateway.created = lambda job_id: gateway.push(job_id, state, **fields) and None
    end(gateway, state, **fields)
    for words in (("watch", JOB), (*LINK, "--watch"), (*LINK, "--watch", "--output", "json")):
        done = run(*words)
        assert done.exit_code == code
        assert ("unit 3 is dead" in done.stderr) == (code == 1)
    assert json.loads(done.stdout)["state"] == state


def test_cancel_says_how_the_job_stands(gateway: ScriptedGateway) -> None:
    gateway.push(JOB, "RUNNING")
    assert run("cancel", JOB).stdout == f"{JOB} is CANCELLED\n"
    assert answer("cancel", JOB)["state"] == "CANCELLED"


def test_download_saves_artifacts(gateway: ScriptedGateway, tmp_path: Path) -> None:
    artifacts = [gateway.add_artifact(JOB, f"tables/{n}.json", n.encode()) for n in ("a", "b")]
    end(gateway, "SUCCEEDED", artifacts=artifacts)
    assert run("download", JOB).exit_code == 0
    assert (tmp_path / JOB / "tables" / "b.json").read_bytes() == b"b"
    files = answer("download", JOB, "--to", "out", "--artifact", "tables/a.json")
    assert files == [{"path": "out/tables/a.json", "size": 1}]
    assert run("download", JOB, "--artifact", "tables/c.json").exit_code == 3


def test_download_of_a_job_that_runs(gateway: ScriptedGateway) -> None:
    gateway.push(JOB, "RUNNING")
    done = run("download", JOB)
    assert done.exit_code == 6
    assert "unitscope watch" in done.stderr


def test_capabilities(gateway: ScriptedGateway) -> None:
    assert answer("capabilities")["models"][0]["layers"][0]["units"] == 512
    shown = run("capabilities").stdout
    assert "a/c" in shown
    assert "8,192" in shown


BAD: list[tuple[list[str], int, str]] = [
    (["get", JOB], 3, "there is no job"),
    (["get", "../../etc/passwd"], 2, "is no job id"),
    (["watch", JOB], 3, "there is no job"),
    (["list", "--limit", "0"], 2, "--limit"),
    (["submit", "link"], 2, "spec.link.classifier: Field required"),
    ([*LINK, "--truncation", "2"], 2, "less than or equal to 1"),
    (["submit", "link", "--spec", "missing.yaml"], 2, "missing.yaml cannot be read"),
    (["submit", "paint"], 2, "paint"),
    (["models", "show", "a/none", "--models", "."], 3, "there is no model"),
    (["list", "--address", "127.0.0.1:9"], 4, "does not answer"),
]


@pytest.mark.parametrize(("words", "code", "message"), BAD)
def test_what_is_wrong_is_said_in_a_line(
    gateway: ScriptedGateway, words: list[str], code: int, message: str
) -> None:
    done = run(*words)
    assert done.exit_code == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FailedPreconditionError("another digest"), 6),
        (ResourceExhaustedError("50 jobs are active", reason="TOO_MANY_JOBS"), 6),
        (InternalError("a defect"), 7),
    ],
)
def test_errors_of_the_server_have_codes(gateway: ScriptedGateway, error: UnitScopeError, code: int) -> None:
    gateway.failures.append(error)
    done = run("list")
    assert done.exit_code == code
    assert f"error: {error.message}" in done.stderr


def test_an_absent_gateway_comes_with_a_hint(gateway: ScriptedGateway) -> None:
    assert "hint: start a stack with 'unitscope up'" in run("list", "--address", "127.0.0.1:9").stderr


def write_card(root: Path) -> ModelCard:
    card = ModelCard(
        name="a/c",
        kind="classifier",
        description="A classifier.",
        license="Apache-2.0",
        architecture={"name": "avatarnet"},
        classes=("cap", "hat"),
        layers=(LayerCard(name="penultimate", units=32, nonnegative=True),),
        files={},
        metrics={"test": {"accuracy": 0.98765}, "note": "words are no headline"},
    )
    (root / "a" / "c").mkdir(parents=True)
    card.save(root / "a" / "c")
    return card


def test_models_are_listed_and_shown(tmp_path: Path) -> None:
    card = write_card(tmp_path)
    listed = answer("models", "--models", str(tmp_path))
    assert [(m["name"], m["digest"]) for m in listed] == [("a/c", card.digest)]
    assert "test.accuracy 0.9877" in run("models", "--models", str(tmp_path)).stdout
    shown = answer("models", "show", "a/c", "--models", str(tmp_path))
    assert ModelCard.model_validate({k: v for k, v in shown.items() if k != "digest"}) == card
    assert "penultimate (32 units)" in run("models", "--models", str(tmp_path), "show", "a/c").stdout


def test_a_service_adds_a_command_by_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "added_here.py").write_text(
        "import typer\napp = typer.Typer()\n@app.command()\ndef hello(name: str) -> None:\n"
        "    '''Greet.'''\n    print('hello', name)\n"
    )
    info = tmp_path / "added-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: added\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[unitscope.commands]\nhello = added_here:app\nbroken = absent_module:app\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert run("list", "--help").exit_code == 0
    assert "added_here" not in sys.modules  # only its own command loads it
    assert run("hello", "you").stdout == "hello you\n"
    listed = run("--help").stdout
    assert "Greet." in listed
    assert "cannot be loaded" in listed
    broken = run("broken", "--any", "thing")
    assert broken.exit_code == 6
    assert "absent_module" in broken.stderr
    assert "Traceback" not in broken.stderr


def test_an_interrupted_watch_ends_with_130_and_leaves_the_job(gateway: ScriptedGateway) -> None:
    gateway.push(JOB, "RUNNING")
    words = [*COMMAND, "watch", JOB]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert "running" in first, said
    assert process.returncode == 130
    assert "the job goes on" in said
    assert "Traceback" not in said
    assert gateway.history[JOB][-1].state == pb.JOB_STATE_RUNNING


@pytest.mark.parametrize("colour", [True, False])
def test_a_terminal_gets_a_live_bar(gateway: ScriptedGateway, colour: bool) -> None:
    gateway.push(JOB, "RUNNING", progress=pb.JobProgress(stage="sample", fraction=0.5))
    # The job ends once the bar was seen.
    end = partial(gateway.push, JOB, "SUCCEEDED")
    text = _on_a_terminal(["watch", JOB], {} if colour else {"NO_COLOR": "1"}, "━", end)
    assert "\x1b[" in text  # the cursor moves: the bar is drawn in place
    assert "━" in text
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]", text)) == colour


def _on_a_terminal(words: list[str], more: dict[str, str], mark: str, act: Callable[[], object]) -> str:
    """What a command writes to its end; does something as soon as it has written `mark`."""
    master, slave = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLORTERM")}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2]), "TERM": "xterm-256color", **more}
    process = subprocess.Popen([*COMMAND, *words], env=environment, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    text, until, acted = b"", time.monotonic() + PATIENCE, False
    try:
        while time.monotonic() < until:
            if select.select([master], [], [], 0.2)[0]:
                try:
                    text += os.read(master, 65_536)
                except OSError:  # the other side is closed
                    break
            if not acted and mark.encode() in text:
                acted = True
                act()
        assert acted, text.decode(errors="replace")
        assert process.wait(PATIENCE) == 0, text.decode(errors="replace")
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return text.decode()
