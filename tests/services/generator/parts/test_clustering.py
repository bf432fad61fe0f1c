"""Clusters are served as a parts model: its labels are the nearest centres."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.generator.backend import GeneratorBackend
from services.generator.parts.clustering import cluster, find_clusters, pixel_features, to_network
from services.generator.parts.features import capture, draw_w, feature_layers
from unitscope.errors import InvalidArgumentError


def test_served_labels_are_the_nearest_centres(backend: GeneratorBackend) -> None:
    network = backend.network
    found = find_clusters(network, draw_w(network, 40, seed=1).numpy(), 6)
    parts = to_network(network, found)
    w = draw_w(network, 8, seed=2)
    labels = backend.render_parts(w.numpy(), parts)[1]
    layers = feature_layers(network.spec)
    y, x = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    points = torch.stack([y, x], dim=2).reshape(1, -1, 2).expand(8, -1, -1)
    features = capture(network.synthesis, w, layers)
    pixels = pixel_features(features, layers, points, 16, found.scales, found.weights)
    distances = torch.cdist(found.reduce(pixels).double(), found.centres.double())
    nearest, second = distances.sort(dim=1).values[:, :2].unbind(1)
    # Where two centres are as near as rounding can tell, either is right.
    clear = (second - nearest) > 1e-4
    assert clear.float().mean() > 0.99
    expected = found.nearest(pixels)
    assert torch.equal(torch.from_numpy(labels).flatten().long()[clear], expected[clear])
    assert len(set(labels.flatten().tolist())) > 3


def test_the_same_call_gives_the_same_parts_most_pixels_first(backend: GeneratorBackend) -> None:
    w = draw_w(backend.network, 40, seed=3).numpy()
    told: list[int] = []
    one = cluster(backend.network, w, 4, progress=lambda n, of: told.append(n))
    two = cluster(backend.network, w, 4)
    assert one.parts == ("part-00", "part-01", "part-02", "part-03")
    assert told == sorted(told)
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name
    counts = np.bincount(backend.render_parts(w, one)[1].flatten(), minlength=4)
    assert (np.diff(counts) <= 0.1 * counts[:-1]).all()


@pytest.mark.parametrize(
    ("pictures", "count", "reason"),
    [(4, 1, "INVALID_PARTS"), (4, 256, "INVALID_PARTS"), (0, 4, "TOO_FEW_PICTURES")],
)
def test_counts_that_cannot_be_are_refused(
    backend: GeneratorBackend, pictures: int, count: int, reason: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        cluster(backend.network, np.zeros((pictures, 24), np.float32), count)
    assert caught.value.reason == reason
