"""Elementwise results too large for the caches, which are written past them in blocks.

NumPy is the reference of exact operations; of functions, the same elements in calls so
small that nothing is streamed.
"""

import numpy as np
import pytest

import tensorlib as tl

N = 14_000_017  # bytes read and written make 70 MB: what no cache is trusted with


def numbers(n, dtype="float32", seed=0):
    return np.random.default_rng(seed).integers(1, 100, n).astype(dtype)


@pytest.mark.parametrize("threads", [1, 3])
def test_sum_of_large_operands_equals_numpy_on_any_number_of_threads(threads):
    x, y = numbers(N), numbers(N, seed=1)
    with tl.num_threads(threads):
        found = tl.tensor(x) + tl.tensor(y)
    np.testing.assert_array_equal(found.numpy(), x + y)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float16", "float64", "complex128"])
def test_conversion_of_a_large_tensor_equals_numpy(dtype):
    x = numbers(N)
    found = tl.astype(tl.tensor(x), dtype)
    np.testing.assert_array_equal(found.numpy(), x.astype(dtype))


def test_comparison_of_a_large_tensor_with_a_number_equals_numpy():
    x = numbers(N)
    np.testing.assert_array_equal((tl.tensor(x) < 50).numpy(), x < 50)


@pytest.mark.parametrize("start", [1, 7, 16])
def test_large_assignment_to_a_slice_leaves_what_is_around_it(start):
    x = tl.zeros(N + 40)
    values = numbers(N)
    x[start : start + N] = tl.tensor(values)
    expected = np.zeros(N + 40, "float32")
    expected[start : start + N] = values
    np.testing.assert_array_equal(x.numpy(), expected)


def test_large_selection_by_rows_and_broadcast_operands_equals_numpy():
    c, row = numbers((4001, 3251)) > 50, numbers(3251, seed=1)
    found = tl.where(tl.tensor(c), tl.tensor(row), 3.0)
    np.testing.assert_array_equal(found.numpy(), np.where(c, row, np.float32(3)))


def test_large_sum_of_transposed_operands_equals_numpy():
    x, y = numbers((3001, 3001)), numbers((3001, 3001), seed=1)
    np.testing.assert_array_equal((tl.tensor(x).T + tl.tensor(y)).numpy(), x.T + y)


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "log2", "gelu"])
def test_function_of_a_large_tensor_has_the_bits_of_its_parts(name):
    x = tl.tensor(np.random.default_rng(0).uniform(0.01, 5, N).astype("float32"))
    function = getattr(tl, name)
    found = function(x).numpy()
    for start in range(0, N, 60_000):
        part = function(x[start : start + 60_000]).numpy()
        assert part.tobytes() == found[start : start + 60_000].tobytes()


def test_large_sum_in_place_equals_numpy():
    x, y = numbers(N), numbers(N, seed=1)
    total = tl.tensor(x)
    total += tl.tensor(y)
    np.testing.assert_array_equal(total.numpy(), x + y)


def test_large_division_by_zero_is_an_error():
    x = tl.tensor(numbers(N, "int64"))
    with pytest.raises(ZeroDivisionError):
        x // tl.zeros(N, dtype="int64")
