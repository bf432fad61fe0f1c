"""``unitscope units`` on the tables of a folder, and of a job."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.support import quantified
from tests.support.scripted_gateway import ScriptedGateway
from unitscope.cli.app import app
from unitscope.jobs.ids import job_id_of
from unitscope.selection import SELECTED

JOB = job_id_of("a-job")
AREA, HAIR, BUN = ("glasses", "area"), ("hair", "area"), ("logit", "bun")
CELLS: dict[int, quantified.Cells] = {
    -1: {AREA: 0.5},
    3: {AREA: 2.0, HAIR: -0.5, BUN: 1.5},
    5: {AREA: -1.0, HAIR: 1.0},
    7: {AREA: 1.9},
    8: {AREA: 1.0},
}


def tables() -> dict[str, Any]:
    columns = {"trusted": {7: False}, "trust": {7: 0.02}, "stage": {8: "screen"}}
    return {
        "effects": quantified.effects(CELLS, screened=[8], groups=["shades"]),
        "units": quantified.units(list(CELLS), ["shades"], cluster={3: 0, 7: 0, 5: 1}, **columns),
    }


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(quantified.save(tmp_path / "results", tables()))


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["units", *words])


def lines(*words: str) -> list[str]:
    done = run(*words)
    assert done.exit_code == 0, done.stderr
    return done.stdout.splitlines()


def test_help_ends_with_an_example() -> None:
    assert "example: unitscope units JOB --part glasses" in re.sub(r"\s+", " ", run("--help").stdout)


def test_a_table_for_people(folder: str) -> None:
    head, first, *rest = lines(folder, "--part", "glasses", "--measure", "area", "--increase", "--top", "2")
    assert head.split()[:3] == ["UNIT", "WHAT", "EFFECT"]
    assert re.match(
        r"3 +glasses area +\+0\.2 \[\+0\.18, \+0\.22\] +\+2\.00 sd +█{12} +80% +100% of 32 +0\.001 +0\.80 +"
        r"hair area -0\.50 sd$",
        first.rstrip(),
    )
    assert rest[0].startswith("-1 (shades)")
    assert "███ " in rest[0]
    assert rest[2].startswith("2 of 5 units increase glasses area; all are shown. Not trusted: 1 unit more")
    assert rest[3] == f"Film strips and all effects: {Path(folder) / 'report/index.html#unit-3'}"


def test_flags_widen_and_mark(folder: str) -> None:
    shown = lines(folder, "--part", "glasses", "--measure", "area", "--all", "--screened")
    marks = {line.split()[0]: line for line in shown[1:6]}
    assert "0.02 not trusted" in marks["7"]
    assert "screened" in marks["8"]
    assert "of 8" in marks["8"]


def test_nothing_found_is_said_with_the_flag_that_helps(folder: str) -> None:
    (only,) = lines(folder, "--part", "hair", "--measure", "area", "--class", "cap")
    assert "none changes the logit too" in only
    done = run(folder, "--part", "background", "-o", "json")
    assert json.loads(done.stdout) == []
    assert "--q" in done.stderr


def test_a_class_beside_a_part_shows_both(folder: str) -> None:
    head, row, *_ = lines(folder, "--part", "glasses", "--class", "bun")
    assert head.split()[-1] == "LOGIT"
    assert row.split()[0] == "3"
    assert row.split()[-1] == "+0.15"


def test_json_and_csv_hold_every_column(folder: str) -> None:
    asked = (folder, "--part", "glasses", "--measure", "area", "--output")
    rows = json.loads(run(*asked, "json").stdout)
    assert [row["unit"] for row in rows] == [3, -1, 5]
    assert list(rows[0]) == [column.name for column in SELECTED.columns]
    assert rows[0]["logit_effect"] is None
    (_, first, *_) = table = list(csv.reader(io.StringIO(run(*asked, "csv").stdout)))
    assert len(table) == 4
    assert dict(zip(table[0], first, strict=True))["standardised"] == "2.0"


def test_units_like_another(folder: str) -> None:
    shown = lines(folder, "--like", "3", "--top", "1")
    assert shown[1].split()[:2] == ["-1", "(shades)"]
    assert "+0.97" in shown[1]
    assert "glasses area +0.50 sd" in shown[1]
    rows = json.loads(run(folder, "--like", "3", "--all", "--screened", "-o", "json").stdout)
    assert {row["unit"] for row in rows} == {-1, 5, 7, 8}


def test_clusters(folder: str) -> None:
    shown = lines(folder, "--clusters")
    assert re.match(r"0 +1 +glasses area \+2\.00 sd +100% +hair area -0\.50 sd +1\.00 +3$", shown[1].rstrip())
    table = list(csv.reader(io.StringIO(run(folder, "--clusters", "--all", "-o", "csv").stdout)))
    assert dict(zip(table[0], table[1], strict=True))["members"] == "3 7"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--part", "glases"], 2, "did you mean 'glasses'?"),
        (["--like", "99"], 2, "did not move unit 99"),
        (["--clusters", "--part", "hair"], 2, "--clusters does not go together with --part"),
        (["--like", "3", "--decrease"], 2, "--increase/--decrease"),
        (["--measure", "delta_e", "--increase"], 2, "without direction"),
    ],
)
def test_errors_are_a_line_with_an_exit_code(folder: str, words: list[str], code: int, message: str) -> None:
    done = run(folder, *words)
    assert (done.exit_code, done.stdout) == (code, "")
    assert message in done.stderr


def test_a_job_is_read_through_the_gateway(gateway: ScriptedGateway) -> None:
    artifacts = [gateway.add_artifact(JOB, n, d) for n, d in quantified.files(tables()).items()]
    gateway.push(JOB, "SUCCEEDED", artifacts=artifacts)
    shown = lines(JOB, "--part", "glasses", "--top", "1")
    assert shown[1].split()[0] == "3"
    assert shown[-1].endswith(f"unitscope download {JOB}, then {JOB}/report/index.html#unit-3")


def test_a_job_without_effects_or_end(gateway: ScriptedGateway, tmp_path: Path) -> None:
    gateway.push(JOB, "RUNNING")
    done = run(JOB)
    assert done.exit_code == 6
    assert f"unitscope watch {JOB}" in done.stderr
    gateway.push(JOB, "SUCCEEDED", artifacts=[gateway.add_artifact(JOB, "tables/units.parquet", b"")])
    done = run(JOB)
    assert done.exit_code == 6
    assert "'quantify' have one, this one has: units" in done.stderr
    for source in ("no/such/folder", "./results"):
        done = run(source)
        assert (done.exit_code, "there is no folder" in done.stderr) == (3, True)
    assert run(str(tmp_path)).exit_code == 3
