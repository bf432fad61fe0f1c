import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.measure import label, regionprops

from tests.workers.measures import blobs
from workers.measures import MEASURES, MIN_AREA, measure, parts
from workers.measures.catalogue import INDEX
from workers.measures.whole import whole

seeds = st.integers(0, 10**6)
COLOUR = ("luminance", "a", "b", "chroma", "hue", "delta_e", "entropy", "contrast")


def of(table, name):
    return table[..., INDEX[name]]


def one(images, labels, count, **options):
    """A single picture as a traversal of one step."""
    return measure(images[None, None], labels[None, None], count, **options)[0, 0]


def test_the_catalogue_names_each_measure_once_in_the_documented_order():
    assert [item.name for item in MEASURES] == [
        "area", "luminance", "a", "b", "chroma", "hue", "delta_e", "entropy", "contrast", "eccentricity",
        "orientation", "centre_x", "centre_y", "major_axis", "minor_axis", "instances", "motion",
    ]  # fmt: skip
    assert {item.name: item.period for item in MEASURES if item.period} == {"hue": 360, "orientation": 180}
    assert {item.name for item in MEASURES if not item.signed} == {"delta_e", "motion"}
    assert MIN_AREA * 64 * 64 == 5


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_colours_and_texture_are_those_of_the_pixels_of_the_part(seed):
    image, labels = blobs.pictures(seed)[0], blobs.labels(seed, 3)[0]
    measured, lab = one(image, labels, 3), rgb2lab(image)
    for part in range(3):
        inside = lab[labels == part]
        if len(inside) < 2:
            continue
        mean = inside.mean(0)
        row = {item.name: measured[part, index] for index, item in enumerate(MEASURES)}
        assert row["area"] == pytest.approx((labels == part).mean())
        assert [row["luminance"], row["a"], row["b"]] == pytest.approx(mean, abs=2e-3)
        assert row["chroma"] == pytest.approx(np.hypot(inside[:, 1], inside[:, 2]).mean(), abs=2e-3)
        assert row["contrast"] == pytest.approx(inside[:, 0].std(), abs=2e-3)
        if np.hypot(mean[1], mean[2]) > 5.1:
            turn = row["hue"] - np.degrees(np.arctan2(mean[2], mean[1]))
            assert (turn + 180) % 360 - 180 == pytest.approx(0, abs=0.1)
        histogram, _ = np.histogram(inside[:, 0], 64, (0, 100))
        share = histogram[histogram > 0] / len(inside)
        # A pixel on the edge of a bin may fall to either side.
        assert row["entropy"] == pytest.approx(-(share * np.log2(share)).sum(), abs=0.1)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_shape_agrees_with_scikit_image_for_parts_in_one_piece(seed):
    size = (40, 30)
    labels = blobs.labels(seed, 4, size=size)[0]
    measured = one(blobs.pictures(seed, size=size)[0], labels, 4)
    for part in range(4):
        _, pieces = label(labels == part, connectivity=2, return_num=True)
        if pieces != 1 or (labels == part).sum() < 2:
            continue
        (region,) = regionprops((labels == part).astype(int))
        row = {item.name: measured[part, index] for index, item in enumerate(MEASURES)}
        assert row["instances"] == 1
        assert row["centre_x"] == pytest.approx((region.centroid[1] + 0.5) / 30, abs=1e-5)
        assert row["centre_y"] == pytest.approx((region.centroid[0] + 0.5) / 40, abs=1e-5)
        assert row["major_axis"] == pytest.approx(region.axis_major_length / 30, abs=1e-5)
        assert row["minor_axis"] == pytest.approx(region.axis_minor_length / 30, abs=1e-5)
        assert row["eccentricity"] == pytest.approx(region.eccentricity, abs=1e-5)
        if region.eccentricity > 0.1:
            # scikit-image's angle is from the vertical.
            turn = row["orientation"] - (90 + np.degrees(region.orientation))
            assert (turn + 90) % 180 - 90 == pytest.approx(0, abs=0.01)


