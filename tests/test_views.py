"""Views and copies: which memory they are on, strides, as_strided, reshape."""

import copy
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sample_arrays import QUICK, assert_same, numbered

import tensorlib as tl


# ---- views ---------------------------------------------------------------------
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[1:],
        lambda x: x[::-1],
        lambda x: x[0],
        lambda x: x[..., None],
        lambda x: x.T,
        lambda x: x.mT,
        lambda x: x.reshape(6, 4),
        lambda x: x.flip(),
        lambda x: x.reshape(2, 2, 6),
        lambda x: x.permute_dims(1, 0),
        lambda x: x.squeeze(),
        lambda x: x.expand_dims(0),
        lambda x: x.detach(),
        lambda x: x.broadcast_to((2, 4, 6)),
        lambda x: x.as_strided((3,), (2,), 1),
        lambda x: x.split(2)[1],
        lambda x: x.unstack()[1],
        lambda x: x.flatten(),
        lambda x: x.contiguous(),
        lambda x: x.data,
        copy.copy,
    ],
)
def test_view_shares_memory(view):
    x = tl.zeros((4, 6))
    y = view(x)
    before = y.version
    x += 1
    assert bool((y == 1).all())
    assert y.version == before + 1


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.copy(),
        lambda x: x.clone(),
        lambda x: x.T.reshape(24),
        lambda x: x.astype("float32"),
        lambda x: x[tl.tensor([0, 1])],
        lambda x: x[x > -1],
        copy.deepcopy,
        lambda x: x.T.contiguous(),
        lambda x: tl.tensor(x),
    ],
)
def test_copy_has_its_own_memory(make):
    x = tl.zeros((4, 6))
    y = make(x)
    x += 1
    assert bool((y == 0).all())


def test_view_outlives_its_base():
    y = tl.arange(10)[2:5]
    noise = [tl.zeros(10, dtype="int64") for _ in range(5)]
    assert y.tolist() == [2, 3, 4]
    del noise


shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


@st.composite
def strided(draw, dtype="int64"):
    """An array with any mixture of steps, flips, transposes and broadcasts."""
    shape = draw(shapes)
    base = tuple(2 * n + 1 for n in shape)
    a, x = numbered(base, dtype)
    for axis, n in enumerate(shape):
        start = draw(st.integers(0, 1)) if n else 0
        key = draw(st.sampled_from([slice(start, start + n), slice(start, 2 * n, 2)]))
        if draw(st.booleans()):
            a, x = np.flip(a, axis), x.flip(axis)
        keys = (slice(None),) * axis + (key,)
        a, x = a[keys], x[keys]
    order = draw(st.permutations(range(len(shape))))
    a, x = a.transpose(order), x.permute_dims(tuple(order))
    if draw(st.booleans()):
        wide = (draw(st.integers(0, 3)), *a.shape)
        a, x = np.broadcast_to(a, wide), x.broadcast_to(wide)
    return a, x


@QUICK
@given(strided())
def test_strided_view_equals_numpy(pair):
    a, x = pair
    assert_same(x, a)
    assert x.tolist() == a.tolist()
    assert_same(x.copy(), a.copy())
    assert_same(x.contiguous(), a)
    assert x.contiguous().is_contiguous
    assert_same(x + x, a + a)
    assert_same(x.sum(), np.asarray(a.sum()))
    assert_same(x.reshape(-1) if a.size else x.reshape(0), a.reshape(-1))
    assert_same(x.astype("float32"), a.astype("float32"))


@QUICK
@given(strided(), st.data())
def test_reshape_equals_numpy(pair, data):
    a, x = pair
    factors = []
    rest = a.size
    while rest > 1 and len(factors) < 4:
        factors.append(
            data.draw(st.sampled_from([k for k in range(1, rest + 1) if rest % k == 0]))
        )
        rest //= factors[-1]
    shape = (*factors, rest)
    y = x.reshape(shape)
    assert_same(y, a.reshape(shape))
    # A view exactly where NumPy gives one.
    if a.size and not np.may_share_memory(a.reshape(shape), a):
        assert y.data_ptr() != x.data_ptr()
    elif a.size and not any(s == 0 for s in x.strides):
        assert y.data_ptr() == x.data_ptr()


