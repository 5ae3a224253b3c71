"""Functions of tens of instructions on short and strided runs: collected by blocks.

NumPy's functions in double are the reference of values, the same elements in order that
of bits.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorlib as tl

DTYPES = ["float16", "bfloat16", "float32", "float64"]


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.1, 3.0, shape).astype("float32")


def bits(x):
    return tl.astype(x, "float64").contiguous().numpy().tobytes()


@settings(max_examples=80, deadline=None)
@given(
    shape=st.tuples(*[st.integers(0, 40)] * 3),
    steps=st.tuples(*[st.sampled_from((-2, -1, 1, 2, 3))] * 3),
    dtype=st.sampled_from(DTYPES),
    name=st.sampled_from(["exp", "log", "sinh", "log2", "tanh"]),
)
def test_function_of_a_sliced_tensor_has_the_bits_of_its_copy(
    shape, steps, dtype, name
):
    x = tl.astype(tl.tensor(numbers(*shape)), dtype)
    view = x[tuple(slice(None, None, step) for step in steps)]
    function = getattr(tl, name)
    assert bits(function(view)) == bits(function(view.contiguous()))


@pytest.mark.parametrize("threads", [1, 3])
def test_power_of_a_strided_and_a_broadcast_operand_matches_numpy(threads):
    x, row = numbers(700, 180), numbers(3, seed=1)
    a = tl.reshape(tl.tensor(x)[:, ::2], (700, 30, 3))
    with tl.num_threads(threads):
        found = tl.pow(a, tl.tensor(row))
    expected = x[:, ::2].reshape(700, 30, 3).astype("float64") ** row
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_function_of_columns_broadcast_over_rows_matches_numpy():
    x, y = numbers(50, 1), numbers(1, 7, seed=1)
    found = tl.atan2(tl.tensor(x), tl.tensor(y))
    np.testing.assert_allclose(found.numpy(), np.arctan2(x, y), rtol=1e-6)


def test_function_with_one_element_beside_a_strided_operand_matches_numpy():
    x = numbers(40, 26)
    found = tl.pow(tl.tensor(2.0), tl.tensor(x)[:, ::2])
    np.testing.assert_allclose(found.numpy(), 2.0 ** x[:, ::2], rtol=1e-6)


def test_function_written_over_one_of_its_operands_matches_numpy():
    x, y = numbers(60, 40), numbers(60, 80, seed=1)
    a = tl.tensor(x)
    a **= tl.tensor(y)[:, ::2]
    np.testing.assert_allclose(a.numpy(), x ** y[:, ::2], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8"])
def test_running_sum_over_rows_whose_columns_lie_apart_matches_numpy(dtype):
    x = (numbers(7, 90, 300) * 10).astype(dtype)
    view = tl.permute_dims(tl.tensor(x), (2, 1, 0))
    np.testing.assert_allclose(
        tl.cumulative_sum(view, axis=1).numpy(),
        np.cumsum(x.transpose(2, 1, 0), axis=1, dtype="float64"),
        rtol=1e-5,
    )