def test_orientation_turns_counter_clockwise_from_the_level():
    labels = np.zeros((4, 1, 33, 33), np.uint8)
    for step in range(4, 29):
        labels[0, 0, 16, step] = labels[1, 0, 32 - step, step] = 1
        labels[2, 0, step, 16] = labels[3, 0, step, step] = 1
    images = np.zeros((*labels.shape, 3), np.uint8)
    assert of(measure(images, labels, 2), "orientation")[:, 0, 1] == pytest.approx([0, 45, 90, 135], abs=1e-4)


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(-4, 4), st.integers(-4, 4))
def test_a_shift_moves_the_centre_and_leaves_the_rest(seed, right, down):
    image, labels = blobs.pictures(seed)[0], np.zeros((32, 32), np.uint8)
    labels[8:24, 8:24] = blobs.labels(seed, 3)[0][8:24, 8:24]
    before = one(image, labels, 3)
    after = one(np.roll(image, (down, right), (0, 1)), np.roll(labels, (down, right), (0, 1)), 3)
    moved = {"centre_x": right / 32, "centre_y": down / 32}
    for part in (1, 2):
        for index, item in enumerate(MEASURES):
            change = after[part, index] - before[part, index]
            if np.isnan(before[part, index]):
                assert np.isnan(after[part, index])
            elif item.name == "orientation":
                assert (change + 90) % 180 - 90 == pytest.approx(0, abs=0.05)
            else:
                assert change == pytest.approx(moved.get(item.name, 0), abs=1e-3)


@settings(max_examples=20, deadline=None)
@given(seeds, st.permutations(range(4)))
def test_other_numbers_for_the_parts_permute_the_rows(seed, order):
    images = blobs.pictures(seed, 3).reshape(1, 3, 32, 32, 3)
    labels = blobs.labels(seed, 4, 3).reshape(1, 3, 32, 32)
    renamed = np.asarray(order, np.uint8)[labels]
    before, after = measure(images, labels, 4), measure(images, renamed, 4)
    np.testing.assert_array_equal(after[:, :, [*order, 4]], before)


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_traversals_do_not_depend_on_each_other(seed):
    images = blobs.pictures(seed, 8).reshape(4, 2, 32, 32, 3)
    labels = blobs.labels(seed, 3, 8, smooth=2.0).reshape(4, 2, 32, 32)
    together = measure(images, labels, 3)
    for row in range(4):
        alone = measure(images[row : row + 1], labels[row : row + 1], 3)
        np.testing.assert_array_equal(alone[0], together[row])


def test_blocks_do_not_show(monkeypatch):
    images = blobs.pictures(1, 8).reshape(4, 2, 32, 32, 3)
    labels = blobs.labels(1, 3, 8).reshape(4, 2, 32, 32)
    together = measure(images, labels, 3)
    monkeypatch.setattr(parts, "BLOCK", 1)
    np.testing.assert_array_equal(measure(images, labels, 3), together)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_the_whole_picture_is_measured_as_whole_measures_it(seed):
    images, labels = blobs.pictures(seed, 2), blobs.labels(seed, 3, 2)
    labels[:, :5] = 255
    measured = measure(images[:, None], labels[:, None], 3)[:, 0, -1]
    for name, expected in whole(images).items():
        assert of(measured, name) == pytest.approx(expected, abs=1e-3)
    missing = [item.name for index, item in enumerate(MEASURES) if np.isnan(measured[:, index]).all()]
    assert set(missing) - {"hue"} == {
        "area", "eccentricity", "orientation", "centre_x", "centre_y", "major_axis", "minor_axis", "instances",
    }  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(2, 5), st.floats(0.5, 3))
def test_only_what_is_too_small_is_missing(seed, count, smooth):
    images = blobs.pictures(seed, 3, smooth=1.0).reshape(1, 3, 32, 32, 3)
    labels = blobs.labels(seed, count, 3, smooth=smooth).reshape(1, 3, 32, 32)
    labels[0, 0][labels[0, 0] == 1] = 0
    measured = measure(images, labels, count + 1, min_area=0.15)
    area = np.stack([(labels == part).mean((2, 3)) for part in range(count + 1)], axis=-1)[0]
    large = area >= 0.15
    table = measured[0, :, :-1]
    for index, item in enumerate(MEASURES):
        expected = large
        if item.name == "area":
            expected = np.broadcast_to(large.any(0), large.shape)
        elif item.name in ("delta_e", "motion"):
            expected = large & large[0]
        elif item.name == "hue":
            expected = large & (np.hypot(of(table, "a"), of(table, "b")) >= parts.HUE_FLOOR)
        np.testing.assert_array_equal(~np.isnan(table[..., index]), expected, err_msg=item.name)
    assert np.isnan(table[:, count]).all(), "a part that is nowhere"


