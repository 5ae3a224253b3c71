"""Elementwise kernels on operands that are read by columns, a block at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorlib as tl

DTYPES = ["bool", "uint8", "int32", "int64", "float32", "float64"]


def numbers(shape, dtype, seed=0):
    values = np.random.default_rng(seed).integers(0, 100, shape)
    return values.astype(dtype) if dtype != "bool" else values % 3 == 0


def same(found, expected):
    assert found.shape == expected.shape
    assert (found.numpy() == expected).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(16, 16), (63, 300), (65, 17), (130, 257), (5, 400)])
def test_copy_of_a_transpose_is_the_transpose(shape, dtype):
    x = numbers(shape, dtype)
    same(tl.tensor(x).T.contiguous(), x.T)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 70)] * 3),
    axes=st.permutations((0, 1, 2)),
    flipped=st.sets(st.integers(0, 2)),
    dtype=st.sampled_from(DTYPES[1:]),
)
def test_sum_with_a_permuted_operand_matches_numpy(shape, axes, flipped, dtype):
    x = numbers(shape, dtype)
    turned = np.flip(x.transpose(axes), tuple(flipped))
    y = numbers(turned.shape, dtype, 1)
    view = tl.flip(tl.permute_dims(tl.tensor(x), tuple(axes)), axis=tuple(flipped))
    same(view + tl.tensor(y), turned + y)
    same(tl.tensor(y) - view, y - turned)


def test_where_with_operands_along_different_axes_matches_numpy():
    mask = numbers((80, 90, 70), "bool")
    a, b = numbers((90, 80, 70), "int32"), numbers((70, 90, 80), "int32")
    found = tl.where(
        tl.tensor(mask),
        tl.permute_dims(tl.tensor(a), (1, 0, 2)),
        tl.permute_dims(tl.tensor(b), (2, 1, 0)),
    )
    same(found, np.where(mask, a.transpose(1, 0, 2), b.transpose(2, 1, 0)))


def test_transposed_operand_with_a_broadcast_one_matches_numpy():
    x, row = numbers((300, 200), "float32"), numbers((300,), "float32")
    same(tl.tensor(x).T * tl.tensor(row), x.T * row)


def test_transpose_added_in_place_to_another_matrix_matches_numpy():
    x, y = numbers((129, 129), "float64"), numbers((129, 129), "float64", 1)
    found = tl.tensor(y)
    found += tl.tensor(x).T
    same(found, y + x.T)


def test_error_inside_a_block_is_raised():
    x = numbers((64, 64), "int64") + 1
    x[40, 3] = 0
    with pytest.raises(ZeroDivisionError):
        tl.ones((64, 64), dtype=tl.int64) // tl.tensor(x).T


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_transposed_operands_give_the_same_bits_on_any_threads(threads):
    x, y = tl.randn(700, 600), tl.randn(600, 700)
    with tl.num_threads(1):
        expected = tl.pow(tl.abs(x.T), y).numpy()
    with tl.num_threads(threads):
        assert (tl.pow(tl.abs(x.T), y).numpy() == expected).all()
