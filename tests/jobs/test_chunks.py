import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unitscope.errors import DataLossError
from unitscope.jobs.chunks import ChunkResult, decode, encode

arrays = hnp.arrays(
    st.sampled_from([np.float32, np.int64, np.uint8, np.float64]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    elements=st.integers(0, 100),
)


@given(
    st.dictionaries(st.sampled_from("abc"), arrays),
    st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=5)),
)
def test_results_survive(tensors, record):
    data = encode(ChunkResult(tensors, record))
    result = decode(data)
    assert data == encode(ChunkResult(dict(reversed(tensors.items())), record))
    assert result.record == record
    assert result.tensors.keys() == tensors.keys()
    assert all(np.array_equal(result.tensors[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("data", [b"", b"garbage", encode(ChunkResult())[:-3]])
def test_damage_is_noticed(data):
    with pytest.raises(DataLossError):
        decode(data)
