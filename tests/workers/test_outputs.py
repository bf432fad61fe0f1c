import io
import json
import zipfile

import numpy as np
import pyarrow as pa

from workers import outputs


def pictures(count):
    rng = np.random.default_rng(1)
    return {f"a/{i}.png": rng.integers(0, 256, (5, 7, 3), np.uint8) for i in range(count)}


def test_pictures_survive_the_zip():
    images = pictures(3)
    back = outputs.unpack_images(outputs.pack_images(images), ["a/2.png", "a/0.png"])
    assert (back == np.stack([images["a/2.png"], images["a/0.png"]])).all()


def test_equal_pictures_give_equal_bytes_at_any_time(monkeypatch):
    first = outputs.pack_images(pictures(2))
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert outputs.pack_images(pictures(2)) == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a/0.png", "a/1.png"]


def table():
    return pa.table(
        {
            "x": pa.array([0.1, float("nan"), None], pa.float32()),
            "y": pa.array([0.1, 1 / 3, float("nan")], pa.float64()),
            "z": pa.array([[0.5, 0.1], [], [2.0]], pa.list_(pa.float32())),
            "name": ["a", "ü", None],
        }
    )


def test_json_has_no_nan_and_no_invented_digits():
    body = json.loads(outputs.table_json(table()))
    assert body["data"][0] == [0.1, 0.1, [0.5, 0.1], "a"]
    assert body["data"][1] == [None, 1 / 3, [], "ü"]
    assert body["data"][2] == [None, None, [2.0], None]


def test_long_tables_are_parquet_alone(monkeypatch):
    monkeypatch.setattr(outputs, "MAX_JSON_ROWS", 2)
    assert [file.name for file in outputs.table_files("t", table())] == ["tables/t.parquet"]
    assert [f.name for f in outputs.table_files("t", table()[:2])] == ["tables/t.parquet", "tables/t.json"]
