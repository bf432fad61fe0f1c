"""Latents by seed, truncation towards centroids and in part of the layers, hidden features by name."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.generator import hidden
from services.generator.backend import GeneratorBackend
from services.generator.truncation import (
    check_centroids,
    load_centroids,
    map_plus,
    nearest,
    seeded_latents,
    spread,
)
from tests.support.tiny_pack import CLASSES, tiny_spec
from unitscope.errors import InvalidArgumentError

SPEC = tiny_spec()
Z = seeded_latents(3, 11, SPEC.z_dim)
LABELS = np.arange(len(Z)) % len(CLASSES)
CENTROIDS = np.random.default_rng(5).standard_normal((40, SPEC.w_dim)).astype(np.float32)


def test_a_seed_stands_for_the_frozen_stream() -> None:
    """The numbers are NumPy's documented ones of RandomState, here as literals: a stream that changed shows."""
    z = seeded_latents(0, 2, 64)
    assert z.dtype == np.float32
    assert z.shape == (2, 64)
    drawn = [1.764052345967664, 0.4001572083672233, 0.9787379841057392, 2.240893199201458]
    np.testing.assert_array_equal(z[0, :4], np.array(drawn, np.float32))
    np.testing.assert_array_equal(seeded_latents(0, 5, 64)[:2], z)
    assert not np.array_equal(seeded_latents(1, 2, 64), z)


@pytest.mark.parametrize(
    ("seed", "count", "z_dim", "field"),
    [(-1, 1, 64, "seed"), (2**32, 1, 64, "seed"), (0, 0, 64, "count"), (0, 1, 0, "z_dim")],
)
def test_latents_out_of_range_are_refused(seed: int, count: int, z_dim: int, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        seeded_latents(seed, count, z_dim)
    assert (caught.value.reason, caught.value.violations[0][0]) == ("OUT_OF_RANGE", field)


@pytest.mark.parametrize("truncation", [0.0, 0.5, 1.0, np.linspace(0, 1, len(Z), dtype=np.float32)])
def test_without_centroids_it_is_the_mapping_of_the_server(
    backend: GeneratorBackend, truncation: Any
) -> None:
    ws = map_plus(backend, Z, LABELS, truncation)
    assert ws.shape == (len(Z), SPEC.num_ws, SPEC.w_dim)
    for place in range(SPEC.num_ws):
        np.testing.assert_array_equal(ws[:, place], backend.map(Z, LABELS, truncation))
    np.testing.assert_array_equal(
        backend.render(ws[:2]), backend.render(backend.map(Z, LABELS, truncation)[:2])
    )


def test_a_cutoff_truncates_the_first_layers_alone(backend: GeneratorBackend) -> None:
    drawn, pulled = backend.map(Z, LABELS, 1.0), backend.map(Z, LABELS, 0.3)
    ws = map_plus(backend, Z, LABELS, 0.3, cutoff=2)
    assert all(np.array_equal(ws[:, i], pulled) for i in range(2))
    assert all(np.array_equal(ws[:, i], drawn) for i in range(2, SPEC.num_ws))
    np.testing.assert_array_equal(map_plus(backend, Z, LABELS, 0.3, cutoff=0)[:, 0], drawn)
    np.testing.assert_array_equal(map_plus(backend, Z, LABELS, 0.3, cutoff=SPEC.num_ws)[:, -1], pulled)


@pytest.mark.parametrize("cutoff", [-1, SPEC.num_ws + 1])
def test_a_cutoff_beyond_the_layers_is_refused(backend: GeneratorBackend, cutoff: int) -> None:
    with pytest.raises(InvalidArgumentError, match=f"from 0 to {SPEC.num_ws}") as caught:
        map_plus(backend, Z, LABELS, 0.3, cutoff=cutoff)
    assert caught.value.reason == "CUTOFF_OUT_OF_RANGE"


def test_centroids_pull_to_the_nearest_of_them(backend: GeneratorBackend) -> None:
    drawn = backend.map(Z, LABELS, 1.0).astype(np.float64)
    distances = np.linalg.norm(drawn[:, None] - CENTROIDS[None].astype(np.float64), axis=2)
    centres = CENTROIDS[distances.argmin(axis=1)]
    assert len(np.unique(distances.argmin(axis=1))) > 2
    ws = map_plus(backend, Z, LABELS, 0.25, centroids=CENTROIDS)
    np.testing.assert_allclose(ws[:, 0], centres + 0.25 * (drawn - centres), atol=1e-6)
    np.testing.assert_array_equal(map_plus(backend, Z, LABELS, 0.0, centroids=CENTROIDS)[:, 0], centres)
    np.testing.assert_array_equal(
        map_plus(backend, Z, LABELS, 1.0, centroids=CENTROIDS)[:, 0], drawn.astype(np.float32)
    )


def test_a_row_with_centroids_depends_on_its_own_z_alone(backend: GeneratorBackend) -> None:
    whole = map_plus(backend, Z, LABELS, 0.7, centroids=CENTROIDS, cutoff=3)
    order = [4, 0, 9]
    some = map_plus(backend, Z[order], LABELS[order], 0.7, centroids=CENTROIDS, cutoff=3)
    np.testing.assert_array_equal(some, whole[order])


def test_near_centroids_are_told_apart_far_from_the_origin() -> None:
    """Distances by products would lose these differences in rounding."""
    base = torch.full((1, 512), 100.0)
    centroids = base + torch.linspace(-0.02, 0.02, 41)[:, None]
    for row in (3, 20, 36):
        w = centroids[row : row + 1] + 1e-4
        assert torch.equal(nearest(w, centroids), centroids[row : row + 1])


def test_centroids_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "centroids.npy"
    np.save(path, CENTROIDS.astype(">f8"))
    found = load_centroids(path, SPEC.w_dim)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, CENTROIDS)


