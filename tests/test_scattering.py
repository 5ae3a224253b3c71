"""gather, scatter and their kin: PyTorch's values, gradients and order of arguments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_arrays import QUICK

import tensorlib as tl
from tensorlib.autograd.check import gradcheck, gradgradcheck

torch = pytest.importorskip("torch")


@st.composite
def cases(draw, once=False):
    """(x, axis, index, src), the index shorter than x but for the axis, and than src.

    once: no position twice along the axis, since PyTorch leaves open which one stays.
    """
    shape = draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    shape[axis] += 1
    extents = [draw(st.integers(0, n)) for n in shape]
    extents[axis] = draw(st.integers(0, shape[axis] if once else 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    index = np.empty(extents, np.int64)
    lines = np.moveaxis(index, axis, -1)
    for at in np.ndindex(lines.shape[:-1]):
        lines[at] = rng.choice(shape[axis], lines.shape[-1], replace=not once)
    longer = [n + draw(st.integers(0, 2)) for n in extents]
    dtype = draw(st.sampled_from([np.float32, np.float64, np.complex64, np.int64]))
    x, src = (rng.integers(-9, 9, s).astype(dtype) for s in (shape, longer))
    return x, axis, index, src


def both(name, x, axis, *others):
    ours = getattr(tl.tensor(x), name)(axis, *map(tl.tensor, others))
    theirs = getattr(torch.tensor(x), name)(axis, *map(torch.tensor, others))
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@QUICK
@given(cases())
def test_gather_equals_pytorch(case):
    both("gather", *case[:3])


@QUICK
@given(cases(once=True))
def test_scatter_equals_pytorch(case):
    both("scatter", *case)


@QUICK
@given(cases())
def test_scatter_add_equals_pytorch(case):
    both("scatter_add", *case)


def in_parts(function):
    """`function` of complex tensors, made from real ones, as a real tensor."""
    return lambda *reals: tl.view_as_real(
        function(*(tl.complex(a, a * a) for a in reals)) ** 2
    )


@pytest.mark.parametrize("wrap", [lambda f: f, in_parts], ids=["real", "complex"])
@pytest.mark.parametrize(("axis", "extents"), [(0, (5, 2)), (1, (2, 4)), (-1, (3, 1))])
def test_derivatives_where_the_index_is_shorter_than_x_pass_gradcheck(
    wrap, axis, extents
):
    rng = np.random.default_rng(3)
    x, src = (
        tl.tensor(rng.standard_normal(s), requires_grad=True) for s in ((3, 4), (6, 5))
    )
    index = tl.tensor(rng.integers(0, (3, 4)[axis], extents))
    for function, inputs in (
        (lambda x: tl.gather(x, axis, index), (x,)),
        (lambda x, y: tl.scatter(x, axis, index, y), (x, src)),
        (lambda x, y: tl.scatter_add(x, axis, index, y), (x, src)),
    ):
        assert gradcheck(wrap(function), inputs)
        assert gradgradcheck(wrap(function), inputs)


@pytest.mark.parametrize("name", ["gather", "scatter", "scatter_add"])
def test_gradients_of_short_indices_equal_pytorchs(name):
    rng = np.random.default_rng(5)
    # PyTorch has no gradient where src is longer than the index.
    shapes = [(3, 4)] if name == "gather" else [(3, 4), (2, 2)]
    values = [rng.standard_normal(shape) for shape in shapes]
    slopes = []
    for kit in (tl, torch):
        x, *src = (kit.tensor(a, requires_grad=True) for a in values)
        y = getattr(x, name)(1, kit.tensor([[3, 1], [0, 2]]), *src)
        (y * y).sum().backward()
        slopes.append([t.grad.numpy() for t in (x, *src)])
    for ours, theirs in zip(*slopes, strict=True):
        np.testing.assert_allclose(ours, theirs)


@pytest.mark.parametrize(
    ("name", "others"),
    [("gather", ("index",)), ("index_select", ("index",)),
     ("scatter", ("index", "src")), ("scatter_add", ("index", "src")),
     ("index_add", ("index", "source"))],
)  # fmt: skip
def test_axis_may_come_first_or_by_keyword(name, others):
    x = tl.reshape(tl.arange(4), (2, 2))
    index = tl.tensor([1, 0]) if "index_" in name else tl.tensor([[1, 0], [0, 1]])
    args = (index, tl.tensor([[5, 6], [7, 8]]))[: len(others)]
    function, method = getattr(tl, name), getattr(x, name)
    forms = [
        function(x, 0, *args),
        function(x, np.int64(0), *args),
        function(x, *args, axis=0),
        method(0, *args),
        method(axis=0, **dict(zip(others, args, strict=True))),
        method(0, *args[:-1], **{others[-1]: args[-1]}),
    ]
    assert all(tl.all(form == forms[0]) for form in forms)
    with pytest.raises(TypeError, match=f"^{name}: expected one axis, got 0 and"):
        function(x, 0, *args, axis=1)
    with pytest.raises(TypeError, match=f"^{name}: expected {others[-1]} once, got it"):
        function(x, 0, *args[:-1])
    with pytest.raises(TypeError, match=f"^{name}: expected {others[0]} once, got it"):
        function(x, 0, *args, index=index)
    with pytest.raises(TypeError, match=f"^{name}: expected x, an axis and "):
        function(x, 0, *args, index)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8", "complex64"])
def test_scalars_are_put_and_added_everywhere(dtype):
    x, index = tl.zeros((2, 3), dtype=dtype), tl.tensor([[1], [2]])
    assert x.scatter(1, index, 2).tolist() == [[0, 2, 0], [0, 0, 2]]
    assert x.scatter(1, index, value=2).dtype == x.dtype
    assert (x + 1).scatter_add(1, index, 2).tolist() == [[1, 3, 1], [1, 1, 3]]


def test_scalar_of_a_higher_kind_or_given_twice_is_refused():
    x, index = tl.zeros((2, 3), dtype=tl.int64), tl.tensor([[1], [2]])
    for name in ("scatter", "scatter_add"):
        with pytest.raises(tl.DTypeError, match=f"^{name}: .* cannot be stored in int"):
            getattr(x, name)(1, index, 0.5)
    with pytest.raises(TypeError, match="scatter: expected src once, got it twice"):
        x.scatter(1, index, 2, value=2)
    with pytest.raises(TypeError, match="scatter: expected src or value, got both"):
        x.scatter(1, index, src=2, value=2)


def test_index_longer_than_x_or_src_is_refused_and_changes_nothing():
    x = tl.zeros((2, 3))
    for name in ("scatter", "scatter_add"):
        for places, src in (((3, 3), (3, 3)), ((2, 3), (2, 2)), ((2,), (2,))):
            index = tl.zeros(places, dtype=tl.int64)
            with pytest.raises(tl.ShapeError, match=f"^{name}: expected an index no"):
                getattr(x, name)(1, index, tl.ones(src))
    assert x.version == 0