def test_a_part_that_vanishes_has_area_zero_and_nothing_else():
    labels = np.zeros((1, 3, 32, 32), np.uint8)
    labels[0, :2, 4:12, 4:12] = 1
    measured = measure(blobs.pictures(0, 3)[None], labels, 2)[0, :, 1]
    assert of(measured, "area") == pytest.approx([1 / 16, 1 / 16, 0])
    assert np.isnan(np.delete(measured[2], INDEX["area"])).all()


def test_five_of_4096_pixels_are_enough_and_four_are_not():
    labels = np.zeros((2, 1, 64, 64), np.uint8)
    labels[0, 0, 9, 3:8] = labels[1, 0, 9, 3:7] = 1
    measured = measure(np.zeros((2, 1, 64, 64, 3), np.uint8), labels, 2)[:, 0, 1]
    assert of(measured, "instances")[0] == 1
    assert of(measured, "luminance")[0] == pytest.approx(0, abs=1e-4)
    assert np.isnan(measured[1]).all()


def test_colour_difference_is_that_of_the_mean_colours_to_step_0():
    images = np.zeros((1, 3, 16, 16, 3), np.uint8)
    colours = np.array([[200, 30, 40], [180, 60, 40], [20, 30, 220]], np.uint8)
    images[0, :, :, 8:] = colours[:, None, None]
    labels = np.zeros((1, 3, 16, 16), np.uint8)
    labels[..., 8:] = 1
    expected = deltaE_ciede2000(rgb2lab(colours[:1]), rgb2lab(colours))
    measured = of(measure(images, labels, 2), "delta_e")[0]
    assert measured[:, 1] == pytest.approx(expected, abs=0.01)
    assert measured[:, 0] == pytest.approx([0, 0, 0], abs=1e-6)
    assert measured[0].tolist() == [0, 0, 0]


def test_grey_has_no_hue():
    images = np.full((1, 1, 16, 16, 3), 120, np.uint8)
    images[..., 8:, :] = (200, 30, 40)
    labels = np.zeros((1, 1, 16, 16), np.uint8)
    labels[..., 8:] = 1
    hue = of(measure(images, labels, 2), "hue")[0, 0]
    assert np.isnan(hue[0])
    assert hue[1] == pytest.approx(30, abs=3)


def test_pixels_without_a_part_count_for_the_whole_picture_alone():
    image, labels = blobs.pictures(3)[0], np.full((32, 32), 255, np.uint8)
    labels[:16] = 0
    cut = image.copy()
    cut[16:] = 0
    measured, other = one(image, labels, 1), one(cut, labels, 1)
    np.testing.assert_array_equal(measured[0], other[0])
    assert of(measured, "area")[0] == pytest.approx(0.5)
    assert of(measured, "luminance")[1] > of(other, "luminance")[1] + 5


def test_no_traversals_measure_nothing():
    measured = measure(np.zeros((0, 3, 32, 32, 3), np.uint8), np.zeros((0, 3, 32, 32), np.uint8), 4)
    assert measured.shape == (0, 3, 5, len(MEASURES))


@pytest.mark.parametrize(
    ("images", "labels", "count", "message"),
    [
        (np.zeros((1, 1, 4, 4, 3), np.float32), np.zeros((1, 1, 4, 4), np.uint8), 1, "float32"),
        (np.zeros((1, 4, 4, 3), np.uint8), np.zeros((1, 4, 4), np.uint8), 1, "traversals, steps"),
        (np.zeros((1, 1, 4, 4, 3), np.uint8), np.zeros((1, 1, 4, 5), np.uint8), 1, "labels are"),
        (np.zeros((1, 1, 4, 4, 3), np.uint8), np.full((1, 1, 4, 4), 2, np.uint8), 2, "label 2"),
        (np.zeros((1, 1, 4, 4, 3), np.uint8), np.zeros((1, 1, 4, 4), np.uint8), 0, "0 parts"),
    ],
)
def test_what_does_not_fit_is_refused(images, labels, count, message):
    with pytest.raises(ValueError, match=message):
        measure(images, labels, count)


def test_a_share_above_one_is_refused():
    with pytest.raises(ValueError, match="min_area is 2"):
        measure(np.zeros((1, 1, 4, 4, 3), np.uint8), np.zeros((1, 1, 4, 4), np.uint8), 1, min_area=2)
