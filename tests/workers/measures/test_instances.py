import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label

from tests.workers.measures import blobs
from workers.measures import measure
from workers.measures.catalogue import INDEX
from workers.measures.instances import pieces, track


def discs(*each, size=48):
    """A mask of discs (x, y, radius)."""
    y, x = np.mgrid[:size, :size]
    mask = np.zeros((size, size), bool)
    for cx, cy, radius in each:
        mask |= (x - cx) ** 2 + (y - cy) ** 2 <= radius**2
    return mask


def measured(masks):
    labels = np.stack(masks).astype(np.uint8)[None]
    return measure(np.zeros((*labels.shape, 3), np.uint8), labels, 2)[0, :, 1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20))
def test_pieces_are_those_of_scikit_image(seed, least):
    labels = blobs.labels(seed, 3, 2, smooth=1.0)
    found = pieces(labels, 3, least)
    counts = found.counts(3)
    for picture in range(2):
        for part in range(3):
            expected = label(labels[picture] == part, connectivity=2)
            sizes = np.bincount(expected.ravel())[1:]
            mine = (found.picture == picture) & (found.part == part)
            assert sorted(found.pixels[mine]) == sorted(sizes[sizes >= least])
            assert counts[picture, part] == mine.sum() == (sizes >= least).sum()
            for number in np.flatnonzero(mine):
                assert len(np.unique(expected[found.ids[picture] == number])) == 1
                assert (found.ids == number).sum() == found.pixels[number]


def test_specks_are_no_instances():
    mask = discs((12, 12, 4), (34, 34, 4))
    mask[40, 4] = True
    assert measured([mask])[0, INDEX["instances"]] == 2


def test_instances_keep_their_numbers_while_they_move():
    masks = np.stack([discs((10 + 2 * step, 12, 4), (36, 20 + 2 * step, 5)) for step in range(5)])
    ids = track(masks)
    assert ((ids > 0) == masks).all()
    for step in range(5):
        assert ids[step, 12, 10 + 2 * step] == 1
        assert ids[step, 20 + 2 * step, 36] == 2


def test_a_choice_is_made_for_all_at_once():
    # The right piece of step 1 lies most in the left one of step 0; but then the other two had none.
    masks = np.zeros((2, 20, 30), bool)
    masks[0, 5:15, 0:13] = masks[0, 5:15, 15:23] = True
    masks[1, 5:15, 0:4] = masks[1, 5:15, 6:20] = True
    ids = track(masks)
    assert ids[0, 10, [5, 20]].tolist() == [1, 2]
    assert ids[1, 10, [2, 10]].tolist() == [1, 2]


def test_pieces_that_hardly_touch_are_not_the_same():
    masks = np.stack([discs((12, 20, 6)), discs((21, 20, 6))])
    assert (masks[0] & masks[1]).any()
    assert track(masks)[1, 20, 21] == 2


def test_what_vanishes_is_not_found_again_elsewhere():
    masks = np.stack([discs((10, 10, 4)), discs(), discs((10, 10, 4))])
    ids = track(masks)
    assert ids[0, 10, 10] == 1
    assert ids[2, 10, 10] == 2


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_a_mask_that_stays_keeps_all_numbers(seed):
    masks = np.repeat(blobs.labels(seed, 2, smooth=1.5) == 1, 3, axis=0)
    ids = track(masks)
    np.testing.assert_array_equal(ids, np.repeat(ids[:1], 3, axis=0))


def test_several_instances_are_measured_by_those_that_stay():
    # Two eyes move by 3 and 1 pixels to the right; a third is there at first only.
    eyes = [discs((12, 24, 4), (34, 24, 4), (24, 40, 4)), discs((15, 24, 4), (35, 24, 4))]
    table = measured(eyes)
    assert table[:, INDEX["instances"]].tolist() == [3, 2]
    assert table[:, INDEX["centre_x"]] == pytest.approx([(23 + 0.5) / 48, (25 + 0.5) / 48], abs=1e-5)
    assert table[:, INDEX["centre_y"]] == pytest.approx([24.5 / 48] * 2, abs=1e-5)
    # The axes are those of an eye, not of the pair.
    assert table[:, INDEX["major_axis"]] == pytest.approx([8 / 48] * 2, abs=0.02)


def test_larger_instances_weigh_more_and_by_their_first_area():
    table = measured([discs((12, 24, 3), (34, 24, 6)), discs((12, 24, 3), (34, 28, 7))])
    small, large = discs((12, 24, 3)).sum(), discs((34, 24, 6)).sum()
    moved = table[1, INDEX["centre_y"]] - table[0, INDEX["centre_y"]]
    assert moved == pytest.approx(4 / 48 * large / (small + large), abs=1e-5)


def bar(angle, x, y, length=16, size=48):
    rows, columns = np.mgrid[:size, :size]
    along = np.cos(np.radians(angle)) * (columns - x) - np.sin(np.radians(angle)) * (rows - y)
    across = np.sin(np.radians(angle)) * (columns - x) + np.cos(np.radians(angle)) * (rows - y)
    return (np.abs(along) <= length / 2) & (np.abs(across) <= 2)


def test_turns_of_instances_are_averaged_across_the_level():
    # Brows like a roof: mean axis level; both turn by 20 degrees the same way, one across the level.
    table = measured([bar(15, 12, 24) | bar(-15, 36, 24), bar(35, 12, 24) | bar(5, 36, 24)])
    before, after = table[:, INDEX["orientation"]]
    assert (before + 90) % 180 - 90 == pytest.approx(0, abs=1)
    assert (after - before + 90) % 180 - 90 == pytest.approx(20, abs=1.5)


def test_where_no_instance_stays_the_whole_part_is_measured():
    table = measured([discs((8, 8, 4), (8, 24, 4)), discs((40, 40, 4))])
    assert table[1, INDEX["centre_x"]] == pytest.approx(40.5 / 48, abs=1e-5)
    assert table[0, INDEX["centre_y"]] == pytest.approx(16.5 / 48, abs=1e-5)
    assert table[0, INDEX["major_axis"]] > 0.3
