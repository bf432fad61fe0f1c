"""``unitscope tokens``: what it prints, what it writes, and what it never repeats."""

import json
import stat

import pytest
from typer.testing import CliRunner

from unitscope.cli.app import app
from unitscope.rpc.tokens import TokenFile


def run(*arguments):
    return CliRunner().invoke(app, ["tokens", *arguments])


def test_a_token_that_was_created_gets_in(tmp_path):
    file = tmp_path / "tokens"
    file.write_text("# no line feed at the end")
    made = json.loads(
        run("create", "--project", "lab", "--name", "alice", "--append", str(file), "-o", "json").stdout
    )
    assert file.read_text() == f"# no line feed at the end\n{made['line']}\n"
    assert made["token"] not in file.read_text()
    assert TokenFile(file).authenticate(f"Bearer {made['token']}").project == "lab"


def test_a_new_file_is_not_for_everybody(tmp_path):
    file = tmp_path / "tokens"
    done = run(
        "create", "--project", "lab", "--name", "alice", "--expires", "2100-01-31", "--append", str(file)
    )
    assert done.exit_code == 0
    assert "shown this once" in done.stderr
    assert file.read_text().endswith(" 2100-01-31\n")
    assert stat.S_IMODE(file.stat().st_mode) & 0o007 == 0


def test_check_names_people_and_wrong_lines_and_quotes_neither_hash_nor_token(tmp_path):
    file = tmp_path / "tokens"
    line = json.loads(run("create", "--project", "lab", "--name", "alice", "-o", "json").stdout)["line"]
    other = "1" if line.endswith("0") else "0"
    file.write_text(f"{line}\n{line.replace('alice', 'old')[:-1]}{other} 2020-01-31\nbob lab ust_the-token\n")
    done = run("check", str(file))
    assert done.exit_code == 2
    assert ("alice" in done.stdout, "never" in done.stdout, "no" in done.stdout.split()) == (True,) * 3
    assert "line 3: the third word" in done.stderr
    for secret in (line.split()[2], "ust_the-token"):
        assert secret not in done.output
    listed = json.loads(run("check", str(file), "-o", "json").stdout)
    assert [row["good"] for row in listed["tokens"]] == [True, False]
    assert len(listed["problems"]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("create", "--project", "Lab", "--name", "a"), 2, "the project must"),
        (("create", "--project", "lab", "--name", "a b"), 2, "the name must"),
        (("create", "--project", "lab", "--name", "a", "--expires", "soon"), 2, "soon"),
        (
            ("create", "--project", "lab", "--name", "a", "--append", "/nowhere/tokens"),
            6,
            "cannot be written",
        ),
        (("check", "/nowhere/tokens"), 2, "cannot be read"),
    ],
)
def test_refusals(arguments, code, message):
    done = run(*arguments)
    assert done.exit_code == code
    assert message in done.stderr
    assert "ust_" not in done.output
