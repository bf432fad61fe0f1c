import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial import cKDTree
from sklearn.metrics import adjusted_rand_score

from workers.statistics import clusters, map_2d, nearest, resembling


def families(count, kinds=6, columns=60, seed=0, noise=0.15):
    """Units of some kinds, of any strength, and which kind each is."""
    random = np.random.default_rng(seed)
    kind = random.integers(0, kinds, count)
    profiles = random.standard_normal((kinds, columns))[kind] + noise * random.standard_normal(
        (count, columns)
    )
    return profiles * random.gamma(2, size=(count, 1)), kind


def test_those_that_resemble_have_the_largest_cosine():
    profiles, _ = families(40)
    profiles[3] = 0
    profiles[5, :4] = np.nan
    filled = np.nan_to_num(profiles)
    length = np.linalg.norm(filled, axis=1)
    cosines = filled @ filled[7] / np.where(length > 0, length, 1) / length[7]
    expected = [unit for unit in np.argsort(-cosines, kind="stable") if unit not in (3, 7)]
    others, values = resembling(profiles, 7, 5)
    assert others.tolist() == expected[:5]
    assert values == pytest.approx(cosines[others], abs=1e-5)
    assert len(resembling(profiles, 7, 100)[0]) == 38
    assert len(resembling(profiles, 3, 5)[0]) == 0


def test_all_at_once_are_each_by_itself(monkeypatch):
    monkeypatch.setattr("workers.statistics.similarity.BLOCK", 7)
    profiles, _ = families(20)
    profiles[3] = 0
    others, cosines = nearest(profiles, 4)
    for unit in range(20):
        alone, values = resembling(profiles, unit, 4)
        padding = [-1] * (4 - len(alone))
        assert others[unit].tolist() == [*alone, *padding]
        assert cosines[unit, : len(alone)] == pytest.approx(values, abs=1e-6)
    assert np.isnan(cosines[3]).all()
    assert nearest(np.zeros((0, 5)), 4)[0].shape == (0, 4)


def test_strength_does_not_matter_and_the_opposite_is_not_alike():
    profile = np.random.default_rng(0).standard_normal(20)
    _, cosines = nearest(np.stack([profile, 1e-200 * profile, -profile]), 2)
    assert cosines[0] == pytest.approx([1, -1], abs=1e-6)
    assert clusters(np.stack([profile, 1e-200 * profile, -profile])).tolist() == [0, 0, 1]


def test_an_unknown_unit_is_refused():
    with pytest.raises(ValueError, match="unit 40 is none of the 40"):
        resembling(np.zeros((40, 3)), 40)


def test_clusters_are_those_of_scipy_and_fall_in_size():
    profiles, kind = families(200)
    profiles[10] = np.nan
    labels = clusters(profiles)
    assert labels[10] == -1
    rest = np.arange(200) != 10
    expected = fcluster(linkage(profiles[rest], "average", metric="cosine"), 0.5, "distance")
    assert adjusted_rand_score(expected, labels[rest]) == 1
    assert adjusted_rand_score(kind[rest], labels[rest]) == 1
    sizes = np.bincount(labels[rest])
    assert (np.diff(sizes) <= 0).all()


def test_more_units_than_fit_into_one_linkage_are_clustered_alike(monkeypatch):
    profiles, kind = families(300)
    # A kind that the sample of evenly spaced units does not hold.
    profiles[1::50] = 0
    profiles[1::50, 0] = 1
    kind[1::50] = 6
    monkeypatch.setattr("workers.statistics.similarity.SAMPLE", 50)
    labels = clusters(profiles)
    assert adjusted_rand_score(kind, labels) == 1
    assert (np.diff(np.bincount(labels)) <= 0).all()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_units_are_no_trouble(count):
    profiles = np.ones((count, 3))
    assert clusters(profiles).tolist() == [0] * count
    assert map_2d(profiles).shape == (count, 2)
    assert np.isfinite(map_2d(profiles)).all()


def test_the_map_puts_like_units_together():
    profiles, kind = families(400, kinds=8)
    profiles[0] = np.nan
    places = map_2d(profiles)
    assert np.isnan(places[0]).all()
    assert np.abs(places[1:]).max() == pytest.approx(1)
    _, near = cKDTree(places[1:]).query(places[1:], 6)
    assert (kind[1:][near[:, 1:]] == kind[1:, None]).mean() > 0.95
    centres = np.stack([places[1:][kind[1:] == one].mean(0) for one in range(8)])
    inside = max(places[1:][kind[1:] == one].std(0).max() for one in range(8))
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    assert apart[np.triu_indices(8, 1)].min() > 2 * inside, "groups can be told apart by eye"


def test_the_map_tells_more_kinds_apart_than_two_components_can():
    profiles, kind = families(600, kinds=30, noise=0.5)
    places = map_2d(profiles)
    _, near = cKDTree(places).query(places, 6)
    assert (kind[near[:, 1:]] == kind[:, None]).mean() > 0.9


def test_the_map_is_the_same_each_time():
    profiles, _ = families(60)
    np.testing.assert_array_equal(map_2d(profiles), map_2d(profiles))