class _Trap:
    """Leaves a mark where its pickle is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_a_file_that_is_no_array_is_refused_and_not_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    files = {
        "pickle.npy": pickle.dumps(_Trap(mark)),
        "text.npy": b"no numbers here",
        "empty.npy": b"",
    }
    objects = tmp_path / "objects.npy"
    np.save(objects, np.array([_Trap(mark)], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "archive.npz", CENTROIDS)
    np.save(tmp_path / "whole.npy", CENTROIDS)
    files["cut.npy"] = (tmp_path / "whole.npy").read_bytes()[:-100]
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for name in (*files, "objects.npy", "archive.npz", "missing.npy"):
        with pytest.raises(InvalidArgumentError) as caught:
            load_centroids(tmp_path / name, SPEC.w_dim)
        assert caught.value.reason == "INVALID_CENTROIDS", name
    assert not mark.exists()


@pytest.mark.parametrize(
    ("centroids", "says"),
    [
        (CENTROIDS[:, 1:], r"the shape \(40, 23\)"),
        (CENTROIDS[0], r"the shape \(24,\)"),
        (CENTROIDS[:0], r"the shape \(0, 24\)"),
        (CENTROIDS.astype(np.int64), "int64"),
        (CENTROIDS.tolist(), "list"),
        (np.where(np.arange(40)[:, None] == 7, np.nan, CENTROIDS), "first in row 7"),
    ],
)
def test_bad_centroids_are_refused(centroids: Any, says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says) as caught:
        check_centroids(centroids, SPEC.w_dim)
    assert caught.value.reason == "INVALID_CENTROIDS"


def test_spread_keeps_the_device_and_shape() -> None:
    w, pulled = torch.zeros(2, 3), torch.ones(2, 3)
    assert spread(w, pulled, 4, 1).sum(dim=(0, 2)).tolist() == [6, 0, 0, 0]
    assert spread(w, pulled, 4).sum(dim=(0, 2)).tolist() == [6, 6, 6, 6]


def test_hidden_features_are_those_of_the_picture(backend: GeneratorBackend) -> None:
    w = backend.map(Z, LABELS, 0.7)
    names = [layer.name for layer in SPEC.layers]
    pictures, features = backend.features(w, [names[-1], names[0]])
    np.testing.assert_array_equal(pictures, backend.render(w))
    assert list(features) == [names[-1], names[0]]
    first, last = SPEC.layers[0], SPEC.layers[-1]
    assert features[first.name].shape == (len(w), first.out_channels, first.out_size, first.out_size)
    # What the layer to colours writes is the picture, but for its scale.
    scaled = features[last.name] * SPEC.output_scale
    as_bytes = np.clip(np.round((scaled + 1) * 127.5), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(as_bytes.transpose(0, 2, 3, 1), pictures)


def test_hidden_features_equal_those_of_one_picture_alone(backend: GeneratorBackend) -> None:
    w, name = backend.map(Z, LABELS, 0.7), SPEC.layers[1].name
    _, together = backend.features(w, [name])
    for row in (0, 8, 10):
        _, alone = backend.features(w[row : row + 1], [name])
        np.testing.assert_array_equal(alone[name][0], together[name][row])


@pytest.mark.parametrize("layers", [[], ["L99_1_1"], [SPEC.layers[0].name] * 2])
def test_unknown_layers_are_refused(backend: GeneratorBackend, layers: list[str]) -> None:
    with pytest.raises(InvalidArgumentError, match=SPEC.layers[0].name) as caught:
        backend.features(backend.map(Z[:1], LABELS[:1]), layers)
    assert caught.value.reason == "UNKNOWN_LAYER"


def test_features_beyond_the_limit_are_refused_before_rendering(
    backend: GeneratorBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = SPEC.layers[0]
    monkeypatch.setattr(hidden, "MAX_BYTES", 4 * layer.out_channels * layer.out_size**2)
    w = backend.map(Z[:2], LABELS[:2])
    backend.features(w[:1], [layer.name])
    with pytest.raises(InvalidArgumentError, match="for 2 pictures") as caught:
        backend.features(w, [layer.name])
    assert caught.value.reason == "TOO_MANY_FEATURES"
