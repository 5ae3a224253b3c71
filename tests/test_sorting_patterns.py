"""Sorting and selection over orders of elements that are hard for some algorithm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from op_samples_sorting import _argsort, _kthvalue, _topk
from sample_arrays import QUICK, assert_same

import tensorlib as tl

DTYPES = ["uint8", "int32", "uint32", "int64", "uint64", "float32", "float64"]
SPECIAL = [0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-40, -1e-40]


def _median_of_three_killer(n):
    """Middles and ends of what is left are always among the least elements."""
    half = n // 2
    a = np.arange(n)
    a[: 2 * half : 2] = np.arange(half)
    a[1 : 2 * half : 2] = half + np.arange(half)
    return a


def _bad_samples(n):
    """The least elements lie where evenly spaced samples are taken."""
    a = np.arange(n) + n
    for parts in (4, 16, 64, 128, 256):
        step = max(n // parts, 1)
        for shift in (-1, 0, 1):
            places = np.arange(step // 2 + shift, n, step)
            a[places[places >= 0]] -= n
    return a


PATTERNS = {
    "random": lambda n, rng: rng.integers(0, 2**31, n),
    "sorted": lambda n, rng: np.arange(n),
    "reversed": lambda n, rng: np.arange(n)[::-1],
    "organ pipe": lambda n, rng: np.minimum(np.arange(n), n - np.arange(n)),
    "saw": lambda n, rng: np.arange(n) % 100,
    "few values": lambda n, rng: rng.integers(0, 5, n),
    "all equal": lambda n, rng: np.full(n, 7),
    "one apart": lambda n, rng: np.where(np.arange(n) == n // 3, 3, 200),
    "nearly sorted": lambda n, rng: np.arange(n) + rng.integers(0, 5, n),
    "powers": lambda n, rng: 1 << rng.integers(0, 31, n),
    "median of three": lambda n, rng: _median_of_three_killer(n),
    "bad samples": lambda n, rng: _bad_samples(n),
}


def _made(pattern, n, dtype, seed, special):
    rng = np.random.default_rng(seed)
    a = PATTERNS[pattern](n, rng).astype(dtype)
    if special and dtype.startswith("float"):
        places = rng.random(n) < special
        a[places] = rng.choice(np.array(SPECIAL, dtype), places.sum())
    return a


def _assert_sorts(a, descending):
    order = _argsort(a, -1, descending)
    x = tl.tensor(a)
    found = tl.sort(x, descending=descending).numpy()
    assert found.tobytes() == a[order].tobytes()
    assert_same(tl.argsort(x, descending=descending), order)


arguments = (
    st.sampled_from(list(PATTERNS)),
    st.one_of(st.integers(0, 600), st.integers(0, 5000)),
    st.sampled_from(DTYPES),
    st.integers(0, 2**32),
    st.sampled_from([0, 0.01, 0.5]),
    st.booleans(),
)


@QUICK
@given(*arguments)
def test_sort_of_any_pattern_equals_stable_reference(
    pattern, n, dtype, seed, special, descending
):
    _assert_sorts(_made(pattern, n, dtype, seed, special), descending)


@QUICK
@given(*arguments, st.data())
def test_selection_from_any_pattern_equals_stable_reference(
    pattern, n, dtype, seed, special, largest, data
):
    a = _made(pattern, n + 1, dtype, seed, special)
    k = data.draw(st.integers(1, n + 1))
    values, order = _topk(a, k, largest=largest)
    found = tl.topk(tl.tensor(a), k, largest=largest)
    assert_same(found.indices, order)
    assert found.values.numpy().tobytes() == values.tobytes()
    assert_same(tl.kthvalue(tl.tensor(a), k).indices, _kthvalue(a, k)[1])


@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize("dtype", ["int32", "float32", "float64"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_long_row_is_sorted_alike_by_any_number_of_threads(pattern, dtype, threads):
    tl.set_num_threads(threads)
    a = _made(pattern, 150_001, dtype, 0, 0.1)
    _assert_sorts(a, False)
    for k in (1, 75_000, 150_001):
        assert_same(tl.kthvalue(tl.tensor(a), k).indices, _kthvalue(a, k)[1])
    assert_same(tl.topk(tl.tensor(a), 9000).indices, _topk(a, 9000)[1])


@pytest.mark.parametrize("dtype", ["int32", "float64"])
def test_quantile_ranks_far_apart_equal_the_sorted_row(dtype):
    a = _made("random", 40_001, dtype, 3, 0)
    q = np.array([0.0, 0.1, 0.5, 0.50001, 0.9, 1.0])
    found = tl.quantile(tl.tensor(a.astype("float64")), q, method="nearest").numpy()
    expected = np.quantile(a.astype("float64"), q, method="nearest")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("step", [2, -1])
@pytest.mark.parametrize("dtype", ["int32", "float64"])
def test_sort_of_a_strided_row_equals_that_of_its_copy(dtype, step):
    a = _made("random", 5000, dtype, 1, 0.1)
    x = tl.tensor(a)[::step]
    copied = x.contiguous()
    assert tl.sort(x).numpy().tobytes() == tl.sort(copied).numpy().tobytes()
    assert_same(tl.argsort(x), _argsort(a[::step]))
    into = tl.zeros((5000, 2), dtype=dtype)
    into[:, 1] = tl.sort(tl.tensor(a))
    assert into[:, 1].contiguous().numpy().tobytes() == a[_argsort(a)].tobytes()
    columns = tl.tensor(np.stack([a, a[::-1]], 1))
    expected = np.stack([a[_argsort(a)], a[::-1][_argsort(a[::-1])]], 1)
    assert tl.sort(columns, axis=0).numpy().tobytes() == expected.tobytes()
