"""``unitscope demo`` and ``up`` around a scripted gateway; the real stack is in tests/embedded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support import found, quantified
from tests.support.scripted_gateway import ScriptedGateway
from unitscope.cli.app import app
from unitscope.embedded.home import Endpoints, home_at
from unitscope.tables import LINKER_DIGEST, QUALITY, to_parquet


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptedGateway:
    """Every job succeeds at once with a report and a table."""
    scripted = ScriptedGateway()
    monkeypatch.chdir(tmp_path)

    def succeed(job_id: str) -> None:
        report = scripted.add_artifact(job_id, "report/index.html", b"<html>")
        moved = {7: {("glasses", "area"): 2.0}, 5: {("hair", "luminance"): -3.0}}
        quality = QUALITY.build({column.name: [] for column in QUALITY.columns})
        about = {**quality.schema.metadata, LINKER_DIGEST: "ab" * 32}
        tables = {
            "effects": quantified.effects(moved),
            "units": quantified.units(list(moved)),
            "quality": quality.replace_schema_metadata(about),
            "counterfactuals": found.rows({"origin": "bun", "target": "short_hair"}),
        }
        files = [
            scripted.add_artifact(job_id, f"tables/{name}.parquet", to_parquet(table))
            for name, table in tables.items()
        ]
        scripted.push(job_id, "SUCCEEDED", artifacts=[report, *files])

    scripted.created = succeed
    return scripted


def test_demo_uses_the_stack_that_runs_and_prints_the_report(
    gateway: ScriptedGateway, tmp_path: Path
) -> None:
    home = home_at(tmp_path / ".unitscope")
    home.prepare()
    with gateway.serving() as address:
        home.publish(Endpoints(gateway=address))
        lock = home.lock()
        try:
            done = CliRunner().invoke(app, ["demo", "--seed", "3", "--shortlist", "9"])
        finally:
            os.close(lock)
    assert done.exit_code == 0, done.output
    assert f"using the stack that runs at {address}" in done.stdout
    assert done.stdout.splitlines()[-1] == "report: unitscope-demo/report/index.html"
    assert (tmp_path / "unitscope-demo" / "report" / "index.html").read_bytes() == b"<html>"
    rows = {
        line.split()[0]: line.split()[1]
        for line in done.stdout.splitlines()
        if line[:5] in ("hair ", "glass")
    }
    assert rows == {"hair": "5", "glasses": "7"}
    measured, searched = (history[0].spec for history in gateway.history.values())
    spec = measured.quantify
    assert (spec.link.seed, spec.seed, spec.shortlist) == (3, 4, 9)
    assert spec.link.classifier == "avatars/shortcut"
    # The second job takes the linker of the first one.
    assert (searched.counterfactual.linker, searched.counterfactual.seed) == ("ab" * 32, 4)
    assert "reached 1 of 1" in done.stdout
    assert "another class: unitscope-demo/counterfactual/report/index.html" in done.stdout
    assert (tmp_path / "unitscope-demo" / "counterfactual" / "report" / "index.html").is_file()


def test_commands_find_the_stack_of_their_home(
    gateway: ScriptedGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNITSCOPE_ENDPOINT_GATEWAY", raising=False)
    home = home_at(tmp_path / "elsewhere")
    home.prepare()
    with gateway.serving() as address:
        home.publish(Endpoints(gateway=address))
        lock = home.lock()
        found = CliRunner().invoke(app, ["capabilities", "--home", "elsewhere"])
        assert found.exit_code == 0
        assert address in found.stdout
        monkeypatch.setenv("UNITSCOPE_ENDPOINT_GATEWAY", "127.0.0.1:9")
        assert CliRunner().invoke(app, ["list", "--home", "elsewhere"]).exit_code == 4
        given = ["list", "--home", "elsewhere", "--address", address]
        assert CliRunner().invoke(app, given).exit_code == 0
        os.close(lock)


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_stack_without_models_is_refused_in_a_line(command: str, tmp_path: Path) -> None:
    words = [command, "--home", str(tmp_path / "home"), "--models", str(tmp_path / "none")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 6
    assert "there is no folder of models" in done.stderr