def test_reshape_that_needs_a_copy_copies():
    x = tl.arange(6).reshape(2, 3)
    assert x.reshape(6).data_ptr() == x.data_ptr()
    assert x.T.reshape(6).data_ptr() != x.data_ptr()
    assert x.T.reshape(6).tolist() == [0, 3, 1, 4, 2, 5]


# ---- as_strided ----------------------------------------------------------------
@QUICK
@given(
    st.integers(0, 12),
    st.lists(st.tuples(st.integers(0, 4), st.integers(-4, 4)), max_size=3),
    st.integers(-3, 12),
)
def test_as_strided_stays_inside(size, axes, offset):
    x = tl.arange(size)
    shape, strides = tuple(n for n, _ in axes), tuple(s for _, s in axes)
    positions = [
        offset + sum(i * s for i, s in zip(at, strides, strict=True))
        for at in itertools.product(*map(range, shape))
    ]
    if all(0 <= p < size for p in positions):
        y = x.as_strided(shape, strides, offset)
        assert y.shape == shape
        assert y.reshape(-1 if positions else 0).tolist() == positions
    else:
        with pytest.raises(tl.ShapeError, match="as_strided"):
            x.as_strided(shape, strides, offset)


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((2**62, 2), (2, 1), 0),
        ((2,), (2**62,), 0),
        ((2,), (2**63 - 1,), 2**63 - 1),
        ((3, 3), (2**62, 2**62), 0),
        ((2,), (-(2**63),), 0),
        ((2**40,), (2**40,), 0),
    ],
)
def test_as_strided_does_not_overflow(shape, strides, offset):
    with pytest.raises((tl.ShapeError, MemoryError, OverflowError)):
        tl.zeros(4).as_strided(shape, strides, offset)


# ---- diagonals, merged axes --------------------------------------------------------
@pytest.mark.parametrize("offset", [-2, 0, 1, 7, 2**70])
def test_diagonal_of_any_strides_is_a_view(offset):
    a = np.arange(48.0).reshape(4, 12)
    base = tl.tensor(a)
    x = base[::-1, ::2].T
    found = tl.diagonal(x, offset)
    assert_same(found, np.diagonal(a[::-1, ::2].T, min(offset, 100)))
    base[...] = 0.0
    assert not found.any()


def test_diagonal_gradient_lands_on_the_diagonal():
    x = tl.ones((2, 3, 4), dtype=tl.float64, requires_grad=True)
    (tl.diagonal(x, 1, 0, 2) * tl.tensor([[1.0], [2.0], [3.0]])).sum().backward()
    expected = np.zeros((2, 3, 4))
    for i in range(2):
        expected[i, :, i + 1] = 1, 2, 3
    assert_same(x.grad, expected)


@pytest.mark.parametrize("k", [-(2**70), 2**62])
def test_diag_far_outside_memory_raises(k):
    with pytest.raises((tl.ShapeError, MemoryError)):
        tl.diag(tl.ones(3), k)


def test_flatten_of_huge_empty_axes_keeps_or_refuses_them():
    x = tl.zeros((2**40, 2**40, 0))
    assert tl.flatten(x).shape == (0,)
    assert tl.flatten(x, 1).shape == (2**40, 0)
    with pytest.raises((tl.ShapeError, MemoryError)):
        tl.flatten(x, 0, 1)


@pytest.mark.parametrize(
    "shapes",
    [((), (3,)), ((2, 1), (3,)), ((1,) * 20, (5,) * 20), ((0,), (1,)), (2**40, (1, 1))],
)
def test_broadcast_shapes_of_any_length_equals_numpy(shapes):
    assert tl.broadcast_shapes(*shapes) == np.broadcast_shapes(*shapes)


def test_broadcast_shapes_that_differ_raises():
    for other in ((4,), (-1,), (3, 3)):
        with pytest.raises(tl.ShapeError, match="do not broadcast"):
            tl.broadcast_shapes((2, 3), other)


def test_moveaxis_of_every_pair_equals_numpy():
    a = np.arange(24).reshape(2, 3, 4, 1)
    for source in itertools.permutations(range(4), 2):
        for destination in itertools.permutations(range(-4, 0), 2):
            found = tl.moveaxis(tl.tensor(a), source, destination)
            assert_same(found, np.moveaxis(a, source, destination))
