import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2lab

from workers.measures import whole
from workers.measures.colour import to_lab

images = arrays.arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(6), st.just(5), st.just(3)))


def uniform(red, green, blue, count=1):
    return np.full((count, 8, 8, 3), (red, green, blue), np.uint8)


def test_colours_agree_with_scikit_image_for_every_grey_and_many_colours():
    colours = np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)
    colours[0] = np.arange(50, dtype=np.uint8)[:, None]
    colours[1:6, :, :] = np.arange(6, 256, dtype=np.uint8).reshape(5, 50)[..., None]
    assert np.abs(to_lab(colours) - rgb2lab(colours)).max() < 2e-3


def test_black_is_nothing_at_all():
    black = uniform(0, 0, 0)
    for measure in (whole.luminance, whole.contrast, whole.entropy, whole.chroma):
        assert measure(black) == pytest.approx([0], abs=1e-4)


def test_white_is_full_lightness_without_colour():
    white = uniform(255, 255, 255)
    assert whole.luminance(white) == pytest.approx([100], abs=1e-3)
    assert whole.contrast(white) == pytest.approx([0], abs=1e-4)
    assert whole.chroma(white) == pytest.approx([0], abs=0.02)


def test_half_black_half_white_has_contrast_50_and_one_bit():
    both = uniform(0, 0, 0)
    both[:, :4] = 255
    assert whole.contrast(both) == pytest.approx([50], abs=1e-3)
    assert whole.entropy(both) == pytest.approx([1], abs=1e-6)


def test_blue_is_the_most_colourful():
    assert whole.chroma(uniform(0, 0, 255)) == pytest.approx([133.8], abs=0.1)
    assert whole.chroma(uniform(255, 0, 0)) == pytest.approx([104.6], abs=0.1)


def test_change_counts_grey_levels():
    first, second = uniform(10, 20, 30), uniform(13, 20, 24)
    assert whole.change(second, first) == pytest.approx([3.0])
    assert whole.change(first, second) == pytest.approx([3.0])
    assert whole.change(uniform(255, 255, 255), uniform(0, 0, 0)) == pytest.approx([255])


@settings(max_examples=50, deadline=None)
@given(images)
def test_ranges_hold_for_any_picture(batch):
    measured = whole.whole(batch)
    limits = {"luminance": 100, "contrast": 50, "entropy": 6, "chroma": 140}
    assert set(measured) == set(limits)
    for name, values in measured.items():
        assert values.dtype == np.float32
        assert values.shape == (len(batch),)
        assert (values >= 0).all()
        assert (values <= limits[name] + 1e-2).all()


@settings(max_examples=30, deadline=None)
@given(images, st.randoms(use_true_random=False))
def test_shuffled_pixels_measure_the_same(batch, random):
    order = list(range(batch.shape[1] * batch.shape[2]))
    random.shuffle(order)
    shuffled = batch.reshape(len(batch), -1, 3)[:, order].reshape(batch.shape)
    for name, values in whole.whole(batch).items():
        assert whole.whole(shuffled)[name] == pytest.approx(values, abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(images)
def test_a_picture_measures_the_same_alone_and_in_a_batch(batch):
    together = whole.whole(batch)
    for row in range(len(batch)):
        alone = whole.whole(batch[row : row + 1])
        assert all(alone[name][0] == together[name][row] for name in together)


@settings(max_examples=30, deadline=None)
@given(images)
def test_change_is_zero_for_itself_and_bounded(batch):
    assert not whole.change(batch, batch).any()
    inverted = whole.change(255 - batch, batch)
    assert ((inverted >= 1 - 1e-6) & (inverted <= 255)).all()


def test_wrong_images_are_refused():
    with pytest.raises(ValueError, match="float32"):
        whole.whole(np.zeros((1, 4, 4, 3), np.float32))
    with pytest.raises(ValueError, match="shape"):
        whole.whole(np.zeros((4, 4, 3), np.uint8))
