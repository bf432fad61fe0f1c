import numpy as np
import pytest

from workers.streams import BASE, HELDOUT, SAMPLE, Stream, attempts_per_block


def stream(purpose=SAMPLE, class_index=2, seed=5):
    return Stream(seed, purpose, class_index, 8)


def test_rows_are_those_of_the_documented_generator():
    expected = np.random.default_rng([5, SAMPLE, 2, 3]).standard_normal((64, 8), np.float32)
    drawn = stream().draw(3 * 64, 64)
    assert drawn.dtype == np.float32
    assert (drawn == expected).all()


@pytest.mark.parametrize(("first", "count"), [(0, 1), (63, 2), (10, 200), (128, 64)])
def test_any_range_is_a_part_of_the_whole(first, count):
    whole = stream().draw(0, 256)
    assert (stream().draw(first, count) == whole[first : first + count]).all()


def test_no_row_repeats_between_seeds_purposes_classes_and_attempts():
    rows = np.concatenate(
        [
            Stream(seed, purpose, index, 8).draw(0, 130)
            for seed in (0, 1)
            for purpose in (SAMPLE, HELDOUT, BASE)
            for index in (0, 1)
        ]
    )
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_row_ids_tell_classes_apart():
    attempts = np.arange(3)
    assert not set(stream(class_index=0).rows(attempts)) & set(stream(class_index=1).rows(attempts))


def test_blocks_own_whole_seeds():
    chunks = [{"count": 100}, {"count": 101}]
    assert attempts_per_block(chunks, 20) == 2048
    assert attempts_per_block([{"count": 1}], 1) == 64
