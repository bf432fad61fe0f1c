import cv2
import numpy as np
import pytest

from tests.workers.measures import blobs
from workers.measures import measure
from workers.measures.catalogue import INDEX
from workers.measures.motion import residual

SIZE = (64, 64)


def lightness(seed):
    return blobs.pictures(seed, size=SIZE, smooth=2.5)[0, ..., 0].astype(np.float32) / 2.55


def warped(image, matrix):
    return cv2.warpAffine(image, np.float32(matrix), SIZE, borderMode=cv2.BORDER_REFLECT)


def test_nothing_moves_in_equal_pictures():
    assert not residual(np.repeat(lightness(0)[None], 3, axis=0)).any()


@pytest.mark.parametrize("matrix", [[[1, 0, 2], [0, 1, -1.5]], [[1.03, 0.03, -1], [-0.03, 1.03, 0]]])
@pytest.mark.parametrize("seed", [0, 1])
def test_an_affine_motion_of_the_picture_is_no_deformation(matrix, seed):
    picture = lightness(seed)
    left = residual(np.stack([picture, warped(picture, matrix)]))[1] * 64
    assert np.median(left[8:-8, 8:-8]) < 0.15


@pytest.mark.parametrize("shift", [(2, 0), (0, -2), (1.5, 1.5)])
def test_a_part_that_moves_by_itself_has_the_length_of_its_move(shift):
    picture = lightness(2)
    right, down = shift
    moved = warped(picture, [[1, 0, right], [0, 1, down]])
    both = np.stack([picture, picture])
    both[1, 20:44, 20:44] = moved[20:44, 20:44]
    length = residual(both)[1] * 64
    assert np.median(length[25:39, 25:39]) == pytest.approx(np.hypot(*shift), abs=0.25)
    assert np.median(length[:12]) < 0.1


def test_a_global_move_is_removed_around_a_part_that_moves_more():
    picture = lightness(3)
    moved = warped(picture, [[1, 0, 1], [0, 1, 0]])
    moved[22:42, 22:42] = warped(picture, [[1, 0, 3], [0, 1, 0]])[22:42, 22:42]
    length = residual(np.stack([picture, moved]))[1] * 64
    assert np.median(length[27:37, 27:37]) == pytest.approx(2, abs=0.4)
    assert np.median(length[4:14, 4:60]) < 0.2


def test_the_same_pictures_give_the_same_bytes_whatever_came_before():
    first, second = np.stack([lightness(0), lightness(1)]), np.stack([lightness(2), lightness(3)])
    before = residual(first)
    residual(second)
    np.testing.assert_array_equal(residual(first), before)
    three = np.stack([lightness(0), lightness(2), lightness(1)])
    np.testing.assert_array_equal(residual(three)[2], before[1])


def test_small_pictures_have_no_flow():
    length = residual(np.zeros((2, 15, 40), np.float32))
    assert not length[0].any()
    assert np.isnan(length[1]).all()


def test_motion_of_a_part_is_the_mean_over_its_pixels_at_the_start():
    grey = lightness(4)
    picture = np.repeat(np.rint(grey * 2.55).astype(np.uint8)[..., None], 3, axis=-1)
    moved = picture.copy()
    moved[20:44, 20:44] = np.roll(picture, 2, 1)[20:44, 20:44]
    labels = np.zeros((1, 2, 64, 64), np.uint8)
    labels[0, 0, 24:40, 24:40] = labels[0, 1, 30:46, 30:46] = 1
    motion = measure(np.stack([picture, moved])[None], labels, 2)[0, ..., INDEX["motion"]]
    assert motion[0].tolist() == [0, 0, 0]
    assert motion[1, 1] * 64 == pytest.approx(2, abs=0.4)
    assert motion[1, 0] < motion[1, 2] < motion[1, 1]
