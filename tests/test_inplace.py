"""Writing in place: overlapping views, readonly tensors, what the target can hold."""

import operator

import numpy as np
import pytest
from sample_arrays import assert_same, numbered

import tensorlib as tl

OVERLAPS = {
    "shift up": (lambda x: x[1:], lambda x: x[:-1]),
    "shift down": (lambda x: x[:-1], lambda x: x[1:]),
    "reverse": (lambda x: x[::-1], lambda x: x),
    "reversed part": (lambda x: x[1:], lambda x: x[:0:-1]),
    "strided": (lambda x: x[::2], lambda x: x[: (len(x) + 1) // 2]),
    "same": (lambda x: x, lambda x: x),
}


@pytest.mark.parametrize("size", [5, 1000, 100_001])
@pytest.mark.parametrize("case", OVERLAPS)
def test_assignment_between_overlapping_views(case, size):
    target, origin = OVERLAPS[case]
    a, x = numbered((size,))
    target(a)[...] = origin(a).copy()
    target(x)[...] = origin(x)
    assert_same(x, a)


@pytest.mark.parametrize("size", [5, 1000, 100_001])
@pytest.mark.parametrize("case", OVERLAPS)
@pytest.mark.parametrize("operation", [operator.iadd, operator.imul, operator.isub])
def test_inplace_operator_between_overlapping_views(operation, case, size):
    target, origin = OVERLAPS[case]
    a, x = numbered((size,))
    operation(target(a), origin(a).copy())
    operation(target(x), origin(x))
    assert_same(x, a)


@pytest.mark.parametrize("n", [3, 50, 400])
def test_inplace_sum_with_its_transpose(n):
    a, x = numbered((n, n))
    x += x.T
    assert_same(x, a + a.T)


def test_broadcast_part_of_the_target_is_read_first():
    a, x = numbered((3, 4))
    x += x[0]
    assert_same(x, a + a[0])
    a, x = numbered((3, 4))
    x[...] = x[2]
    assert_same(x, np.broadcast_to(a[2], (3, 4)))


def test_writing_to_a_broadcast_tensor_raises():
    x = tl.zeros(3).broadcast_to((2, 3))
    for write in (lambda: x.add_(1), lambda: x.__setitem__(0, 1), lambda: x.zero_()):
        with pytest.raises(ValueError, match="share one memory location"):
            write()


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 2), (2, 0, 3)])
def test_writing_to_an_empty_tensor_does_nothing(shape):
    x = tl.zeros(shape)
    x += 1
    x[...] = 5
    x.zero_().fill_(3)
    x[:] = tl.ones(shape)
    assert x.shape == shape


def test_writing_to_a_readonly_tensor_raises():
    a = np.arange(3.0)
    a.flags.writeable = False
    x = tl.asarray(a)
    assert x.is_readonly
    for write in (lambda: x.add_(1), lambda: x.__setitem__(0, 1), lambda: x.zero_()):
        with pytest.raises(ValueError, match=r"read-only.*copy"):
            write()
    assert a.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("target", "other", "error"),
    [
        (tl.ones(2, dtype="int64"), 0.5, tl.DTypeError),
        (tl.ones(2, dtype="int32"), tl.ones(2), tl.DTypeError),
        (tl.ones(2, dtype="bool"), 1, tl.DTypeError),
        (tl.ones(2), tl.ones((2, 2)), tl.ShapeError),
        (tl.ones(2), tl.ones(3), tl.ShapeError),
        (tl.ones(2), "a", TypeError),
        (tl.ones(2), None, TypeError),
    ],
)
def test_inplace_that_cannot_store_its_result_raises(target, other, error):
    with pytest.raises(error):
        target += other
    assert target.version == 0


def test_inplace_true_division_of_integers_raises():
    x = tl.ones(2, dtype="int64")
    with pytest.raises(tl.DTypeError, match=r"float32.*int64"):
        x /= 2


def test_inplace_keeps_the_target_dtype():
    x = tl.ones(2)
    x += tl.ones(2, dtype="float64")
    assert x.dtype is tl.float32
    y = tl.ones(2, dtype="uint8")
    y += tl.ones(2, dtype="int64")
    assert y.dtype is tl.uint8
