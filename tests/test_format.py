"""repr reads as NumPy's array printing does."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tensorlib as tl

NUMPY = tuple(int(part) for part in np.__version__.split(".")[:2])


def numpy_text(a):
    return np.array2string(a, separator=", ", prefix="tensor(", suffix=")")


def body(x):
    """The part of repr that shows the elements."""
    text = repr(x)
    for start in (", dtype=", ",\n       dtype="):
        text = text.split(start)[0]
    return text.removeprefix("tensor(").removesuffix(")")


def same_rules(a):
    """NumPy before 2.3 switches to exponents for float32 at 1e8, not at 1e6."""
    if a.dtype != np.float32 or NUMPY >= (2, 3):
        return True
    finite = np.abs(a[np.isfinite(a)])
    return finite.size == 0 or not 1e6 <= finite.max() < 1e8


def shapes(max_side=12):
    return hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=max_side)


@settings(max_examples=300, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        shapes(6),
        elements=st.floats(width=32),
    )
)
def test_repr_any_floats_equals_numpy(a):
    if same_rules(a):
        assert body(tl.asarray(a)) == numpy_text(a)


@settings(max_examples=300, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        shapes(5),
        elements=st.one_of(
            st.integers(-1000, 1000).map(lambda n: n / 8),
            st.floats(-10, 10).map(lambda x: round(x, 3)),
            st.sampled_from([0.1, 1e-4, 9.9e-5, 1e3, math.inf, math.nan, -0.0]),
        ),
    )
)
def test_repr_common_floats_equals_numpy(a):
    assert body(tl.asarray(a)) == numpy_text(a)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([np.int32, np.int64, np.uint8, np.bool_]).flatmap(
        lambda dtype: hnp.arrays(dtype, shapes(9))
    )
)
def test_repr_integers_and_bools_equal_numpy(a):
    assert body(tl.asarray(a)) == numpy_text(a)


@pytest.mark.parametrize(
    "shape", [(1001,), (40, 40), (7, 6, 30), (2, 3, 4, 50), (2, 600)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_repr_large_is_summarized_as_numpy(shape, dtype):
    a = (np.arange(math.prod(shape)).reshape(shape) % 997 / 3).astype(dtype)
    assert body(tl.asarray(a)) == numpy_text(a)


@pytest.mark.parametrize("exponent", range(-149, 128, 7))
def test_repr_powers_of_two_show_fewest_digits(exponent):
    a = np.array([2.0**exponent], dtype=np.float32)
    if same_rules(a):
        assert body(tl.asarray(a)) == numpy_text(a)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: tl.tensor(3.0), "tensor(3.)"),
        (lambda: tl.tensor(True), "tensor(True)"),
        (
            lambda: tl.tensor([[1.0, 2.0], [3.0, 4.0]]),
            "tensor([[1., 2.],\n        [3., 4.]])",
        ),
        (lambda: tl.tensor([1, -1], dtype=tl.int32), "tensor([ 1, -1], dtype=int32)"),
        (lambda: tl.tensor([0.5], dtype=tl.float64), "tensor([0.5], dtype=float64)"),
        (lambda: tl.tensor([7], dtype=tl.uint8), "tensor([7], dtype=uint8)"),
        (lambda: tl.tensor([1, 2]), "tensor([1, 2])"),
        (lambda: tl.zeros(0), "tensor([])"),
        (lambda: tl.zeros((0, 3)), "tensor([], shape=(0, 3))"),
        (lambda: tl.ones(1, requires_grad=True), "tensor([1.], requires_grad=True)"),
        (lambda: tl.ones(1, requires_grad=True) + 1, "tensor([2.], grad_fn=<add>)"),
    ],
)
def test_repr_states_what_is_not_default(make, text):
    assert repr(make()) == text


def test_repr_long_line_puts_attributes_on_the_next():
    x = tl.asarray(np.arange(9, dtype=np.int32) + 10000)
    lines = repr(x).split("\n")
    assert max(map(len, lines)) <= 75
    assert lines[-1] == "       dtype=int32)"


def test_repr_does_not_record():
    x = tl.ones((30, 40), requires_grad=True)
    repr(x)
    assert x.grad_fn is None


def test_format_zero_dimensional_takes_a_spec():
    assert f"{tl.tensor(2.5):.2f}" == "2.50"


def test_format_spec_on_several_elements_raises():
    with pytest.raises(TypeError, match="0-d"):
        format(tl.ones(2), ".2f")
