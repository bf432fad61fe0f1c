import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unitscope.errors import InvalidArgumentError
from unitscope.rpc.tensors import from_tensor, to_tensor


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.int64, np.uint8]),
        hnp.array_shapes(min_dims=1, max_dims=4, max_side=4),
        elements=st.integers(0, 200),
    )
)
def test_arrays_survive(array):
    assert np.array_equal(from_tensor(to_tensor(array), array.dtype, array.shape, "x"), array)


@pytest.mark.parametrize(
    ("array", "dtype", "shape", "reason"),
    [
        (np.zeros((2, 3), np.float32), np.uint8, (2, 3), "WRONG_TENSOR_TYPE"),
        (np.zeros((2, 3), np.float32), np.float32, (None, 4), "WRONG_TENSOR_SHAPE"),
        (np.zeros((2, 3), np.float32), np.float32, (None,), "WRONG_TENSOR_SHAPE"),
        (np.zeros((0, 3), np.float32), np.float32, (None, 3), "BATCH_OUT_OF_RANGE"),
        (np.zeros((9, 3), np.float32), np.float32, (None, 3), "BATCH_OUT_OF_RANGE"),
        (np.full((2, 3), np.nan, np.float32), np.float32, (None, 3), "NON_FINITE_FEATURES"),
    ],
)
def test_wrong_arrays_are_refused(array, dtype, shape, reason):
    with pytest.raises(InvalidArgumentError) as caught:
        from_tensor(to_tensor(array), dtype, shape, "features", max_batch=8)
    assert caught.value.reason == reason


def test_lengths_and_shapes_that_lie_are_refused():
    tensor = to_tensor(np.zeros((2, 3), np.float32))
    tensor.data = tensor.data[:-1]
    with pytest.raises(InvalidArgumentError, match="23 bytes"):
        from_tensor(tensor, np.float32, (None, 3), "features")
    tensor.shape[0] = -2
    with pytest.raises(InvalidArgumentError, match="shape"):
        from_tensor(tensor, np.float32, (None, 3), "features")
