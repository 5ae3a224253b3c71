"""Copies of every second or third element, of any size of elements."""

import numpy as np
import pytest

import tensorlib as tl


@pytest.mark.parametrize("step", [-3, -1, 2, 3, 4])
@pytest.mark.parametrize(
    "dtype", ["uint8", "float16", "int32", "float32", "float64", "complex128"]
)
@pytest.mark.parametrize("n", [1, 16, 47, 48, 49, 200, 1001])
def test_copy_of_steps_is_numpy_s(n, dtype, step):
    x = (np.random.default_rng(n).random((3, n)) * 200).astype(dtype)
    found = tl.asarray(x)[:, ::step].contiguous().numpy()
    np.testing.assert_array_equal(found, x[:, ::step])
