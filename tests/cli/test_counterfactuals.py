"""``unitscope counterfactuals`` on the tables of a folder, and of a job."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.support import quantified
from tests.support.found import failure, pairs, rows, unknown_origin
from tests.support.scripted_gateway import ScriptedGateway
from unitscope.cli.app import app
from unitscope.jobs.ids import job_id_of
from unitscope.tables import COUNTERFACTUALS, PAIRS

JOB = job_id_of("a-job")
TABLES = {
    "pairs": pairs(
        {"target": "hat", "distance": 3.0},
        {"target": "cap", "distance": None, "reached": 0},
        {"origin": "cap", "target": "hat", "distance": 1.0, "reached": 5},
    ),
    "counterfactuals": rows(
        {"seed": 0, "l2": 3.0},
        failure("unreachable", seed=1),
        {"seed": 2, "l2": 1.0},
        failure("unknown_class", target="hatt", image="me.jpg", **{"class": None}),
        unknown_origin("bum"),
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(quantified.save(tmp_path / "results", TABLES))


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["counterfactuals", *words])


def lines(*words: str) -> list[str]:
    done = run(*words)
    assert done.exit_code == 0, done.stderr
    return [line.rstrip() for line in done.stdout.splitlines()]


def test_help_ends_with_an_example() -> None:
    assert "example: unitscope counterfactuals JOB" in re.sub(r"\s+", " ", run("--help").stdout)


def test_pairs_for_people(folder: str) -> None:
    head, near, far, never, _, words, where = lines(folder)
    assert re.split(r" {2,}", head) == [
        *("ORIGIN", "TARGET", "REACHED", "DISTANCE [95 %]", "UNITS", "PART", "PLAUSIBLE", "CALLS"),
    ]
    assert re.split(r" {2,}", near) == [
        *("cap", "hat", "5/8", "1 [0.5, 1.5]", "3", "hat area (75%)", "88%", "1,234"),
    ]
    assert far.split()[:4] == ["bun", "hat", "8/8", "3"]
    assert never.split() == ["bun", "cap", "0/8"]
    assert words.startswith("reached 2 of 5; 2 unknown_class ('hatt': did you mean 'hat'?")
    assert where.endswith(str(Path(folder) / "report/index.html"))


def test_pairs_are_filtered_sorted_and_cut(folder: str) -> None:
    assert lines(folder, "--sort", "validity")[1].split()[:2] == ["bun", "hat"]
    assert [line.split()[1] for line in lines(folder, "--origin", "bun")[1:3]] == ["hat", "cap"]
    shown = lines(folder, "--target", "hat", "--top", "1")
    assert shown[1].split()[0] == "cap"
    assert "1 of 2 pairs are shown; --top shows more" in shown[3]


def test_single_rows(folder: str) -> None:
    head, first, *_ = lines(folder, "--rows")
    assert head.split()[:5] == ["ORIGIN", "TARGET", "IMAGE", "OUTCOME", "DISTANCE"]
    assert re.split(r" {2,}", first) == [
        *("bun", "hat", "bun 2", "reached", "1", "3", "hat area", "yes", "0.12 to 0.50", "9"),
    ]


def test_failed_rows_say_why(folder: str) -> None:
    _, unreachable, own, origin, *_ = lines(folder, "--failed")
    assert unreachable.endswith("no shift of the features makes the classifier's head say the target")
    assert re.split(r" {2,}", own)[:4] == ["bun", "hatt", "me.jpg", "unknown_class"]
    assert own.endswith("'hatt' is no class of the classifier: did you mean 'hat'?")
    assert origin.endswith("'bum' is no class of the generator: did you mean 'bun'?")


def test_json_and_csv_hold_every_column(folder: str) -> None:
    answer = json.loads(run(folder, "-o", "json").stdout)
    assert list(answer[0]) == [column.name for column in PAIRS.columns]
    assert (answer[0]["distance"], answer[2]["distance"]) == (1.0, None)
    failed = json.loads(run(folder, "--failed", "-o", "json").stdout)
    assert [row["outcome"] for row in failed] == ["unreachable", "unknown_class", "unknown_class"]
    table = list(csv.reader(io.StringIO(run(folder, "--rows", "-o", "csv").stdout)))
    assert table[0] == [column.name for column in COUNTERFACTUALS.columns]
    assert dict(zip(table[0], table[1], strict=True))["units"] == "4 2"


def test_a_job_without_pairs_says_so(tmp_path: Path) -> None:
    only = {"pairs": pairs(), "counterfactuals": rows(unknown_origin("bum"))}
    folder = str(quantified.save(tmp_path / "none", only))
    first, then = lines(folder)
    assert (
        first
        == "No pair of classes was searched for. reached 0 of 1; 1 unknown_class ('bum': did you mean 'bun'?)"
    )
    assert then == f"Why: unitscope counterfactuals {folder} --failed"
    assert json.loads(run(folder, "-o", "json").stdout) == []
    whole = {"pairs": TABLES["pairs"], "counterfactuals": rows({})}
    assert lines(str(quantified.save(tmp_path / "whole", whole)), "--failed") == ["reached 1 of 1."]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--origin", "bnu"], 2, "no origin 'bnu'; did you mean 'bun'?"),
        (["--failed", "--target", "x"], 2, "no target 'x'; it has:"),
        (["--rows", "--failed"], 2, "leave --rows out"),
        (["--sort", "size"], 2, "size"),
        (["--top", "0"], 2, "--top"),
    ],
)
def test_errors_are_a_line_with_an_exit_code(folder: str, words: list[str], code: int, message: str) -> None:
    done = run(folder, *words)
    assert (done.exit_code, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_job_is_read_through_the_gateway(gateway: ScriptedGateway) -> None:
    artifacts = [gateway.add_artifact(JOB, n, d) for n, d in quantified.files(TABLES).items()]
    gateway.push(JOB, "SUCCEEDED", artifacts=artifacts)
    shown = lines(JOB, "--top", "1")
    assert shown[1].split()[:2] == ["cap", "hat"]
    assert shown[-1].endswith(f"unitscope download {JOB}, then {JOB}/report/index.html")


def test_a_job_of_another_kind_and_one_that_runs(gateway: ScriptedGateway) -> None:
    gateway.push(JOB, "RUNNING")
    assert run(JOB).exit_code == 6
    gateway.push(JOB, "SUCCEEDED", artifacts=[gateway.add_artifact(JOB, "tables/units.parquet", b"")])
    done = run(JOB)
    assert done.exit_code == 6
    assert "'counterfactual' have one, this one has: units" in done.stderr
    assert run("./results").exit_code == 3


HOSTILE = "\x1b]0;owned\x07\x1b[2J\nb\u202eun"


@pytest.mark.parametrize("words", [(), ("--rows",), ("--failed",)])
def test_names_do_nothing_to_the_terminal(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Somebody else submitted the job; a name that is no class is free text."""
    tables = {
        "pairs": pairs({"origin": HOSTILE, "target": "hat"}),
        "counterfactuals": rows(
            {"origin": HOSTILE, "image": HOSTILE, "class": None},
            failure("unknown_class", target=HOSTILE, image=HOSTILE, **{"class": None}),
            unknown_origin(HOSTILE),
        ),
    }
    shown = run(str(quantified.save(tmp_path / "hostile", tables)), *words).stdout
    assert all(c.isprintable() for line in shown.splitlines() for c in line)
    assert "\\x1b]0;owned\\x07\\x1b[2J\\nb\\u202eun" in shown
